"""What repeatability and mixed precision cost: steps of one network in each mode, taking turns in one process."""

import json
from collections.abc import Callable
from typing import Any

import click
import turns

from larq_equalbits.cli import run_command

# The precision, and whether TensorFlow's operations are deterministic.
MODES = {
    "plain": ("float32", False),
    "deterministic": ("float32", True),
    "mixed_bfloat16": ("mixed_bfloat16", False),
}


def _step(network: str, precision: str, deterministic: bool, batch_size: int) -> Callable[[], Any]:
    """A function that trains one step in a mode."""
    import tensorflow as tf
    from tensorflow.python.framework import config

    from larq_equalbits import zoo

    tf.keras.mixed_precision.set_global_policy(precision)
    try:
        model = zoo.get(network)(input_shape=(32, 32, 3), num_classes=10)
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    train = turns.training_step(model, batch_size)
    choose = tf.config.experimental.enable_op_determinism if deterministic else config.disable_op_determinism
    return lambda: (choose(), train())


@click.command(context_settings={"show_default": True})
@click.option("--model", default="conv2", help="A network of the zoo.")
@click.option("--batch-size", type=click.IntRange(1), default=128, help="Images in a step.")
@click.option("--steps", type=click.IntRange(1), default=20, help="Timed steps of each mode.")
def main(model: str, batch_size: int, steps: int) -> None:
    """Measure each mode's steps, and print their medians and what they are of the plain mode's as JSON."""
    import tensorflow as tf

    tf.keras.utils.set_random_seed(0)
    medians = turns.medians({name: _step(model, *mode, batch_size) for name, mode in MODES.items()}, steps)
    result = {
        name: {"ms_per_step": round(1000 * value, 1), "of_plain": round(value / medians["plain"], 3)}
        for name, value in medians.items()
    }
    click.echo(json.dumps(result, indent=2))


if __name__ == "__main__":
    run_command(main)
