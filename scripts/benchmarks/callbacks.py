"""What BitLogger costs: the time of a training step with it over that of a step without, and of an observation.

Trains one network on random images, in turns without the logger, with it every epoch and with it every other step, so
that all see the same state of the machine. What an observation adds to a step is the median difference between a
step that it follows and the step before, which has none: those two are the closest in time.
"""

import itertools
import json
import statistics
import time
from typing import Any

import click

from larq_equalbits.cli import run_command


def _time_steps(model: Any, data: Any, logger: Any) -> tuple[list[float], float]:
    """The seconds of each step from its beginning to the next one's, and those of the end of the epoch."""
    import tensorflow as tf

    begins: list[float] = []
    seconds = [0.0]
    clock = tf.keras.callbacks.LambdaCallback(
        on_batch_begin=lambda *_, **__: begins.append(time.perf_counter())
    )
    loggers = [] if logger is None else [logger]
    if logger is not None:
        at_end = logger.on_epoch_end

        def timed(epoch: int, logs: Any = None) -> None:
            start = time.perf_counter()
            at_end(epoch, logs)
            seconds.append(time.perf_counter() - start)

        logger.on_epoch_end = timed
    model.fit(data, verbose=0, callbacks=[*loggers, clock])
    # The first steps wait for what fit sets up. What is left are pairs, of which the second may be observed.
    steps = [end - begin for begin, end in itertools.pairwise(begins[2:])]
    return steps[: len(steps) // 2 * 2], seconds[-1]


@click.command(context_settings={"show_default": True})
@click.option("--model", "name", default="resnet18", help="A network of the zoo.")
@click.option("--quantizer", default="bi_half", help="The kernels' quantizer.")
@click.option("--batch-size", type=click.IntRange(1), default=32, help="Images in a step.")
@click.option("--size", type=click.IntRange(8), default=32, help="Height and width of the images.")
@click.option("--steps", type=click.IntRange(5), default=21, help="Steps in a turn.")
@click.option("--turns", type=click.IntRange(1), default=4, help="How often the three ways take turns.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def main(
    name: str, quantizer: str, batch_size: int, size: int, steps: int, turns: int, as_json: bool
) -> None:
    """Measure the cost of observing the bits in training."""

    import tensorflow as tf

    from larq_equalbits import zoo
    from larq_equalbits.callbacks import BitLogger

    tf.keras.utils.set_random_seed(0)
    model = zoo.get(name)(input_shape=(size, size, 3), num_classes=10, quantizer=quantizer)
    model.compile(tf.keras.optimizers.SGD(0.01, momentum=0.9), "sparse_categorical_crossentropy")
    images = tf.random.normal((batch_size, size, size, 3))
    data = tf.data.Dataset.from_tensors((images, tf.zeros(batch_size, tf.int32))).cache().repeat(steps)
    makers = {"without": lambda: None, "every epoch": BitLogger, "every other": lambda: BitLogger(every=2)}
    seconds: dict[str, list[float]] = {way: [] for way in makers}
    ends: dict[str, list[float]] = {way: [] for way in makers}
    for turn in range(turns + 1):
        for way, maker in makers.items():
            measured, end = _time_steps(model, data, maker())
            # The first turn compiles.
            if turn:
                seconds[way] += measured
                ends[way].append(end)
    alone, observed = seconds["every other"][::2], seconds["every other"][1::2]
    without = statistics.median(seconds["without"])
    added = statistics.median(with_one - one for one, with_one in zip(alone, observed, strict=True))
    result = {
        "model": name,
        "quantizer": quantizer,
        "batch_size": batch_size,
        "size": size,
        "seconds_per_step": without,
        "ratio_every_epoch": statistics.median(seconds["every epoch"]) / without,
        "ratio_every_step": 1 + added / statistics.median(alone),
        "seconds_per_observation": added,
        "seconds_per_epoch_end": statistics.median(ends["every epoch"]),
    }
    if as_json:
        click.echo(json.dumps(result))
        return
    click.echo(f"a step takes {1000 * without:.1f} ms")
    click.echo(f"with the logger every epoch {result['ratio_every_epoch']:.3f} of that")
    click.echo(f"with an observation {result['ratio_every_step']:.3f} of it, {1000 * added:.1f} ms more")
    click.echo(f"the end of an epoch took {1000 * result['seconds_per_epoch_end']:.1f} ms longer")


if __name__ == "__main__":
    run_command(main)
