"""What happened over the epochs."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from larq_equalbits._errors import InputError, invalid, require
from larq_equalbits._text import plotted
from larq_equalbits.plots import canvas
from larq_equalbits.plots.reading import epochs, named, read_history


def layer_names(history: Mapping[str, Any]) -> list[str]:
    """The kernels that a history holds the bits of, in the order they were logged.

    Examples:
        >>> layer_names({"loss": [1.0], "conv/bit_entropy": [1.0], "dense/bit_entropy": [0.9]})
        ['conv', 'dense']
    """
    return [key.removesuffix("/bit_entropy") for key in history if key.endswith("/bit_entropy")]


def _colours(names: Sequence[str]) -> dict[str, Any]:
    colours = require("plots", "matplotlib").colormaps["viridis"]
    return {name: colours(0.9 * index / max(len(names) - 1, 1)) for index, name in enumerate(names)}


def _draw_over_epochs(axis: Any, history: Mapping[str, list[float]], measure: str, names: list[str]) -> None:
    drawn = [(f"{name}/{measure}", plotted(name), colour, 1.2) for name, colour in _colours(names).items()]
    for key, label, colour, width in (*drawn, (measure, "network", "black", 2.2)):
        values = history[key]
        # A line of a single epoch would be invisible.
        marker = "." if len(values) == 1 else ""
        numbers = epochs(history, len(values))
        axis.plot(numbers, values, label=label, color=colour, linewidth=width, marker=marker)
    axis.grid(alpha=0.3)
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.ticklabel_format(axis="y", useOffset=False)


def bits(runs: Any, *, layers: Sequence[str] | None = None, width: float | None = None) -> Any:
    """Bit entropy (above) and bit flips (below) over the epochs, a column for each run.

    The axis of the entropies starts just below the smallest one, so a difference to 1 can be seen.

    Args:
        runs: one run or a mapping from label to run; see `read_history` for what a run may be.
        layers: names of the kernels to draw; all of them by default. The network as a whole is always drawn.
        width: of the figure in inches; by default 4.5 for every run.

    Raises:
        InputError: where a run holds no bit entropy, or lacks one of `layers`.

    Examples:
        >>> history = {"bit_entropy": [0.9, 1.0], "bit_flips": [0.2, 0.1]}
        >>> [axis.get_ylabel() for axis in bits(history).axes]
        ['bit entropy (bits)', 'share of bits flipped in the epoch']
    """
    histories = {label: read_history(run) for label, run in named(runs).items()}
    if not histories:
        raise invalid("runs", runs, "at least one run")
    figure = canvas.figure(width or 1 + 4.5 * len(histories), 6.5)
    axes = figure.subplots(2, len(histories), sharex="col", sharey="row", squeeze=False)
    measures = ("bit_entropy", "bit_flips")
    lowest = 1.0
    handles: dict[str, Any] = {}
    for column, (label, history) in enumerate(histories.items()):
        known = layer_names(history)
        needed = [f"{prefix}{end}" for prefix in ("", *(f"{name}/" for name in known)) for end in measures]
        missing = next((key for key in needed if not history.get(key)), None)
        if missing:
            raise InputError(f"runs: {label!r} holds no {missing}; train it with callbacks.BitLogger.")
        names = known if layers is None else list(layers)
        for name in names:
            if name not in known:
                raise invalid("layers", name, f"among {known}")
        for row, measure in enumerate(measures):
            _draw_over_epochs(axes[row][column], history, measure, names)
        lowest = min([lowest, *history["bit_entropy"], *(min(history[f"{n}/bit_entropy"]) for n in names)])
        axes[0][column].set_title(plotted(label))
        axes[1][column].set_xlabel("epoch")
        handles.update(zip(*reversed(axes[0][column].get_legend_handles_labels()), strict=True))
    axes[0][0].set_ylabel("bit entropy (bits)")
    axes[1][0].set_ylabel("share of bits flipped in the epoch")
    span = max(1 - lowest, 0.001)
    axes[0][0].set_ylim(1 - 1.1 * span, 1 + 0.05 * span)
    axes[1][0].set_ylim(bottom=0)
    canvas.legend(figure, handles)
    return figure


def learning(run: Any, *, width: float = 5.5) -> Any:
    """Loss and accuracy over the epochs, of the training and (dashed) the validation split.

    Args:
        run: see `read_history`.
        width: of the figure in inches.

    Raises:
        InputError: where the run holds no loss.

    Examples:
        >>> figure = learning({"loss": [2.0, 1.0], "accuracy": [0.5, 0.8]})
        >>> [axis.get_ylabel() for axis in figure.axes]
        ['loss', 'accuracy']
    """
    history = read_history(run)
    measures = [key for key in history if key == "loss" or ("accuracy" in key and not key.startswith("val_"))]
    if not measures:
        raise invalid("run", run, "one with a loss in its history")
    figure = canvas.figure(width, 2.6 * len(measures))
    for axis, measure in zip(figure.subplots(len(measures), 1, squeeze=False)[:, 0], measures, strict=True):
        for key, style in ((measure, "-"), (f"val_{measure}", "--")):
            if key in history:
                # An epoch without validation would break the line.
                numbered = zip(epochs(history, len(history[key])), history[key], strict=True)
                points = {epoch: value for epoch, value in numbered if not math.isnan(value)}
                axis.plot(list(points), list(points.values()), style, label=plotted(key))
        axis.set_ylabel(plotted(measure))
        axis.grid(alpha=0.3)
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.legend(fontsize="small")
    axis.set_xlabel("epoch")
    return figure


def filter_entropy(runs: Any, *, width: float = 5.5, height: float = 3.2) -> Any:
    """The mean entropy of a filter's bits over the epochs, of each run's network in one panel.

    Args:
        runs: one run or a mapping from label to run; see `read_history` for what a run may be.
        width: of the figure in inches.
        height: of the figure in inches.

    Raises:
        InputError: where a run holds no filter entropy.

    Examples:
        >>> logs = {"bi_half": {"filter_entropy": [1.0, 1.0]}, "ste_sign": {"filter_entropy": [0.9, 0.8]}}
        >>> figure = filter_entropy(logs)
        >>> len(figure.axes[0].lines)
        2
    """
    drawn = canvas.figure(width, height)
    axis = drawn.subplots()
    lowest = 1.0
    for place, (label, run) in enumerate(named(runs).items()):
        history = read_history(run)
        values = history.get("filter_entropy")
        if not values:
            raise InputError(f"runs: {label!r} holds no filter_entropy; train it with callbacks.BitLogger.")
        # Thick below thin: of two equal lines both are seen.
        axis.plot(
            epochs(history, len(values)),
            values,
            marker=".",
            linewidth=max(1.5, 4.5 - 1.5 * place),
            label=plotted(label),
        )
        lowest = min([lowest, *(value for value in values if math.isfinite(value))])
    span = max(1 - lowest, 1e-4)
    axis.set_ylim(1 - 1.1 * span, 1 + 0.08 * span)
    axis.set_xlabel("epoch")
    axis.set_ylabel("entropy per filter (bits)")
    axis.grid(alpha=0.3)
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.ticklabel_format(axis="y", useOffset=False)
    axis.legend(fontsize="small")
    return drawn
