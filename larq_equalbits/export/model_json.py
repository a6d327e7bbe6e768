"""`model.json` beside `model.tflite`: what an application needs to use the file, and whoever audits it to trust it."""

import hashlib
import importlib.metadata
import json
import os
from pathlib import Path
from typing import Any

from larq_equalbits import _files
from larq_equalbits._errors import InputError, fits
from larq_equalbits.export.flatbuffer import read_model
from larq_equalbits.export.results import ConversionReport

_PACKAGES = ("larq-equalbits", "larq-compute-engine", "larq", "tensorflow", "tf-keras")


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def describe(report: ConversionReport, images: Any = None, source: str | None = None) -> dict[str, Any]:
    """The content of `model.json`.

    Args:
        report: the conversion.
        images: the `data.Data` that the model was trained on, which tells how images are normalised.
        source: the name of the Keras model's file.

    Returns:
        `sha256` and `bytes` of the file, `inputs` and `outputs` (name, shape and type of each; of integers also `scale`
        and `zero_point`: real = scale * (stored - zero_point)), `versions`, `report`, with `source` that too, and
        with `images` also `dataset`, `input_shape`, `mean` and `std` per channel (of images on the scale 0 to 1) and
        `labels`.
    """
    model = read_model(report.tflite)
    content: dict[str, Any] = {
        "sha256": hashlib.sha256(report.tflite).hexdigest(),
        "bytes": len(report.tflite),
        "inputs": [tensor.describe() for tensor in model.inputs],
        "outputs": [tensor.describe() for tensor in model.outputs],
        "versions": _versions(),
    }
    if source is not None:
        content["source"] = source
    if images is not None:
        content |= {
            "dataset": images.name,
            "input_shape": list(images.input_shape),
            "mean": images.mean and list(images.mean),
            "std": images.std and list(images.std),
            "labels": list(images.labels),
        }
    return content | {"report": report.to_dict()}


def write(
    path: str | os.PathLike[str], report: ConversionReport, images: Any = None, source: str | None = None
) -> None:
    """Writes `describe(report, images, source)` to `path`, whole or not at all."""
    _files.write_text(path, json.dumps(describe(report, images, source), indent=2) + "\n")


def source_of(tflite: str | os.PathLike[str]) -> str | None:
    """The file of the Keras model that `model.json` beside a .tflite records; None where there is no `model.json`.

    Raises:
        InputError: a `model.json` that is damaged or belongs to another .tflite.
    """
    if not Path(tflite).is_file():
        return None
    beside = Path(tflite).with_suffix(".json")
    if not beside.is_file():
        return None
    recorded = check(beside, Path(tflite).read_bytes()).get("source")
    return Path(recorded).name if isinstance(recorded, str) else None


def read(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The content of `model.json` at `path`; InputError where there is none that `convert` wrote."""
    content = _files.read_json(path)
    report = content.get("report")
    layers = report.get("layers", []) if isinstance(report, dict) else None
    named = isinstance(layers, list) and all(
        isinstance(layer, dict) and isinstance(layer.get("name"), str) for layer in layers
    )
    sound = (
        isinstance(report, dict)
        and named
        and fits(report.get("tflite_bytes"), int | None)
        and isinstance(report.get("verification") or {}, dict)
    )
    if not sound:
        raise InputError(
            f"{path} must be what `convert` wrote beside a .tflite, but has no report of its layers."
        )
    return content


def recorded(tflite: str | os.PathLike[str], content: bytes) -> ConversionReport | None:
    """The report in `model.json` beside a .tflite with these bytes; None without one, or with that of another file."""
    beside = Path(tflite).with_suffix(".json")
    try:
        if not beside.is_file():
            return None
        return ConversionReport.from_json(json.dumps(check(beside, content)["report"]), content)
    except InputError:
        return None


def check(path: str | os.PathLike[str], tflite: bytes) -> dict[str, Any]:
    """The content of `model.json` at `path`, which must belong to the file with these bytes.

    Raises:
        InputError: not such a file, or one that was written for another .tflite.
    """
    content = read(path)
    if content.get("sha256") != hashlib.sha256(tflite).hexdigest():
        raise InputError(f"{path} describes another file than this .tflite: convert the model again.")
    return content
