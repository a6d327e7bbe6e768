"""What the trials of a search came to: one by one, per ratio, as files and as a plot."""

import csv
import dataclasses
import io
import json
import math
import statistics
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from larq_equalbits import _files
from larq_equalbits._errors import InputError
from larq_equalbits._text import csv_cell
from larq_equalbits.tuning.ratios import NAME

RESULT, FAILURE = "trial_results.json", "failure.json"
CSV, JSON, PLOT, FRONT = "trials.csv", "trials.json", "ratios.png", "front.png"


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
        OSError: no trial has ended yet.
    """
    content = json.loads((folder / JSON).read_text(encoding="utf-8"))
    return [
        Trial(
            **{
                **fields,
                "folder": folder / fields["folder"],
                "seconds": math.nan if fields["seconds"] is None else fields["seconds"],
            }
        )
        for fields in content["trials"]
    ]


def read(trial: Any, folder: Path) -> Trial:
    """keras-tuner's trial with what its folder holds."""
    result: dict[str, Any] = {}
    if trial.status == "COMPLETED" and (folder / RESULT).is_file():
        result = json.loads((folder / RESULT).read_text(encoding="utf-8"))
    elif trial.status == "FAILED" and (folder / FAILURE).is_file():
        failure = json.loads((folder / FAILURE).read_text(encoding="utf-8"))
        result = {"values": failure.get("values", trial.hyperparameters.values)}
    reason = trial.message.strip().splitlines()[0] if trial.message else None
    return Trial(
        trial.trial_id,
        folder,
        trial.status,
        dict(result.get("values", trial.hyperparameters.values)),
        result.get("metrics", {}),
        trial.score if "metrics" in result else None,
        result.get("seconds", math.nan),
        reason,
    )


def found(folder: Path) -> list[Trial]:
    """The trials of the search in `folder`, which may be running, in the order in which they were started.

    Raises:
        InputError: a trial's file is damaged.
    """
    there = []
    for path in folder.glob("trial_*/trial.json"):
        state = _files.read_json(path)
        try:
            fields = {name: state[name] for name in ("trial_id", "status", "score", "message")}
            values = state["hyperparameters"]["values"]
        except (KeyError, TypeError) as error:
            raise InputError(f"{path} must be the state of a trial, but lacks {error}.") from error
        trial = types.SimpleNamespace(**fields, hyperparameters=types.SimpleNamespace(values=values))
        there.append(read(trial, path.parent))
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


def by_ratio(trials: Sequence[Trial]) -> list[Ratio]:
    """Mean and deviation of every metric for each ratio, the lowest first."""
    found = []
    for ratio in sorted({trial.values[NAME] for trial in trials if NAME in trial.values}):
        own = [trial for trial in trials if trial.values.get(NAME) == ratio]
        done = [trial.metrics for trial in own if trial.status == "COMPLETED"]
        columns = {key: [each[key] for each in done if key in each] for each in done for key in each}
        found.append(
            Ratio(
                ratio,
                len(done),
                sum(trial.status == "FAILED" for trial in own),
                {key: statistics.fmean(values) for key, values in columns.items()},
                {
                    key: statistics.stdev(values) if len(values) > 1 else math.nan
                    for key, values in columns.items()
                },
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
    text = io.StringIO(newline="")
    writer = csv.DictWriter(
        text, list(dict.fromkeys(key for row in rows for key in row)), lineterminator="\n"
    )
    writer.writeheader()
    writer.writerows({key: csv_cell(value) for key, value in row.items()} for row in rows)
    _files.write_text(folder / CSV, text.getvalue())
    content = {
        "search": description,
        "ratios": [each.to_dict() for each in by_ratio(trials)],
        "trials": [trial.to_dict() for trial in trials],
    }
    _files.write_text(folder / JSON, json.dumps(content, indent=2) + "\n")
