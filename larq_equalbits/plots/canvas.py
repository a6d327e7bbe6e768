"""A figure without pyplot, its legend, and a logarithmic axis."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from larq_equalbits._errors import require


def figure(width: float, height: float) -> Any:
    """An empty matplotlib figure of this size in inches."""
    return require("plots", "matplotlib.figure").Figure(figsize=(width, height), layout="constrained")


def logarithmic(axis: Any, values: Sequence[float]) -> None:
    """Makes the horizontal axis logarithmic, with plain numbers and room at both sides of `values`.

    Of one value, or of close ones, it shows a decade.
    """
    ticker = require("plots", "matplotlib.ticker")
    axis.set_xscale("log")
    middle = math.sqrt(min(values) * max(values))
    reach = max(math.sqrt(max(values) / min(values)) * 1.5, math.sqrt(10))
    axis.xaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
    axis.xaxis.set_major_formatter(ticker.FormatStrFormatter("%g"))
    axis.xaxis.set_minor_formatter(ticker.NullFormatter())
    axis.set_xlim(middle / reach, middle * reach)


def legend(drawn: Any, handles: Mapping[str, Any], place: str = "outside lower center") -> None:
    """Puts one legend below the figure or above it, in as many columns as fit."""
    longest = max(len(name) for name in handles)
    columns = max(1, int(drawn.get_figwidth() * 10 // (longest + 8)))
    drawn.legend(handles.values(), handles.keys(), loc=place, ncols=min(columns, 6), fontsize="small")
