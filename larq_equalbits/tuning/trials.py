"""What the trials of a search came to: one by one, per ratio, as files and as a plot."""

import dataclasses
import json
import math
import statistics
from collections.abc import Mapping, Sequence
from numbers import Real
from pathlib import Path
from typing import Any

from larq_equalbits import _files
from larq_equalbits._errors import InputError
from larq_equalbits._text import csv_table
from larq_equalbits.tuning.ratios import NAME

STATE, VALUES, RESULT, FAILURE = "trial.json", "trial_values.json", "trial_results.json", "failure.json"
# What a search writes into the folder of a trial beside its run.
WRITTEN = (STATE, VALUES, RESULT, FAILURE)
CSV, JSON, PLOT, FRONT = "trials.csv", "trials.json", "ratios.png", "front.png"
# Keras-tuner's name for the epochs of a trial of Hyperband.
_EPOCHS = "tuner/epochs"
_STATUSES = ("COMPLETED", "FAILED", "RUNNING", "INVALID")


@dataclasses.dataclass(frozen=True)
class Trial:
    """A trial as it ended.

    Attributes:
        name: keras-tuner's id.
        folder: its run folder, which `larq-equalbits convert` and `training.Run.load` take.
        status: "COMPLETED" or "FAILED"; "RUNNING" or "INVALID" where it has yet to be run (again).
        values: its hyper-parameters, the seed among them.
        metrics: of the last epoch every key of Keras' `logs` (BitLogger's among them), what was measured on the
            test images, and ``tflite_bytes`` where it was asked for; empty unless completed.
        score: its objective, None unless completed.
        seconds: from its start to its end, NaN unless completed.
        reason: why it failed, or None.
    """

    name: str
    folder: Path
    status: str
    values: dict[str, Any]
    metrics: dict[str, float]
    score: float | None
    seconds: float
    reason: str | None

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        fields = {**dataclasses.asdict(self), "folder": self.folder.name}
        return {**fields, "seconds": None if math.isnan(self.seconds) else self.seconds}


def load(folder: Path) -> list[Trial]:
    """The trials of the search in `folder`, from its ``trials.json``.

    Raises:
        InputError: no trial has ended yet, or the file is damaged.
    """
    path = folder / JSON
    content, there = _files.read_json(path), []
    try:
        for fields in content["trials"]:
            seconds = math.nan if fields["seconds"] is None else fields["seconds"]
            there.append(Trial(**{**fields, "folder": folder / fields["folder"], "seconds": seconds}))
    except (KeyError, TypeError) as error:
        raise InputError(f"{path} must hold the trials of a sweep, but does not: {error!r}.") from error
    return [_checked(trial, path) for trial in there]


def metrics_in(path: Path) -> dict[str, float]:
    """What a trial that has ended measured, from its ``trial_results.json``.

    Raises:
        InputError: a damaged file.
    """
    metrics: Any = _files.read_json(path).get("metrics")
    if not _are_numbers(metrics):
        raise InputError(f"{path} must hold the metrics of a trial, but holds {metrics}.")
    return dict(metrics)


def read(state: Mapping[str, Any], folder: Path) -> Trial:
    """A trial by its state, as keras-tuner gives it, with what its folder holds.

    Raises:
        InputError: a file of it is damaged.
    """
    values, status, result, path = state["hyperparameters"]["values"], state["status"], {}, folder
    if status == "COMPLETED" and (folder / RESULT).is_file():
        path = folder / RESULT
        result = _files.read_json(path)
    elif status == "FAILED" and (folder / FAILURE).is_file():
        path = folder / FAILURE
        result = {"values": _files.read_json(path).get("values", values)}
    message = state["message"]
    if isinstance(message, str):
        # The first line says what failed.
        message = next(iter(message.strip().splitlines()), None)
    return _checked(
        Trial(
            state["trial_id"],
            folder,
            status,
            result.get("values", values),
            result.get("metrics", {}),
            state["score"] if "metrics" in result else None,
            result.get("seconds", math.nan),
            message,
        ),
        path,
    )


def _are_numbers(metrics: Any) -> bool:
    return isinstance(metrics, Mapping) and all(isinstance(value, Real) for value in metrics.values())


