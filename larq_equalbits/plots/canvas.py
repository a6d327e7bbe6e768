"""A figure without pyplot, and its legend."""

from collections.abc import Mapping
from typing import Any

from larq_equalbits._errors import require


def figure(width: float, height: float) -> Any:
    """An empty matplotlib figure of this size in inches."""
    return require("plots", "matplotlib.figure").Figure(figsize=(width, height), layout="constrained")


def legend(drawn: Any, handles: Mapping[str, Any], place: str = "outside lower center") -> None:
    """Puts one legend below the figure or above it, in as many columns as fit."""
    longest = max(len(name) for name in handles)
    columns = max(1, int(drawn.get_figwidth() * 10 // (longest + 8)))
    drawn.legend(handles.values(), handles.keys(), loc=place, ncols=min(columns, 6), fontsize="small")
