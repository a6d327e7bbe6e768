"""What a sweep costs: over plain `fit` and over plain runs of the same trials, and with two workers against one.

Three ways to train take turns in one process, trial by trial: Keras' `fit` alone, a run of `training.train` (which
saves models and a checkpoint every epoch, and tests the last and the best), and the sweep; what counts is the time of
the processors, which other programs do not change much. Then whole commands with one and with two workers take turns,
with all that they do from their start to the plot; `--no-overhead` measures these alone.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import click

from larq_equalbits.cli import run_command


def _overhead(settings: Any, ratios: list[float], folder: Path) -> dict[str, list[float]]:
    """Processor seconds of every trial with `fit` alone, as a run, and in a sweep with its share of the plot."""
    import tensorflow as tf

    from larq_equalbits import training, tuning, zoo
    from larq_equalbits.callbacks import BitLogger
    from larq_equalbits.optimizers import SGD
    from larq_equalbits.quantizers import BiHalf
    from larq_equalbits.training import building

    plan = settings.plan()

    def fit(ratio: float) -> None:
        images = building.images(settings)
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
        logger = BitLogger()
        model.fit(
            images.train, epochs=plan.epochs, validation_data=images.validation, callbacks=[logger], verbose=0
        )
        model.evaluate(images.test, verbose=0)

    def run(ratio: float) -> None:
        own = settings.replace(quantizer_options={"positive_ratio": ratio})
        training.train(own, folder / f"run-{ratio}", verbose=0)

    seconds: dict[str, list[float]] = {"fit": [], "run": [], "sweep": []}

    class Interleaved(tuning.BitRatioSweep):
        """Trains every trial in the other ways too, just before its own, so all see the same machine."""

        def run_trial(self, trial: Any, *args: Any, **kwargs: Any) -> dict[str, float]:
            ratio = trial.hyperparameters.values["positive_ratio"]
            for name, way in (("fit", fit), ("run", run)):
                start = time.process_time()
                way(ratio)
                seconds[name].append(time.process_time() - start)
            return super().run_trial(trial, *args, **kwargs)

    fit(ratios[0])
    start = time.process_time()
    Interleaved(settings.model, ratios, out=folder / "sweep", settings=settings).search(verbose=0)
    own = time.process_time() - start - sum(seconds["fit"]) - sum(seconds["run"])
    seconds["sweep"] = [own / len(ratios)] * len(ratios)
    return seconds


def _command(workers: int, ratios: list[float], options: list[str]) -> float:
    """The seconds of a command with so many workers."""
    program = Path(sys.executable).parent / "larq-equalbits"
    with tempfile.TemporaryDirectory() as folder:
        own = ["--ratios", ",".join(map(str, ratios)), "--workers", str(workers), "--out", f"{folder}/out"]
        start = time.perf_counter()
        subprocess.run(
            [program, "sweep", "--quiet", *own, *options],
            check=True,
            stdout=subprocess.DEVNULL,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        )
        return time.perf_counter() - start


@click.command(context_settings={"show_default": True})
@click.option("--model", default="conv2", help="A network of the zoo.")
@click.option("--width", type=float, default=0.5, help="Factor of its width.")
@click.option("--dataset", default="digits", help="What the trials train on.")
@click.option("--data-dir", help="The tfds folder of the data set.")
@click.option("--train-images", type=click.IntRange(1), help="So many of its training images.")
@click.option("--epochs", type=click.IntRange(1), default=10, help="Of each trial.")
@click.option("--trials", type=click.IntRange(1), default=8, help="How many trials a sweep has.")
@click.option(
    "--turns", type=click.IntRange(0), default=2, help="How often the commands take turns; 0 for no command."
)
@click.option(
    "--overhead/--no-overhead", default=True, help="Measure a trial's overhead over plain training too."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def main(
    model: str,
    width: float,
    dataset: str,
    data_dir: str | None,
    train_images: int | None,
    epochs: int,
    trials: int,
    turns: int,
    overhead: bool,
    as_json: bool,
) -> None:
    """Measure the overhead of a sweep, and what a second worker brings."""

    import tensorflow as tf

    from larq_equalbits import training

    tf.get_logger().setLevel("ERROR")
    ratios = [round((index + 1) / (trials + 1), 3) for index in range(trials)]
    settings = training.Settings(
        model=model,
        dataset=dataset,
        data_dir=data_dir,
        train_images=train_images,
        epochs=epochs,
        learning_rate=0.01,
        weight_decay=0.0,
        model_options={"width": width},
    )
    result: dict[str, Any] = {}
    if overhead:
        with tempfile.TemporaryDirectory() as folder:
            seconds = _overhead(settings, ratios, Path(folder))
        trial = {name: sum(each) / trials for name, each in seconds.items()}
        result = {
            "processor seconds of a trial": {name: round(value, 2) for name, value in trial.items()},
            "sweep over runs": round(trial["sweep"] / trial["run"], 3),
            "sweep over fit": round(trial["sweep"] / trial["fit"], 3),
        }
    if turns:
        options = ["--model", model, "--dataset", dataset, "--epochs", str(epochs)]
        options += ["--model-option", f"width={width}", "--learning-rate", "0.01", "--weight-decay", "0"]
        options += ["--data-dir", data_dir] if data_dir else []
        options += ["--train-images", str(train_images)] if train_images else []
        seconds = {"one worker": [], "two workers": []}
        for _ in range(turns):
            for workers, each in enumerate(seconds.values(), 1):
                each.append(_command(workers, ratios, options))
        commands = {name: statistics.median(each) for name, each in seconds.items()}
        result |= {
            "seconds of a command": {name: round(value, 1) for name, value in commands.items()},
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
