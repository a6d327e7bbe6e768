"""What a network costs and what it gives for it."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from larq_equalbits._errors import InputError, invalid, is_number
from larq_equalbits._text import plotted
from larq_equalbits.plots import canvas


@dataclasses.dataclass(frozen=True)
class Point:
    """One network's figures.

    Attributes:
        accuracy: 0 to 1.
        size_bytes: of the file, above 0.
        ms: the time of an image in milliseconds, above 0; None where it was not measured.

    Examples:
        >>> Point(accuracy=0.98, size_bytes=65_820).ms is None
        True
    """

    accuracy: float
    size_bytes: int
    ms: float | None = None


def tradeoff(points: Mapping[str, Point], *, width: float = 8.0) -> Any:
    """Accuracy against the size of the file (left) and against the time of an image (right), on logarithmic axes.

    Give the float twin as one of the points. The right panel is left out where no time is known.

    Args:
        points: by label.
        width: of the figure in inches.

    Raises:
        InputError: no points, or a figure out of its range.

    Examples:
        >>> figure = tradeoff({"bi_half": Point(0.98, 65_820, 0.02), "float": Point(0.99, 1_477_720, 0.1)})
        >>> len(figure.axes)
        2
    """
    if not points:
        raise invalid("points", points, "at least one labelled Point")
    for label, point in points.items():
        times = () if point.ms is None else (point.ms,)
        good = is_number(point.accuracy) and all(
            is_number(each) and each > 0 for each in (point.size_bytes, *times)
        )
        if not good:
            raise InputError(
                f"points: {label!r} must have an accuracy, and size and time above 0, but is {point}."
            )
    timed = {label: point for label, point in points.items() if point.ms is not None}
    drawn = canvas.figure(width if timed else width / 2 + 0.5, 3.4)
    axes = drawn.subplots(1, 2 if timed else 1, sharey=True, squeeze=False)[0]
    panels = [(points, "size of the file (KiB)", lambda point: point.size_bytes / 1024)]
    if timed:
        panels.append((timed, "time of an image (ms)", lambda point: point.ms))
    for axis, (shown, name, value) in zip(axes, panels, strict=True):
        values = [value(point) for point in shown.values()]
        for place, (label, point) in enumerate(shown.items()):
            axis.plot(value(point), point.accuracy, "osD^v"[place % 5], markersize=8, label=plotted(label))
        canvas.logarithmic(axis, values)
        axis.set_xlabel(name)
        axis.grid(alpha=0.3, which="both")
    axes[0].set_ylabel("accuracy")
    lines, labels = axes[0].get_legend_handles_labels()
    canvas.legend(drawn, dict(zip(labels, lines, strict=True)))
    return drawn
