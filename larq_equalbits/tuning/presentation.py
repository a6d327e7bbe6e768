"""How a sweep is shown: a table with a line for each ratio, and a plot of every trial."""

import math
from collections.abc import Sequence
from typing import Any

from larq_equalbits._text import cells, plotted
from larq_equalbits.plots import canvas
from larq_equalbits.tuning import comparison
from larq_equalbits.tuning.ratios import NAME
from larq_equalbits.tuning.trials import Ratio, Trial, by_ratio, longest


def table(trials: Sequence[Trial], metrics: Sequence[str]) -> Any:
    """Mean and deviation of `metrics` for each ratio as a rich table."""
    shown = _empty("ratio", "trials", *metrics)
    for each in by_ratio(trials):
        counts = f"{each.completed}" + (f" ({each.failed} failed)" if each.failed else "")
        shown.add_row(f"{each.ratio:g}", counts, *(_cell(each, metric) for metric in metrics))
    return shown


def compared(trials: Sequence[Trial], metric: str, reference: float) -> Any:
    """The ratios against the `reference` by `metric`, seed by seed, as a rich table; None where no two have a seed.

    Raises:
        InputError: as `comparison.against`.
    """
    found = comparison.against(trials, metric, reference)
    if not found:
        return None
    shown = _empty("ratio", "pairs", f"{metric} over that of {reference:g}", "p", "p, Holm")
    for each in found:
        values = ("-" if value is None else chance(value) for value in (each.p, each.corrected))
        shown.add_row(f"{each.ratio:g}", str(each.pairs), f"{each.difference:+.4f}", *values)
    return shown


def chance(p: float) -> str:
    """The p of a test in three decimals; none is 0."""
    return f"{p:.3f}" if p >= 0.0005 else "< 0.001"


def _empty(*columns: str) -> Any:
    from rich import box
    from rich.table import Table

    shown = Table(box=box.SIMPLE_HEAD, padding=(0, 2, 0, 0))
    for column in columns:
        shown.add_column(*cells(column), justify="right")
    return shown


def _cell(each: Ratio, metric: str) -> str:
    if metric not in each.mean:
        return "-"
    digits = ",.0f" if metric.endswith(("bytes", "instructions")) else ".4f"
    spread = each.deviation[metric]
    return format(each.mean[metric], digits) + ("" if math.isnan(spread) else f" ± {spread:{digits}}")


def best_pairs(points: Sequence[tuple[float, float]], directions: Sequence[str]) -> list[int]:
    """The places of the points that no other one beats in both values, by the first value.

    Examples:
        >>> best_pairs([(0.9, 50), (0.8, 20), (0.7, 30)], ["max", "min"])
        [1, 0]
    """
    signs = [1 if direction == "max" else -1 for direction in directions]
    signed = [(first * signs[0], second * signs[1]) for first, second in points]
    kept = [
        place
        for place, (first, second) in enumerate(signed)
        if not any(a >= first and b >= second and (a, b) != (first, second) for a, b in signed)
    ]
    return sorted(kept, key=lambda place: points[place])


def front(trials: Sequence[Trial], objectives: Sequence[dict[str, Any]], *, width: float = 6.0) -> Any:
    """Every completed trial by two objectives, and the front of those that no other one beats in both.

    Args:
        trials: at least one of them completed.
        objectives: two, each with ``name`` and ``direction``.
        width: of the figure in inches.

    Returns:
        A matplotlib figure, ready for `savefig`.
    """
    names = [each["name"] for each in objectives]
    done = [trial for trial in trials if all(name in trial.metrics for name in names)]
    points = [(trial.metrics[names[0]], trial.metrics[names[1]]) for trial in done]
    figure = canvas.figure(width, 0.75 * width)
    axis = figure.subplots()
    axis.plot(*zip(*points, strict=True), ".", color="#bbbbbb", markersize=8, label="trial")
    best = best_pairs(points, [each["direction"] for each in objectives])
    line = [points[place] for place in best]
    axis.plot(*zip(*line, strict=True), "o-", color="#4477aa", markersize=5, label="front")
    for place in best:
        axis.annotate(plotted(done[place].folder.name), points[place], fontsize="x-small")
    axis.set_xlabel(plotted(names[0]))
    axis.set_ylabel(plotted(names[1]))
    axis.grid(alpha=0.3)
    axis.legend(fontsize="small")
    return figure


def plot(
    trials: Sequence[Trial], metrics: Sequence[str], *, width: float = 6.0, chance: float | None = None
) -> Any:
    """Every trial as a point over its ratio, with mean and deviation: a panel for each metric (Equal Bits, Fig. 5).

    Of Hyperband's trials those that trained longest are drawn.

    Args:
        trials: at least one of them completed, with a ratio for the whole network.
        metrics: what to draw.
        width: of the figure in inches.
        chance: the accuracy of guessing, a line in every panel of an accuracy; None for none.

    Returns:
        A matplotlib figure, ready for `savefig`.
    """
    figure = canvas.figure(width, 0.5 + 2.6 * len(metrics))
    ratios = by_ratio(trials)
    for axis, metric in zip(
        figure.subplots(len(metrics), 1, sharex=True, squeeze=False)[:, 0], metrics, strict=True
    ):
        whole = [each for each in longest(trials) if NAME in each.values and metric in each.metrics]
        points = [(each.values[NAME], each.metrics[metric]) for each in whole]
        known = [each for each in ratios if metric in each.mean]
        spreads = [each.deviation[metric] for each in known]
        axis.plot(*zip(*points, strict=True), ".", color="#bbbbbb", markersize=7, label="trial")
        axis.errorbar(
            [each.ratio for each in known],
            [each.mean[metric] for each in known],
            yerr=[0.0 if math.isnan(spread) else spread for spread in spreads],
            color="#4477aa",
            marker="o",
            markersize=4,
            capsize=3,
            label="mean" if all(map(math.isnan, spreads)) else "mean ± deviation",
        )
        if chance is not None and metric.endswith("accuracy"):
            axis.axhline(chance, color="#cc6677", linestyle="--", linewidth=1, label="chance")
        axis.set_ylabel(plotted(metric))
        axis.grid(alpha=0.3)
        axis.ticklabel_format(axis="y", useOffset=False)
    values = [each.ratio for each in ratios]
    axis.set_xticks(values, [f"{value:g}" for value in values], rotation=90 if len(values) > 12 else 0)
    axis.set_xlabel("share of +1 in every filter")
    figure.axes[0].legend(fontsize="small")
    return figure
