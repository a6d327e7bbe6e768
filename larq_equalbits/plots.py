"""Figures of what the bits did and of where they lie.

Each function returns a matplotlib figure, ready for `savefig`, and touches none of pyplot's global state.
"""

import csv
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from larq_equalbits._errors import InputError, invalid, require

__all__ = [
    "bits",
    "filter_ratios",
    "latent_weights",
    "layer_names",
    "learning",
    "load_model",
    "read_history",
    "threshold",
]


def __dir__() -> list[str]:
    return __all__


_CODE_COLOURS = {-1: "#4477aa", 0: "#bbbbbb", 1: "#ee6677"}


def _number(text: str) -> float:
    # CSVLogger writes NA where an epoch lacks a key.
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
    return {name: [_number(row[index]) for row in rows] for index, name in enumerate(names) if rows}


def read_history(run: Any) -> dict[str, list[float]]:
    """The values of every key over the epochs.

    Of a history.csv that ends within a row, as one does that is written at this moment, the whole rows count.

    Args:
        run: a run folder (with a history.csv), such a file, a Keras History, or a mapping like its `history`.

    Raises:
        InputError: where there is no history to read, or a row that does not fit the columns.
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
    return {key: [float(value) for value in values] for key, values in history.items()}


def load_model(run: Any, *, trust: bool = False) -> Any:
    """The Keras model of a run.

    Args:
        run: a run folder (with a model.keras), such a file, a Keras History, or a model.
        trust: whether to load a file even where it could run code of whoever wrote it.

    Raises:
        InputError: where there is no model, a damaged one, or one that needs `trust`.
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


def _figure(width: float, height: float) -> Any:
    return require("plots", "matplotlib.figure").Figure(figsize=(width, height), layout="constrained")


def _named(runs: Any) -> dict[str, Any]:
    if isinstance(runs, Mapping) and not any(isinstance(value, list | tuple) for value in runs.values()):
        return dict(runs)
    if isinstance(runs, str | os.PathLike):
        return {Path(runs).resolve().name: runs}
    return {"": runs}


def layer_names(history: Mapping[str, Any]) -> list[str]:
    """The kernels that a history holds the bits of, in the order they were logged."""
    return [key.removesuffix("/bit_entropy") for key in history if key.endswith("/bit_entropy")]


def _colours(names: Sequence[str]) -> dict[str, Any]:
    colours = require("plots", "matplotlib").colormaps["viridis"]
    return {name: colours(0.9 * index / max(len(names) - 1, 1)) for index, name in enumerate(names)}


def _draw_over_epochs(axis: Any, history: Mapping[str, list[float]], measure: str, names: list[str]) -> None:
    # A line of a single epoch would be invisible.
    style = "." if len(history[measure]) == 1 else ""
    for name, colour in _colours(names).items():
        values = history[f"{name}/{measure}"]
        axis.plot(range(1, len(values) + 1), values, label=name, color=colour, linewidth=1.2, marker=style)
    values = history[measure]
    axis.plot(range(1, len(values) + 1), values, label="network", color="black", linewidth=2.2, marker=style)
    axis.grid(alpha=0.3)
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.ticklabel_format(axis="y", useOffset=False)


