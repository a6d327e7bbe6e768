"""The parts of a page as plain values for its template: texts, tables, pictures."""

import base64
import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from larq_equalbits._errors import InputError

_SOURCES = {
    "settings.json": "the settings: runs of `larq-equalbits train` have them",
    "history.csv": "loss, accuracy and bits over the epochs: train with callbacks.BitLogger and CSVLogger",
    "results.json": "accuracy on the test images: a run of `larq-equalbits train` has it at its end",
    "model.keras": "the weights at the end: save the model",
    "model.json": "operators, bytes and verification of the .tflite: convert with `larq-equalbits convert`",
    "device/report.json": "time and memory on a device: measure with `larq-equalbits device`",
}


def missing(folder: Path) -> dict[str, str]:
    """The files that the run in `folder` lacks, with what would make them; InputError where it has none."""
    absent = {name: use for name, use in _SOURCES.items() if not (folder / name).is_file()}
    if len(absent) == len(_SOURCES):
        raise InputError(f"run: {folder} holds none of {', '.join(_SOURCES)}, so there is nothing to report.")
    return absent


def text(value: Any) -> str:
    """`value` as a reader wants it: thousands apart, four digits (none from 10,000 on), lists with commas, or ""."""
    if value is None or value == "":
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        if 1e4 <= abs(value) < 1e12:
            return f"{value:,.0f}"
        return f"{value:.4f}" if value == 0 or 1e-4 <= abs(value) < 1e4 else f"{value:.3g}"
    if isinstance(value, dict):
        return ", ".join(f"{key}={text(each)}" for key, each in value.items())
    return value if isinstance(value, str) else ", ".join(map(text, value))


def _kind(values: list[Any]) -> str:
    if any(isinstance(value, str) for value in values):
        return "text" if max(len(str(value)) for value in values) > 30 else ""
    return "number"


def table(
    title: str, columns: Mapping[str, str], rows: Iterable[Mapping[str, Any]], note: str = ""
) -> dict[str, Any]:
    """A section with a table; a column or a row without any value is left out, and a cell without one holds a dash.

    Args:
        title: of the section.
        columns: the heading of every key, in order; the first one names the row.
        rows: the values by key, and under "binary" False where the row is to stand out.
        note: a sentence above the table.
    """
    named, *others = columns
    kept = [row for row in rows if any(row.get(key) not in (None, "") for key in others)]
    values = {key: [row[key] for row in kept if row.get(key) not in (None, "")] for key in columns}
    shown = {key: _kind(values[key]) for key in columns if values[key]}
    shown[named] = ""
    return {
        "title": title,
        "note": note,
        "head": [(columns[key], kind) for key, kind in shown.items()],
        "rows": [
            {
                "kind": "float" if row.get("binary") is False else "",
                "cells": [(text(row.get(key)) or "-", kind) for key, kind in shown.items()],
            }
            for row in kept
        ],
    }


def settings(values: Mapping[str, Any]) -> dict[str, Any]:
    """A section with the settings that say something; what is switched off or left to a default is left out."""
    told = {key: value for key, value in values.items() if value is not None and value not in ({}, [], "")}
    rows = [{"kind": "", "cells": [(key, ""), (text(value), "")]} for key, value in told.items()]
    return {"title": "Settings", "kind": "settings", "rows": rows}


def picture(figure: Any, caption: str) -> tuple[str, str]:
    """A matplotlib figure as the source of an image, and its caption."""
    content = io.BytesIO()
    figure.savefig(content, format="svg")
    return f"data:image/svg+xml;base64,{base64.b64encode(content.getvalue()).decode()}", caption
