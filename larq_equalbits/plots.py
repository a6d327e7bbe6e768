"""Figures of what the bits did: each function returns a matplotlib figure and touches no global state."""

import csv
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from larq_equalbits.errors import InputError, invalid, require

Source = str | os.PathLike[str] | Mapping[str, Sequence[float]] | Any


def read_history(source: Source) -> dict[str, list[float]]:
    """The values of every key over the epochs.

    Args:
        source: a run folder (with a history.csv), such a file, a Keras History, or a mapping like
            its `history`.

    Raises:
        InputError: where there is no history to read.
    """
    if isinstance(source, str | os.PathLike):
        path = Path(source)
        path = path / "history.csv" if path.is_dir() else path
        if not path.is_file():
            raise invalid("runs", str(source), "a run folder with a history.csv")
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
        return {key: [_number(row[key]) for row in rows] for key in (rows[0] if rows else ())}
    history = getattr(source, "history", source)
    if not isinstance(history, Mapping):
        raise invalid("runs", source, "run folders, Keras History objects or mappings from key to values")
    return {key: [float(value) for value in values] for key, values in history.items()}


def _number(text: str) -> float:
    # CSVLogger writes NA where an epoch lacks a key.
    try:
        return float(text)
    except ValueError:
        return math.nan


def _figure(width: float, height: float) -> Any:
    figure_module = require("plots", "matplotlib.figure")
    return figure_module.Figure(figsize=(width, height), layout="constrained")


def bits(runs: Source | Mapping[str, Source], *, layers: Sequence[str] | None = None) -> Any:
    """Bit entropy (above) and bit flips (below) over the epochs, a column for each run.

    Args:
        runs: one run or a mapping from label to run; see `read_history` for what a run may be.
        layers: names of the kernels to draw; all of them by default. The network as a whole is always drawn.

    Raises:
        InputError: where a run holds no bit entropy.
    """
    named = _named(runs)
    figure = _figure(1.5 + 4.5 * len(named), 6)
    axes = figure.subplots(2, len(named), sharex="col", sharey="row", squeeze=False)
    for column, (label, source) in enumerate(named.items()):
        history = read_history(source)
        names = [key.removesuffix("/bit_entropy") for key in history if key.endswith("/bit_entropy")]
        if "bit_entropy" not in history:
            raise InputError(f"runs: {label!r} holds no bit_entropy; train it with callbacks.BitLogger.")
        for row, key in enumerate(("bit_entropy", "bit_flips")):
            axis = axes[row][column]
            for name in names:
                if layers is None or name in layers:
                    values = history[f"{name}/{key}"]
                    axis.plot(range(1, len(values) + 1), values, label=name, linewidth=1.2)
            values = history[key]
            axis.plot(range(1, len(values) + 1), values, label="network", color="black", linewidth=2.2)
            axis.grid(alpha=0.3)
        axes[0][column].set_title(label)
        axes[1][column].set_xlabel("epoch")
        axes[1][column].legend(fontsize="small")
    axes[0][0].set_ylabel("bit entropy (bits)")
    axes[1][0].set_ylabel("bit flips per epoch (share)")
    axes[0][0].set_ylim(-0.02, 1.04)
    axes[1][0].set_ylim(bottom=0)
    return figure


def _named(runs: Any) -> dict[str, Any]:
    if isinstance(runs, Mapping) and not any(isinstance(value, list | tuple) for value in runs.values()):
        return dict(runs)
    if isinstance(runs, str | os.PathLike):
        return {Path(runs).name: runs}
    return {"": runs}
