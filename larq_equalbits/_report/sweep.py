"""The page of a sweep: which ratio, what every trial came to."""

import base64
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from larq_equalbits._errors import InputError
from larq_equalbits._report import parts
from larq_equalbits.tuning import folder as search_folder
from larq_equalbits.tuning import trials
from larq_equalbits.tuning.ratios import NAME

_PICTURES = {
    trials.PLOT: "Every trial over its share of +1, and the means.",
    trials.FRONT: "Every trial by the two objectives, and the front of those that no other one beats in both.",
}
_METRICS = {
    "test_accuracy": "test accuracy",
    "best_test_accuracy": "of the best epoch",
    "val_accuracy": "validation accuracy",
    "filter_entropy": "entropy per filter",
    "bit_flips": "flips, last epoch",
    "tflite_bytes": "bytes of the .tflite",
}


def _ratio_row(each: trials.Ratio, labels: Mapping[str, str]) -> dict[str, Any]:
    row: dict[str, Any] = {
        "ratio": f"{each.ratio:g}",
        "completed": each.completed,
        "failed": each.failed or None,
    }
    for metric in each.mean.keys() & labels.keys():
        row[metric], row[f"{metric} deviation"] = each.mean[metric], each.to_dict()["deviation"][metric]
    return row


def _trial_row(trial: trials.Trial, labels: Mapping[str, str]) -> dict[str, Any]:
    values = {
        key: f"{value:g}" if isinstance(value, float) else str(value) for key, value in trial.values.items()
    }
    metrics = {key: value for key, value in trial.metrics.items() if key in labels}
    seconds = round(trial.seconds) if math.isfinite(trial.seconds) else None
    return {
        "folder": trial.folder.name,
        **values,
        **metrics,
        "seconds": seconds,
        "status": trial.status.lower(),
        "reason": trial.reason,
    }


def describe(folder: Path) -> dict[str, Any]:
    """The page of the sweep in `folder`, as its template takes it; InputError without a finished trial."""
    try:
        found = trials.load(folder)
        shown = trials.shown(found, search_folder.read(folder))
    except InputError as error:
        raise InputError(f"run: {folder} must be a sweep with a finished trial, but: {error}") from error
    # What the search optimised may be any metric.
    labels = {name: name for name in shown} | _METRICS
    best = (folder / search_folder.BEST).resolve().name
    done = [trial for trial in found if trial.status == "COMPLETED"]
    failed = sum(trial.status == "FAILED" for trial in found)
    facts: dict[str, Any] = {"trials finished": len(done), "trials failed": failed or None}
    for trial in done:
        # `best` is a link to it, once the sweep is done.
        if trial.folder.name == best:
            facts["best trial"] = best
            facts |= {"its ratio": f"{trial.values[NAME]:g}"} if NAME in trial.values else {}
            facts |= {label: trial.metrics.get(key) for key, label in labels.items()}
    columns = {"ratio": "ratio", "completed": "trials", "failed": "failed"}
    for key, label in labels.items():
        columns |= {key: label, f"{key} deviation": "±"}
    chosen = dict.fromkeys(key for trial in found for key in trial.values)
    single = {"folder": "trial", **{key: key for key in chosen}, **labels}
    single |= {"seconds": "seconds", "status": "status", "reason": "why it failed"}
    pictures = []
    for name, caption in _PICTURES.items():
        if (folder / name).is_file():
            content = base64.b64encode((folder / name).read_bytes()).decode()
            pictures.append((f"data:image/png;base64,{content}", caption))
    return {
        "title": folder.resolve().name,
        "about": "A sweep: every trial is a run folder, of which `larq-equalbits report` makes a page too.",
        "facts": [(label, parts.text(value)) for label, value in facts.items() if value is not None],
        "sections": [
            parts.table("By ratio", columns, [_ratio_row(each, labels) for each in trials.by_ratio(found)]),
            {"title": "Plot", "pictures": pictures},
            parts.table("Trials", single, [_trial_row(trial, labels) for trial in found]),
        ],
    }
