"""What repeatability and mixed precision cost: steps of one network in each mode, taking turns in one process."""

import json
import statistics
import time
from typing import Any

import click

from larq_equalbits.cli import run_command

# The precision, and whether TensorFlow's operations are deterministic.
MODES = {
    "plain": ("float32", False),
    "deterministic": ("float32", True),
    "mixed_bfloat16": ("mixed_bfloat16", False),
}


def _step(network: str, precision: str, batch_size: int) -> Any:
    """A function that trains one step."""
    import tensorflow as tf

    from larq_equalbits import zoo

    tf.keras.mixed_precision.set_global_policy(precision)
    try:
        model = zoo.get(network)(input_shape=(32, 32, 3), num_classes=10)
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    model.compile(tf.keras.optimizers.SGD(0.01, momentum=0.9), "sparse_categorical_crossentropy")
    images = tf.random.stateless_normal((batch_size, 32, 32, 3), [0, 1])
    data = iter(tf.data.Dataset.from_tensors((images, tf.zeros(batch_size, tf.int32))).repeat())
    train = model.make_train_function()
    return lambda: train(data)["loss"].numpy()


@click.command(context_settings={"show_default": True})
@click.option("--model", default="conv2", help="A network of the zoo.")
@click.option("--batch-size", type=click.IntRange(1), default=128, help="Images in a step.")
@click.option("--steps", type=click.IntRange(1), default=20, help="Timed steps of each mode.")
def main(model: str, batch_size: int, steps: int) -> None:
    """Measure each mode's steps, and print their medians and what they are of the plain mode's as JSON."""
    import tensorflow as tf
    from tensorflow.python.framework import config

    tf.keras.utils.set_random_seed(0)
    functions = {name: _step(model, precision, batch_size) for name, (precision, _) in MODES.items()}
    seconds: dict[str, list[float]] = {name: [] for name in MODES}
    for step in range(steps + 2):
        for name, (_, deterministic) in MODES.items():
            if deterministic:
                tf.config.experimental.enable_op_determinism()
            else:
                config.disable_op_determinism()
            start = time.perf_counter()
            functions[name]()
            # The first steps compile.
            if step >= 2:
                seconds[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    result = {
        name: {"ms_per_step": round(1000 * value, 1), "of_plain": round(value / medians["plain"], 3)}
        for name, value in medians.items()
    }
    click.echo(json.dumps(result, indent=2))


if __name__ == "__main__":
    run_command(main)
