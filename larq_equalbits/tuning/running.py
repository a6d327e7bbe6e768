"""One trial as a training run: in a run folder, resumable, with what the oracle is told at its end."""

import contextlib
import json
import math
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

from larq_equalbits import _files, training
from larq_equalbits._errors import InputError, WorkError
from larq_equalbits._keras import memory
from larq_equalbits.training import run_folder
from larq_equalbits.training.settings import Settings
from larq_equalbits.tuning import cost
from larq_equalbits.tuning.hypermodel import HyperModel
from larq_equalbits.tuning.keras_2 import keras_tuner
from larq_equalbits.tuning.trials import FAILURE, RESULT, VALUES, metrics_in

SIZE, COST = "tflite_bytes", "instructions"
# Known only once a run has ended.
_LATER = ("test_accuracy", "test_loss", "best_test_accuracy", "best_test_loss", "learning_rate", SIZE, COST)


class UnknownMetricError(keras_tuner.errors.FatalError, InputError):
    """The objective is not among what trials log."""


class OtherSettingsError(keras_tuner.errors.FatalError, InputError):
    """A worker was started with other settings than its chief."""


class UnwritableError(keras_tuner.errors.FatalError, OSError):
    """The disk is full or the folder cannot be written: no fault of the trial."""


class _Watch(tf.keras.callbacks.Callback):
    """Ends the search where its objective does not exist, and a round of Hyperband."""

    def __init__(self, objectives: Sequence[str], epochs: int | None) -> None:
        super().__init__()
        self._supports_tf_logs = True
        self.objectives, self.epochs = objectives, epochs

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        values = logs or {}
        known = [*values, *_LATER]
        for name in self.objectives:
            if name not in known:
                raise UnknownMetricError(
                    f"objective must be a metric that trials log, but got {name!r}; they log {', '.join(known)}."
                )
        if self.epochs is not None and epoch + 1 >= self.epochs:
            self.model.stop_training = True


def run(
    trial: Any,
    folder: Path,
    hypermodel: HyperModel,
    objectives: Sequence[str],
    *,
    epochs: int | None = None,
    former: Path | None = None,
    callbacks: Sequence[Any] = (),
    light: bool = True,
) -> dict[str, float]:
    """Trains a trial of keras-tuner in `folder`, or takes up what was left there, and returns its metrics.

    Args:
        trial: its hyper-parameters may hold Hyperband's ``tuner/epochs``, after which it pauses.
        folder: the run's folder.
        hypermodel: what to train.
        objectives: names that its metrics must hold; ``tflite_bytes`` or ``instructions`` converts the model.
        epochs: of the whole training, in place of the settings'.
        former: the folder of the trial that this one goes on with (Hyperband).
        callbacks: further ones, this trial's own copies.
        light: as for `training.train`.

    Raises:
        keras_tuner.errors.FailedTrialError: the trial failed; the reason is in ``failure.json``.
        UnknownMetricError: an objective that the trial does not log.
        UnwritableError: the folder cannot be written.
    """
    values = trial.hyperparameters.values
    with _failures(folder, hypermodel, values), memory.given_back():
        started = time.perf_counter()
        stop = values.get("tuner/epochs")
        settings = hypermodel.settings(trial.hyperparameters).replace(
            **({} if epochs is None else {"epochs": epochs})
        )
        resume = _same(folder, values, settings)
        if resume and (folder / RESULT).is_file():
            return metrics_in(folder / RESULT)
        if resume and stop is not None and len(training.Run.load(folder).history.get("loss", ())) >= stop:
            # Killed between its last epoch and its result: fit would begin another epoch.
            resume = False
        if not resume:
            for name in (RESULT, FAILURE, VALUES):
                (folder / name).unlink(missing_ok=True)
            if former is not None:
                run_folder.copy(former, folder)
            else:
                settings.save(folder / run_folder.SETTINGS)
            _files.write_text(folder / VALUES, json.dumps(values))
        result = training.train(
            settings,
            folder,
            resume=resume or former is not None,
            verbose=0,
            build=hypermodel.builder(trial.hyperparameters),
            callbacks=[*callbacks, _Watch(objectives, stop)],
            light=light,
        )
        metrics = {key: column[-1] for key, column in result.history.items()}
        metrics.update({key: float(value) for key, value in result.results.items() if value is not None})
        if SIZE in objectives or COST in objectives:
            from larq_equalbits import export

            # Every byte counts, those of layers that stay float too.
            report = export.convert(result.load_model(), folder / "model.tflite", strict=False)
            metrics[SIZE] = float(len(report.tflite))
            metrics[COST] = cost.instructions(report.tflite)
        for name in objectives:
            if not math.isfinite(metrics[name]):
                raise WorkError(f"{name} is {metrics[name]} in the last epoch")
        content = {
            "metrics": metrics,
            "values": hypermodel.own_values(values),
            "seconds": round(time.perf_counter() - started, 3),
            "worker": os.environ.get("KERASTUNER_TUNER_ID", ""),
        }
        _files.write_text(folder / RESULT, json.dumps(content) + "\n")
        return metrics


@contextlib.contextmanager
def _failures(folder: Path, hypermodel: HyperModel, values: dict[str, Any]) -> Iterator[None]:
    """Turns what fails in the block into keras-tuner's errors; the reason of a trial's failure goes into its folder."""
    try:
        yield
    except keras_tuner.errors.FatalError:
        raise
    except OSError as error:
        raise UnwritableError(error.errno, f"the search stops, to be resumed: {error}") from error
    except Exception as error:
        known = isinstance(error, InputError | WorkError)
        reason = str(error) if known else f"{type(error).__name__}: {error}"
        content = {"reason": reason.strip(), "values": hypermodel.own_values(values)}
        _files.write_text(folder / FAILURE, json.dumps(content) + "\n")
        raise keras_tuner.errors.FailedTrialError(reason) from error


def _same(folder: Path, values: dict[str, Any], settings: Settings) -> bool:
    """Whether `folder` holds a beginning of this very trial."""
    try:
        known = _files.read_json(folder / VALUES)
        return known == values and not Settings.load(folder / run_folder.SETTINGS).differences(settings)
    except (OSError, InputError):
        return False
