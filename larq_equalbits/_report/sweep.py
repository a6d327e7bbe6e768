"""The page of a sweep: which ratio, what every trial came to."""

import base64
import math
from pathlib import Path
from typing import Any

from larq_equalbits._errors import InputError
from larq_equalbits._report import parts
from larq_equalbits.tuning import folder as search_folder
from larq_equalbits.tuning import trials
from larq_equalbits.tuning.ratios import NAME

_METRICS = {
    "test_accuracy": "test accuracy",
    "best_test_accuracy": "of the best epoch",
    "val_accuracy": "validation accuracy",
    "filter_entropy": "entropy per filter",
    "bit_flips": "flips, last epoch",
    "tflite_bytes": "bytes of the .tflite",
}


def _ratio_row(each: trials.Ratio) -> dict[str, Any]:
    row: dict[str, Any] = {
        "ratio": f"{each.ratio:g}",
        "completed": each.completed,
        "failed": each.failed or None,
    }
    for metric in each.mean.keys() & _METRICS.keys():
        row[metric], row[f"{metric} deviation"] = each.mean[metric], each.to_dict()["deviation"][metric]
    return row


def _trial_row(trial: trials.Trial) -> dict[str, Any]:
    values = {
        key: f"{value:g}" if isinstance(value, float) else str(value) for key, value in trial.values.items()
    }
    metrics = {key: value for key, value in trial.metrics.items() if key in _METRICS}
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
    except InputError as error:
        raise InputError(f"run: {folder} must be a sweep with a finished trial, but: {error}") from error
    best = (folder / search_folder.BEST).resolve().name
    done = [trial for trial in found if trial.status == "COMPLETED"]
    failed = sum(trial.status == "FAILED" for trial in found)
    facts: dict[str, Any] = {"trials finished": len(done), "trials failed": failed or None}
    for trial in done:
        # `best` is a link to it, once the sweep is done.
        if trial.folder.name == best:
            facts["best trial"] = best
            facts |= {"its ratio": f"{trial.values[NAME]:g}"} if NAME in trial.values else {}
            facts |= {label: trial.metrics.get(key) for key, label in _METRICS.items()}
    columns = {"ratio": "ratio", "completed": "trials", "failed": "failed"}
    for key, label in _METRICS.items():
        columns |= {key: label, f"{key} deviation": "±"}
    chosen = dict.fromkeys(key for trial in found for key in trial.values)
    single = {"folder": "trial", **{key: key for key in chosen}, **_METRICS}
    single |= {"seconds": "seconds", "status": "status", "reason": "why it failed"}
    pictures = []
    if (folder / trials.PLOT).is_file():
        content = base64.b64encode((folder / trials.PLOT).read_bytes()).decode()
        pictures = [(f"data:image/png;base64,{content}", "Every trial over its share of +1, and the means.")]
    return {
        "title": folder.resolve().name,
        "about": "A sweep: every trial is a run folder, of which `larq-equalbits report` makes a page too.",
        "facts": [(label, parts.text(value)) for label, value in facts.items() if value is not None],
        "sections": [
            parts.table("By ratio", columns, map(_ratio_row, trials.by_ratio(found))),
            {"title": "Plot", "pictures": pictures},
            parts.table("Trials", single, map(_trial_row, found)),
        ],
    }
