"""What our quantizers cost in training, as ratios to a reference in one run: the first step, and the later ones.

The first step traces and compiles: each quantizer takes it in a process of its own, one after the other, and its wall
time and processor time are printed. Then the same network is built once per quantizer, and the networks take turns,
step by step, on the same random images; medians and their ratio are printed. ste_sign's networks carry the weight_clip
constraint that it needs. "float" is the network's float twin, whose activations are float too.
"""

import statistics
from typing import Any

import click
import turns

from larq_equalbits.cli import run_command


def _use_threads(threads: int) -> None:
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)


def _step(network: str, name: str, size: int, batch_size: int) -> Any:
    """A function that trains one step."""
    from larq_equalbits import zoo

    quantizer = None if name == "float" else name
    model = zoo.get(network)(input_shape=(size, size, 3), num_classes=10, quantizer=quantizer)
    return turns.training_step(model, batch_size)


def _first_step(network: str, name: str, size: int, batch_size: int, threads: int) -> tuple[float, float]:
    _use_threads(threads)
    return turns.timed(_step(network, name, size, batch_size))


@click.command(context_settings={"show_default": True})
@click.option("--model", default="resnet18", help="A network of the zoo.")
@click.option("--batch-size", type=click.IntRange(1), default=32, help="Images in a step.")
@click.option("--size", type=click.IntRange(8), default=32, help="Height and width of the images.")
@click.option("--steps", type=click.IntRange(0), default=15, help="Timed later steps of each.")
@click.option("--threads", type=click.IntRange(1), default=2, help="TensorFlow's threads.")
@click.option("--quantizers", default="bi_half,siman", help="Which to time against the reference.")
@click.option("--reference", default="ste_sign", help='A quantizer, or "float".')
def main(
    model: str, batch_size: int, size: int, steps: int, threads: int, quantizers: str, reference: str
) -> None:
    """Measure what a quantizer costs in training."""
    names = [reference, *quantizers.split(",")]
    first = {}
    for name in names:
        wall, processor = first[name] = turns.in_own_process(
            _first_step, model, name, size, batch_size, threads
        )
        click.echo(
            f"{name:10} first step {wall:6.1f} s, {wall / first[reference][0]:.2f} of {reference}; "
            f"processor {processor:6.1f} s, {processor / first[reference][1]:.2f} of {reference}"
        )
    if not steps:
        return
    _use_threads(threads)
    functions = {name: _step(model, name, size, batch_size) for name in names}
    times = turns.taken(functions, steps)
    for name, pairs in times.items():
        for kind, index in (("step", turns.WALL), ("processor", turns.PROCESSOR)):
            own = [pair[index] for pair in pairs]
            others = [pair[index] for pair in times[reference]]
            ratios = [one / other for one, other in zip(own, others, strict=True)]
            middle = statistics.median(own)
            click.echo(
                f"{name:10} {kind:10} {1000 * middle:8.1f} ms, {middle / statistics.median(others):.3f} of {reference} "
                f"(pair by pair {statistics.median(ratios):.3f})"
            )


if __name__ == "__main__":
    run_command(main)