def _checked(trial: Trial, path: Path) -> Trial:
    """`trial` with fields of the types that they have to be, as the file or folder `path` may not hold them."""
    sound = (
        isinstance(trial.name, str)
        and trial.name.isalnum()
        and trial.status in _STATUSES
        and isinstance(trial.values, Mapping)
        and all(isinstance(value, str | Real) for value in trial.values.values())
        and all(isinstance(trial.values.get(name, 0), Real) for name in (NAME, "seed"))
        and _are_numbers(trial.metrics)
        and isinstance(trial.seconds, Real)
        and isinstance(trial.score, Real | None)
        and isinstance(trial.reason, str | None)
    )
    if not sound:
        raise InputError(f"{path} must hold the state of a trial, as a sweep writes it, but holds {trial}.")
    return trial


def found(folder: Path) -> list[Trial]:
    """The trials of the search in `folder`, which may be running, in the order in which they were started.

    Raises:
        InputError: a trial's file is damaged.
    """
    there = []
    for path in folder.glob(f"trial_*/{STATE}"):
        try:
            there.append(read(_files.read_json(path), path.parent))
        except (KeyError, TypeError) as error:
            raise InputError(f"{path} must be the state of a trial, but lacks {error}.") from error
    return sorted(there, key=lambda trial: (int(trial.name) if trial.name.isdecimal() else 0, trial.name))


@dataclasses.dataclass(frozen=True)
class Ratio:
    """The trials of one ratio.

    Attributes:
        ratio: the share of +1.
        completed: how many have finished.
        failed: how many have failed.
        mean: by metric, over the completed ones.
        deviation: by metric, that of the sample; NaN below two.
    """

    ratio: float
    completed: int
    failed: int
    mean: dict[str, float]
    deviation: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """As JSON values; None where a deviation is not known."""
        deviation = {key: None if math.isnan(value) else value for key, value in self.deviation.items()}
        return {**dataclasses.asdict(self), "deviation": deviation}


def _deviation(values: Sequence[float]) -> float:
    known = len(values) > 1 and all(map(math.isfinite, values))
    return statistics.stdev(values) if known else math.nan


def longest(trials: Sequence[Trial]) -> list[Trial]:
    """The completed `trials`, without those that Hyperband trained for fewer epochs than others."""
    done = [trial for trial in trials if trial.status == "COMPLETED"]
    most = max((trial.values.get(_EPOCHS, 0) for trial in done), default=0)
    return [trial for trial in done if trial.values.get(_EPOCHS, 0) == most]


def by_ratio(trials: Sequence[Trial]) -> list[Ratio]:
    """Mean and deviation of every metric for each ratio, whatever else was chosen, the lowest first; as `longest`."""
    found = []
    whole = longest(trials)
    for ratio in sorted({trial.values[NAME] for trial in trials if NAME in trial.values}):
        own = [trial for trial in trials if trial.values.get(NAME) == ratio]
        done = [trial.metrics for trial in whole if trial.values.get(NAME) == ratio]
        columns = {key: [each[key] for each in done if key in each] for each in done for key in each}
        found.append(
            Ratio(
                ratio,
                len(done),
                sum(trial.status == "FAILED" for trial in own),
                {key: sum(values) / len(values) for key, values in columns.items()},
                {key: _deviation(values) for key, values in columns.items()},
            )
        )
    return found


def shown(trials: Sequence[Trial], description: dict[str, Any]) -> list[str]:
    """The metrics of the table and the plot: accuracy on test images, the search's objectives, the entropy."""
    objective = description["objective"]
    objectives = objective if isinstance(objective, list) else [objective]
    wanted = ["test_accuracy", *(each["name"] for each in objectives), "filter_entropy"]
    logged = {key for trial in trials for key in trial.metrics}
    return [name for name in dict.fromkeys(wanted) if name in logged]


def write(folder: Path, trials: Sequence[Trial], description: dict[str, Any]) -> None:
    """Writes ``trials.csv`` (a row for each trial) and ``trials.json`` (the same with the search's settings)."""
    rows = [
        {
            "trial": trial.name,
            "status": trial.status,
            **trial.values,
            "seconds": "" if math.isnan(trial.seconds) else trial.seconds,
            "reason": trial.reason or "",
            # BitLogger's own key for the network has the name of the hyper-parameter.
            **{
                f"measured_{key}" if key in trial.values else key: value
                for key, value in trial.metrics.items()
            },
        }
        for trial in trials
    ]
    _files.write_text(folder / CSV, csv_table(rows))
    content = {
        "search": description,
        "ratios": [each.to_dict() for each in by_ratio(trials)],
        "trials": [trial.to_dict() for trial in trials],
    }
    _files.write_text(folder / JSON, json.dumps(content, indent=2) + "\n")
