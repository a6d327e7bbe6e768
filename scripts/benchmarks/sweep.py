"""What a sweep costs: over plain `fit` and over plain runs of the same trials, and with two workers against one.

The three ways to train the same trials take turns in one process; then whole commands with one and with two workers
take turns, with all that they do from their start to the plot. Medians and their ratios are printed.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from larq_equalbits.cli import run_command


def _ways(settings: Any, ratios: list[float]) -> dict[str, Callable[[Path], None]]:
    """Ways to train a network with every ratio."""
    import tensorflow as tf

    from larq_equalbits import data, training, tuning, zoo
    from larq_equalbits.callbacks import BitLogger
    from larq_equalbits.decay import SGD
    from larq_equalbits.quantizers import BiHalf

    plan = settings.plan()

    def fit(_: Path) -> None:
        images = data.load(settings.dataset, batch_size=plan.batch_size, seed=settings.seed)
        for ratio in ratios:
            tf.keras.backend.clear_session()
            tf.keras.utils.set_random_seed(settings.seed)
            model = zoo.get(settings.model)(
                input_shape=images.input_shape,
                num_classes=images.num_classes,
                quantizer=BiHalf(positive_ratio=ratio),
                **settings.model_options,
            )
            optimizer = SGD(plan.learning_rate, momentum=plan.momentum)
            model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
            model.fit(
                images.train,
                epochs=plan.epochs,
                validation_data=images.validation,
                callbacks=[BitLogger()],
                verbose=0,
            )
            model.evaluate(images.test, verbose=0)

    def runs(folder: Path) -> None:
        for ratio in ratios:
            own = settings.replace(quantizer_options={"positive_ratio": ratio})
            training.train(own, folder / str(ratio), verbose=0)

    def sweep(folder: Path) -> None:
        tuning.BitRatioSweep(settings.model, ratios, out=folder, settings=settings).search(verbose=0)

    return {"fit": fit, "runs": runs, "sweep": sweep}


def _measured(ways: dict[str, Callable[[Path], None]], turns: int) -> dict[str, float]:
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(turns + 1):
        for name, way in ways.items():
            with tempfile.TemporaryDirectory() as folder:
                start = time.perf_counter()
                way(Path(folder, "out"))
                if turn:
                    seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def _commands(settings: list[str], ratios: list[float]) -> dict[str, Callable[[Path], None]]:
    def command(workers: int) -> Callable[[Path], None]:
        def run(folder: Path) -> None:
            program = Path(sys.executable).parent / "larq-equalbits"
            own = ["--ratios", ",".join(map(str, ratios)), "--workers", str(workers), "--out", str(folder)]
            subprocess.run(
                [program, "sweep", "--quiet", *own, *settings],
                check=True,
                stdout=subprocess.DEVNULL,
                env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
            )

        return run

    return {"one worker": command(1), "two workers": command(2)}


@click.command(context_settings={"show_default": True})
@click.option("--model", default="conv2", help="A network of the zoo.")
@click.option("--width", type=float, default=0.25, help="Factor of its width.")
@click.option("--epochs", type=click.IntRange(1), default=10, help="Of each trial, on digits.")
@click.option("--trials", type=click.IntRange(1), default=8, help="How many trials a sweep has.")
@click.option("--turns", type=click.IntRange(1), default=3, help="How often the ways take turns.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def main(model: str, width: float, epochs: int, trials: int, turns: int, as_json: bool) -> None:
    """Measure the overhead of a sweep, and what a second worker brings."""
    import larq_equalbits

    larq_equalbits.register()
    import tensorflow as tf

    from larq_equalbits import training

    tf.get_logger().setLevel("ERROR")
    ratios = [round((index + 1) / (trials + 1), 3) for index in range(trials)]
    settings = training.Settings(
        model=model, epochs=epochs, learning_rate=0.01, weight_decay=0.0, model_options={"width": width}
    )
    ways = _measured(_ways(settings, ratios), turns)
    options = ["--model", model, "--epochs", str(epochs), "--model-option", f"width={width}"]
    commands = _measured(
        _commands([*options, "--learning-rate", "0.01", "--weight-decay", "0"], ratios), turns
    )
    result = {
        "seconds": {name: round(value, 2) for name, value in {**ways, **commands}.items()},
        "sweep over fit": round(ways["sweep"] / ways["fit"], 3),
        "sweep over runs": round(ways["sweep"] / ways["runs"], 3),
        "two workers over one": round(commands["two workers"] / commands["one worker"], 3),
        "trials per hour": {name: round(3600 * trials / value) for name, value in commands.items()},
    }
    if as_json:
        click.echo(json.dumps(result))
        return
    for name, value in result.items():
        click.echo(f"{name}: {value}")


if __name__ == "__main__":
    run_command(main)
