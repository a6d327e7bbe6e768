"""What grows with a long training or a long sweep: the time to add an epoch to the history, and memory per trial.

An epoch is added to a history.csv that holds so many already, and the median of the times is printed; then a sweep of
small trials (conv2 at a tenth of its width) runs in this process, and what memory it holds is looked at after each.
"""

import resource
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import click

from larq_equalbits.cli import run_command


def _append(epochs: int, keys: int) -> float:
    """Median seconds to add an epoch to a history of so many, with so many keys."""
    from larq_equalbits.training import history

    with tempfile.TemporaryDirectory() as folder:
        written = history.History(Path(folder))
        written.rows = [{f"key{key}": epoch / 7 for key in range(keys)} for epoch in range(epochs - 1)]
        # The first one writes the file.
        times = []
        for _ in range(21):
            start = time.perf_counter()
            written.append({f"key{key}": 1 / 7 for key in range(keys)})
            times.append(time.perf_counter() - start)
        return statistics.median(times[1:])


def _memory() -> float:
    """Resident memory of this process in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def _growth(trials: int) -> float:
    """MB that a sweep grows by with each trial of its second half."""
    import tensorflow as tf

    from larq_equalbits import training, tuning

    # It says of every few trials that functions are traced again.
    tf.get_logger().setLevel("ERROR")
    held: list[float] = []

    class Watched(tuning.BitRatioSweep):
        def run_trial(self, trial: Any, *args: Any, **kwargs: Any) -> dict[str, float]:
            found = super().run_trial(trial, *args, **kwargs)
            held.append(_memory())
            return found

    settings = training.Settings(epochs=1, batch_size=32, train_images=64, model_options={"width": 0.1})
    ratios = [round((index + 1) / (trials + 1), 4) for index in range(trials)]
    with tempfile.TemporaryDirectory() as folder:
        Watched("conv2", ratios, out=Path(folder) / "sweep", settings=settings).search(verbose=0)
    half = trials // 2
    return (held[-1] - held[half - 1]) / (trials - half)


@click.command(context_settings={"show_default": True})
@click.option("--epochs", type=click.IntRange(2), default=10_000, help="Epochs in the history.")
@click.option("--keys", type=click.IntRange(1), default=25, help="Values of an epoch.")
@click.option("--trials", type=click.IntRange(2), default=20, help="Of the sweep.")
def main(epochs: int, keys: int, trials: int) -> None:
    """Measure the time of an epoch's row and the memory of a trial."""
    click.echo(f"a row after {epochs:,} epochs of {keys} values: {_append(epochs, keys):.5f} s")
    click.echo(f"memory: {_growth(trials):.2f} MB a trial")


if __name__ == "__main__":
    run_command(main)
