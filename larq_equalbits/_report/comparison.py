"""The page of several runs beside each other."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from larq_equalbits import plots
from larq_equalbits._bits.kernels import quantized_kernels
from larq_equalbits._errors import InputError
from larq_equalbits._report import parts
from larq_equalbits._report.run import FACTS, Content, about, layers, read

_MEASURES = {
    "filter_entropy": "entropy per filter",
    "positive_ratio": "share of +1",
    "bit_flips": "flips",
    "bytes": "bytes",
}


def _labelled(runs: list[Content]) -> dict[str, Content]:
    """The runs by name; those of the same name by number too."""
    names = [run.name for run in runs]
    if len({run.folder.resolve() for run in runs}) < len(runs):
        raise InputError(f"run must name different run folders, but got {[str(run.folder) for run in runs]}.")
    return {
        name if names.count(name) == 1 else f"{name} ({place + 1})": run
        for place, (name, run) in enumerate(zip(names, runs, strict=True))
    }


def _facts(runs: dict[str, Content]) -> list[dict[str, Any]]:
    return [
        {"what": label, **{name: parts.text(run.facts.get(key)) for name, run in runs.items()}}
        for key, label in FACTS.items()
    ]


def _differences(runs: dict[str, Content]) -> list[dict[str, Any]]:
    runs = {name: run for name, run in runs.items() if run.settings}
    keys = dict.fromkeys(key for run in runs.values() for key in run.settings)
    rows = []
    for key in keys:
        values = {name: run.settings.get(key) for name, run in runs.items()}
        if len({json.dumps(value) for value in values.values()}) > 1:
            rows.append(
                {"what": key, **{name: parts.text(value) or "none" for name, value in values.items()}}
            )
    return rows


def _layers(runs: dict[str, Content]) -> tuple[dict[str, str], list[dict[str, Any]]]:
    columns = {"name": "layer"}
    rows: dict[str, dict[str, Any]] = {}
    for measure, label in _MEASURES.items():
        for name, run in runs.items():
            columns[f"{measure} {name}"] = f"{label}: {name}"
            for layer in layers(run):
                row = rows.setdefault(layer["name"], {"name": layer["name"]})
                row[f"{measure} {name}"] = layer.get(measure)
    return columns, list(rows.values())


def _same_device(runs: Iterable[Content]) -> tuple[str, int] | None:
    """The first device and number of threads that all runs with a time have one of; None where there is none."""
    first, *others = [run.times for run in runs if run.times] or [{}]
    return next((each for each in first if all(each in times for times in others)), None)


def _pictures(runs: dict[str, Content]) -> Iterable[tuple[str, str]]:
    observed = {name: run.history for name, run in runs.items() if run.history.get("filter_entropy")}
    if observed:
        figure = plots.filter_entropy(observed)
        yield parts.picture(figure, "Entropy per filter over the epochs.")
        figure = plots.bits(observed, width=1 + 3.5 * len(observed))
        yield parts.picture(figure, "Bit entropy, and the share of bits that flipped in each epoch.")
    models = {
        name: run.model
        for name, run in runs.items()
        if run.model is not None and quantized_kernels(run.model)
    }
    if models:
        figure = plots.filter_map(models)
        yield parts.picture(figure, "Share of +1 in each filter at the end; an even split is white.")
    accuracies = {
        name: accuracy
        for name, run in runs.items()
        for accuracy in (run.facts.get("tflite_accuracy") or run.facts.get("test_accuracy"),)
        if accuracy is not None and run.facts.get("tflite_bytes")
    }
    if len(accuracies) > 1:
        where = _same_device(runs[name] for name in accuracies)
        times = {name: runs[name].times.get(where) if where else None for name in accuracies}
        figure = plots.tradeoff(
            {
                name: plots.Point(accuracy, runs[name].facts["tflite_bytes"], times[name])
                for name, accuracy in accuracies.items()
            }
        )
        time = f" and the time of an image on {where[0]}, threads: {where[1]}" if where else ""
        yield parts.picture(figure, f"Test accuracy against the size of the .tflite{time}.")


def describe(folders: list[Path], trust: bool) -> dict[str, Any]:
    """The page that compares the runs in `folders`, as its template takes it.

    Raises:
        InputError: the same folder twice, or what `run.read` raises.
    """
    runs = _labelled([read(folder, trust) for folder in folders])
    names = {"what": "", **{name: name for name in runs}}
    missing = [(name, f"no {file}, {use}") for name, run in runs.items() for file, use in run.missing.items()]
    told = {name: about(run.settings) for name, run in runs.items()}
    return {
        "title": " and ".join(runs),
        "about": "; ".join(f"{name}: {text}" for name, text in told.items() if text),
        "facts": [],
        "sections": [
            parts.table("Results", names, _facts(runs)),
            parts.table("Settings that differ", names, _differences(runs)),
            parts.table("Layers at the end", *_layers(runs)),
            {"title": "Plots", "pictures": list(_pictures(runs))},
            {"title": "Not in these runs", "entries": missing},
        ],
    }
