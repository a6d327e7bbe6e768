"""Where the latent weights and the bits of a model lie."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from larq_equalbits._errors import invalid
from larq_equalbits._text import plotted
from larq_equalbits.plots import canvas
from larq_equalbits.plots.reading import load_model, named

_CODE_COLOURS = {-1: "#4477aa", 0: "#bbbbbb", 1: "#ee6677"}


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
    # A column more or less where that leaves fewer places empty.
    near = (min(columns, count), min(columns + 1, count), max(min(columns, count) - 1, 1))
    columns = min(near, key=lambda several: -count % several)
    rows = -(-count // columns)
    figure = canvas.figure(width or 1 + 3.2 * columns, 0.4 + 2.3 * rows)
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

    Examples:
        >>> threshold(np.array([[0.1], [0.2], [0.4]]), np.array([[-1], [-1], [1]]))
        array([0.3])
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

    Examples:
        >>> [axis.get_title() for axis in latent_weights(model).axes]
        ['conv']
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
        axis.set_title(plotted(kernel.name), fontsize="small")
        axis.set_yticks([])
        axis.tick_params(labelsize="small")
        handles.update(zip(*reversed(axis.get_legend_handles_labels()), strict=True))
    figure.supxlabel("latent weight", fontsize="medium")
    canvas.legend(figure, handles, "outside upper center")
    return figure


def _shares(kernel: Any) -> np.ndarray:
    """The share of +1 among what is not pruned of each filter; NaN where all of it is."""
    codes = kernel.codes().reshape(-1, kernel.variable.shape[-1])
    kept = np.sum(codes != 0, axis=0)
    return np.where(kept, np.sum(codes > 0, axis=0) / np.maximum(kept, 1), np.nan)


def filter_ratios(
    run: Any, *, layers: Sequence[str] | None = None, columns: int = 3, width: float | None = None
) -> Any:
    """How the share of +1 is distributed over the filters of every kernel (SiMaN, Fig. 4-12).

    Vertical lines mark the shares that SiMaN finds optimal for Laplacian (0.37) and Gaussian (0.54) weights.
    Pruned weights are left out of a share, and a filter of nothing else is not counted.

    Args:
        run: see `load_model`.
        layers: names of the kernels to draw; all of them by default.
        columns: how many panels stand side by side.
        width: of the figure in inches.

    Raises:
        InputError: for a model without a quantized kernel, an unknown layer.

    Examples:
        >>> [axis.get_title() for axis in filter_ratios(model).axes]
        ['conv']
    """
    from larq_equalbits import theory

    kernels = _observed(run, layers)
    figure, axes = _grid(len(kernels), columns, width)
    for axis, kernel in zip(axes, kernels, strict=True):
        shares = _shares(kernel)
        shares = shares[np.isfinite(shares)]
        # Bins centred on hundredths, so an exact half fills one bar in the middle.
        axis.hist(shares, bins=np.arange(-0.01, 1.03, 0.02), color=_CODE_COLOURS[1])
        for family, share, style in (
            ("Laplace", theory.LAPLACE_SHARE, ":"),
            ("Gauss", theory.GAUSS_SHARE, "--"),
        ):
            axis.axvline(
                share, color="black", linestyle=style, linewidth=1, label=f"optimum, {family} ({share:.2f})"
            )
        axis.set_xlim(0, 1)
        axis.set_title(plotted(kernel.name), fontsize="small")
        axis.tick_params(labelsize="small")
        axis.yaxis.get_major_locator().set_params(integer=True)
    figure.supxlabel("share of +1 in a filter", fontsize="medium")
    figure.supylabel("filters", fontsize="medium")
    lines, labels = axes[0].get_legend_handles_labels()
    canvas.legend(figure, dict(zip(labels, lines, strict=True)), "outside upper center")
    return figure


def filter_map(runs: Any, *, layers: Sequence[str] | None = None, width: float | None = None) -> Any:
    """The share of +1 in every filter as a heat map: a row for each kernel, its filters from the lowest share to
    the highest, and a panel for each run on one scale of colours.

    An even split is white. Pruned weights are left out of a share; a filter of nothing else is grey, and comes last.

    Args:
        runs: one run or a mapping from label to run; see `load_model` for what a run may be.
        layers: names of the kernels to draw; all of them by default.
        width: of the figure in inches; by default 4.5 for every run.

    Raises:
        InputError: for no run at all, a model without a quantized kernel, an unknown layer.

    Examples:
        >>> figure = filter_map({"bi_half": model})
        >>> figure.axes[0].get_title()
        'bi_half'
    """
    models = {label: _observed(run, layers) for label, run in named(runs).items()}
    if not models:
        raise invalid("runs", runs, "at least one run")
    shares = {
        label: {kernel.name: np.sort(_shares(kernel)) for kernel in kernels}
        for label, kernels in models.items()
    }
    every = [row for rows in shares.values() for row in rows.values()]
    # The scale reaches as far as the shares do, and at least as far as can be told apart.
    span = max(0.05, *(float(np.nanmax(np.abs(row - 0.5), initial=0)) for row in every))
    most = max(map(len, shares.values()))
    drawn = canvas.figure(width or 1.2 + 4.5 * len(models), 1.3 + 0.45 * most)
    axes = drawn.subplots(1, len(models), squeeze=False)[0]
    for axis, (label, rows) in zip(axes, shares.items(), strict=True):
        for place, row in enumerate(rows.values()):
            mesh = axis.pcolormesh(
                np.linspace(0, 100, len(row) + 1),
                [place - 0.42, place + 0.42],
                row[None],
                cmap="RdBu_r",
                vmin=0.5 - span,
                vmax=0.5 + span,
                rasterized=True,
            )
        axis.set_yticks(range(len(rows)), list(map(plotted, rows)), fontsize="small")
        axis.set_ylim(len(rows) - 0.5, -0.5)
        axis.set_facecolor("#dddddd")
        axis.set_title(plotted(label))
        axis.set_xlabel("filters, sorted (%)")
    drawn.colorbar(mesh, ax=list(axes), label="share of +1")
    return drawn
