"""What a figure is drawn of: the history of a run, and its model."""

import csv
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from larq_equalbits._errors import InputError, invalid

# What CSVLogger writes where an epoch lacks a key.
_ABSENT = "NA"


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _read_csv(path: Path) -> dict[str, list[float]]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            lines = [line for line in file if line.endswith(("\n", "\r"))]
        names, *rows = list(csv.reader(lines)) or [[]]
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} must be CSV, but is not: {error}.") from error
    for number, row in enumerate(rows, 1):
        if len(row) != len(names):
            raise InputError(
                f"{path} must have {len(names)} values in each row, but has {len(row)} in row {number}."
            )
    columns = dict(zip(names, zip(*rows, strict=True), strict=True)) if rows else {}
    # Without validation in the first epoch CSVLogger adds a val_ key to every key, a kernel's bits among them.
    return {name: list(map(_number, column)) for name, column in columns.items() if set(column) != {_ABSENT}}


def read_history(run: Any) -> dict[str, list[float]]:
    """The values of every key over the epochs.

    Where a history.csv ends within a row, because it is being written, its whole rows count. A key that no epoch has
    (NA in every row) is left out.

    Args:
        run: a run folder (with a history.csv), such a file, a Keras History, or a mapping like its `history`.

    Raises:
        InputError: where there is no history to read, or a row that does not fit the columns.

    Examples:
        >>> _ = (folder / "history.csv").write_text("epoch,loss" + chr(10) + "0,2.0" + chr(10))
        >>> read_history(folder)["loss"]
        [2.0]
    """
    if isinstance(run, str | os.PathLike):
        path = Path(run)
        path = path / "history.csv" if path.is_dir() else path
        if not path.is_file():
            raise invalid("run", str(run), "a run folder with a history.csv")
        return _read_csv(path)
    history = getattr(run, "history", run)
    if not isinstance(history, Mapping):
        raise invalid("run", run, "a run folder, a Keras History or a mapping from key to values")
    columns = {key: [float(value) for value in values] for key, values in history.items()}
    # Keras keeps the numbers of the epochs, as CSVLogger writes them, beside the rest.
    return (
        columns
        if history is run
        else {"epoch": [float(number) for number in getattr(run, "epoch", ())], **columns}
    )


def epochs(history: Mapping[str, Sequence[float]], count: int) -> list[float]:
    """The numbers, from 1, of the `count` epochs of a `history`: those that it holds, or those of a first `fit`."""
    numbers = history.get("epoch", ())
    return [number + 1 for number in (numbers if len(numbers) == count else range(count))]


def load_model(run: Any, *, trust: bool = False) -> Any:
    """The Keras model of a run.

    Args:
        run: a run folder (with a model.keras), such a file, a Keras History, or a model.
        trust: whether to load a file even where it could run code of whoever wrote it.

    Raises:
        InputError: where there is no model, a damaged one, or one that needs `trust`.

    Examples:
        >>> load_model(model) is model
        True
    """
    import tensorflow as tf

    from larq_equalbits._keras import loading

    if isinstance(run, str | os.PathLike):
        path = Path(run)
        path = path / "model.keras" if path.is_dir() and (path / "model.keras").exists() else path
        if not path.is_file() and not (path / "saved_model.pb").exists():
            raise invalid("run", str(run), "a run folder with a model.keras, or a saved model")
        return loading.load_model(path, compile=False, trust=trust)
    model = getattr(run, "model", run)
    if not isinstance(model, tf.keras.layers.Layer):
        raise invalid("run", run, "a run folder, a Keras History or a model")
    return model


def named(runs: Any) -> dict[str, Any]:
    """`runs` by label: a mapping from label to run as it is, one run under its folder's name."""
    if isinstance(runs, Mapping) and not any(isinstance(value, list | tuple) for value in runs.values()):
        return dict(runs)
    if isinstance(runs, str | os.PathLike):
        return {Path(runs).resolve().name: runs}
    return {"": runs}