def bits(runs: Any, *, layers: Sequence[str] | None = None, width: float | None = None) -> Any:
    """Bit entropy (above) and bit flips (below) over the epochs, a column for each run.

    The axis of the entropies starts just below the smallest one, so that a difference to 1 can be seen.

    Args:
        runs: one run or a mapping from label to run; see `read_history` for what a run may be.
        layers: names of the kernels to draw; all of them by default. The network as a whole is always drawn.
        width: of the figure in inches; by default 4.5 for every run.

    Raises:
        InputError: where a run holds no bit entropy, or lacks one of `layers`.
    """
    histories = {label: read_history(run) for label, run in _named(runs).items()}
    if not histories:
        raise invalid("runs", runs, "at least one run")
    figure = _figure(width or 1 + 4.5 * len(histories), 6.5)
    axes = figure.subplots(2, len(histories), sharex="col", sharey="row", squeeze=False)
    lowest = 1.0
    handles: dict[str, Any] = {}
    for column, (label, history) in enumerate(histories.items()):
        if not history.get("bit_entropy"):
            raise InputError(f"runs: {label!r} holds no bit_entropy; train it with callbacks.BitLogger.")
        known = layer_names(history)
        names = known if layers is None else list(layers)
        for name in names:
            if name not in known:
                raise invalid("layers", name, f"among {known}")
        for row, measure in enumerate(("bit_entropy", "bit_flips")):
            _draw_over_epochs(axes[row][column], history, measure, names)
        lowest = min([lowest, *history["bit_entropy"], *(min(history[f"{n}/bit_entropy"]) for n in names)])
        axes[0][column].set_title(label)
        axes[1][column].set_xlabel("epoch")
        handles.update(zip(*reversed(axes[0][column].get_legend_handles_labels()), strict=True))
    axes[0][0].set_ylabel("bit entropy (bits)")
    axes[1][0].set_ylabel("share of bits flipped in the epoch")
    span = max(1 - lowest, 0.001) if lowest < 1 else 1.0
    axes[0][0].set_ylim(1 - 1.1 * span, 1 + 0.05 * span)
    axes[1][0].set_ylim(bottom=0)
    _legend(figure, handles)
    return figure


