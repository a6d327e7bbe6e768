"""The time of a whole training step with our quantizers over that with ste_sign, in one run.

The same network is built once per quantizer, and the networks take turns, step by step, on the same random images;
medians and their ratio are printed. ste_sign's networks carry the weight_clip constraint that it needs.
"""

import statistics
import time
from typing import Any

import click

from larq_equalbits.cli import run_command


def _step(network: str, quantizer: str, size: int, batch_size: int) -> Any:
    """A function that trains one step."""
    import tensorflow as tf

    from larq_equalbits import zoo

    model = zoo.get(network)(input_shape=(size, size, 3), num_classes=10, quantizer=quantizer)
    optimizer = tf.keras.optimizers.SGD(0.01, momentum=0.9)
    model.compile(optimizer, "sparse_categorical_crossentropy")
    images = tf.random.stateless_normal((batch_size, size, size, 3), [0, 1])
    data = iter(tf.data.Dataset.from_tensors((images, tf.zeros(batch_size, tf.int32))).repeat())
    train = model.make_train_function()
    return lambda: train(data)["loss"].numpy()


@click.command(context_settings={"show_default": True})
@click.option("--model", default="resnet18", help="A network of the zoo.")
@click.option("--batch-size", type=click.IntRange(1), default=32, help="Images in a step.")
@click.option("--size", type=click.IntRange(8), default=32, help="Height and width of the images.")
@click.option("--steps", type=click.IntRange(1), default=15, help="Timed steps of each.")
@click.option("--threads", type=click.IntRange(1), default=2, help="TensorFlow's threads.")
@click.option("--quantizers", default="bi_half,siman", help="Which to time against ste_sign.")
def main(model: str, batch_size: int, size: int, steps: int, threads: int, quantizers: str) -> None:
    """Measure what a quantizer costs in training."""

    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    names = ["ste_sign", *quantizers.split(",")]
    functions = {name: _step(model, name, size, batch_size) for name in names}
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for step in range(steps + 2):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            # The first steps compile.
            if step >= 2:
                seconds[name].append(time.perf_counter() - start)
    reference = statistics.median(seconds["ste_sign"])
    for name, times in seconds.items():
        ratios = [one / other for one, other in zip(times, seconds["ste_sign"], strict=True)]
        click.echo(
            f"{name:10} {1000 * statistics.median(times):9.1f} ms per step, "
            f"{statistics.median(times) / reference:.3f} of ste_sign (pair by pair {statistics.median(ratios):.3f})"
        )


if __name__ == "__main__":
    run_command(main)