def _legend(figure: Any, handles: Mapping[str, Any], place: str = "outside lower center") -> None:
    longest = max(len(name) for name in handles)
    columns = max(1, int(figure.get_figwidth() * 10 // (longest + 8)))
    figure.legend(handles.values(), handles.keys(), loc=place, ncols=min(columns, 6), fontsize="small")


def learning(run: Any, *, width: float = 5.5) -> Any:
    """Loss and accuracy over the epochs, of the training and (dashed) the validation split.

    Args:
        run: see `read_history`.
        width: of the figure in inches.

    Raises:
        InputError: where the run holds no loss.
    """
    history = read_history(run)
    measures = [key for key in history if key == "loss" or ("accuracy" in key and not key.startswith("val_"))]
    if not measures:
        raise invalid("run", run, "one with a loss in its history")
    figure = _figure(width, 2.6 * len(measures))
    for axis, measure in zip(figure.subplots(len(measures), 1, squeeze=False)[:, 0], measures, strict=True):
        for key, style in ((measure, "-"), (f"val_{measure}", "--")):
            if key in history:
                axis.plot(range(1, len(history[key]) + 1), history[key], style, label=key)
        axis.set_ylabel(measure)
        axis.grid(alpha=0.3)
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.legend(fontsize="small")
    axis.set_xlabel("epoch")
    return figure


def _observed(run: Any, layers: Sequence[str] | None) -> list[Any]:
    from larq_equalbits._bits.kernels import quantized_kernels

    kernels = quantized_kernels(load_model(run))
    names = [kernel.name for kernel in kernels]
    if not kernels:
        raise invalid("run", run, "a model with a quantized kernel")
    for name in layers or ():
        if name not in names:
            raise invalid("layers", name, f"among {names}")
    return [kernel for kernel in kernels if layers is None or kernel.name in layers]


def _grid(count: int, columns: int, width: float | None) -> tuple[Any, Any]:
    rows = -(-count // columns)
    figure = _figure(width or 1 + 3.2 * columns, 0.4 + 2.3 * rows)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes[count:]:
        axis.set_axis_off()
    return figure, axes[:count]


def threshold(latent: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Where every filter divides -1 from +1: midway between the largest latent weight of -1 and the smallest of +1.

    Args:
        latent: latent weights, filters along the last axis.
        codes: their codes, same shape.

    Returns:
        A value for each filter; NaN where the two overlap (a quantizer that is not monotone, such as
        `siman`) or a code is missing.
    """
    rows, signs = latent.reshape(-1, latent.shape[-1]), codes.reshape(-1, codes.shape[-1])
    low = np.where(signs < 0, rows, -np.inf).max(axis=0)
    high = np.where(signs > 0, rows, np.inf).min(axis=0)
    separate = np.isfinite(low) & np.isfinite(high) & (low <= high)
    return np.where(separate, (np.where(separate, low, 0) + np.where(separate, high, 0)) / 2, np.nan)


def latent_weights(
    run: Any, *, layers: Sequence[str] | None = None, columns: int = 3, width: float | None = None
) -> Any:
    """The distribution of every kernel's latent weights, coloured by the code they get (SiMaN, Fig. 2).

    The line is the median over the filters of the threshold between -1 and +1, the shade reaches from the
    5th to the 95th percentile; none where the codes do not follow from a threshold.

    Args:
        run: see `load_model`.
        layers: names of the kernels to draw; all of them by default.
        columns: how many panels stand side by side.
        width: of the figure in inches.

    Raises:
        InputError: for a model without a quantized kernel, an unknown layer.
    """
    kernels = _observed(run, layers)
    figure, axes = _grid(len(kernels), columns, width)
    handles: dict[str, Any] = {}
    for axis, kernel in zip(axes, kernels, strict=True):
        latent, codes = kernel.latent().astype(np.float32), kernel.codes()
        lowest, highest = np.percentile(latent, [0.1, 99.9])
        edges = np.linspace(float(lowest), float(highest), 61)
        present = [code for code in (-1, 0, 1) if (codes == code).any()]
        axis.hist(
            [latent[codes == code] for code in present],
            bins=edges,
            stacked=True,
            color=[_CODE_COLOURS[code] for code in present],
            label=[f"code {code:+d}" if code else "pruned" for code in present],
        )
        limits = threshold(latent, codes)
        limits = limits[np.isfinite(limits)]
        if len(limits):
            axis.axvspan(*np.percentile(limits, [5, 95]), color="black", alpha=0.15, linewidth=0)
            axis.axvline(np.median(limits), color="black", linewidth=1, label="threshold")
        axis.set_title(kernel.name, fontsize="small")
        axis.set_yticks([])
        axis.tick_params(labelsize="small")
        handles.update(zip(*reversed(axis.get_legend_handles_labels()), strict=True))
    figure.supxlabel("latent weight", fontsize="medium")
    _legend(figure, handles, "outside upper center")
    return figure


def filter_ratios(
    run: Any, *, layers: Sequence[str] | None = None, columns: int = 3, width: float | None = None
) -> Any:
    """How the share of +1 is distributed over the filters of every kernel (SiMaN, Fig. 4-12).

    Vertical lines mark the shares that SiMaN finds optimal for Laplacian (0.37) and Gaussian (0.54) weights.
    Pruned weights are left out of a share.

    Args:
        run: see `load_model`.
        layers: names of the kernels to draw; all of them by default.
        columns: how many panels stand side by side.
        width: of the figure in inches.

    Raises:
        InputError: for a model without a quantized kernel, an unknown layer.
    """
    from larq_equalbits import theory

    kernels = _observed(run, layers)
    figure, axes = _grid(len(kernels), columns, width)
    for axis, kernel in zip(axes, kernels, strict=True):
        codes = kernel.codes().reshape(-1, kernel.variable.shape[-1])
        shares = np.sum(codes > 0, axis=0) / np.maximum(np.sum(codes != 0, axis=0), 1)
        # Bins centred on hundredths, so that an exact half fills one bar in the middle.
        axis.hist(shares, bins=np.arange(-0.01, 1.03, 0.02), color=_CODE_COLOURS[1])
        for family, share, style in (
            ("Laplace", theory.LAPLACE_SHARE, ":"),
            ("Gauss", theory.GAUSS_SHARE, "--"),
        ):
            axis.axvline(
                share, color="black", linestyle=style, linewidth=1, label=f"optimum, {family} ({share:.2f})"
            )
        axis.set_xlim(0, 1)
        axis.set_title(kernel.name, fontsize="small")
        axis.tick_params(labelsize="small")
        axis.yaxis.get_major_locator().set_params(integer=True)
    figure.supxlabel("share of +1 in a filter", fontsize="medium")
    figure.supylabel("filters", fontsize="medium")
    lines, labels = axes[0].get_legend_handles_labels()
    _legend(figure, dict(zip(labels, lines, strict=True)), "outside upper center")
    return figure
