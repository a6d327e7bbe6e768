"""One picture of accuracy, latency and size."""

import os
from typing import Any

from larq_equalbits import _files
from larq_equalbits._errors import InputError
from larq_equalbits._text import plotted
from larq_equalbits.device.measured import Result
from larq_equalbits.plots import canvas


def draw(results: list[Result], path: str | os.PathLike[str]) -> None:
    """Draws accuracy against median latency; a point's area is the model's size, its colour the device.

    Lines join the same model on the same device with different numbers of threads. Models without accuracy
    stand at the bottom, apart from the rest, as rings; where none has one, the axis has no numbers.

    Raises:
        InputError: where no latency was measured.
        ImportError: without matplotlib, naming the extra to install.
    """
    measured = [result for result in results if result.latency]
    if not measured:
        raise InputError("report must hold at least one measured latency to be drawn, but got none.")
    figure = _figure(measured)
    with _files.replacing(path) as temporary:
        figure.savefig(temporary, dpi=120)


def _figure(measured: list[Result]) -> Any:
    figure = canvas.figure(7, 4.5)
    axes = figure.add_subplot(
        xlabel="median latency (ms)",
        ylabel="accuracy (%)",
        title="Accuracy, latency and size (area); t: threads",
    )
    devices = list(dict.fromkeys(result.device for result in measured))
    largest = max(result.size_bytes for result in measured)
    known = [result.accuracy for result in measured if result.accuracy is not None]
    floor = 100 * min(known, default=0.0) - 2
    for model in dict.fromkeys(result.model for result in measured):
        for number, device in enumerate(devices):
            line = [result for result in measured if (result.model, result.device) == (model, device)]
            x = [result.latency.median_ms for result in line if result.latency]
            y = [floor if result.accuracy is None else 100 * result.accuracy for result in line]
            axes.plot(x, y, color=f"C{number}", linewidth=0.8, alpha=0.5)
            areas = [40 + 400 * result.size_bytes / largest for result in line]
            fill = ["none" if result.accuracy is None else f"C{number}" for result in line]
            axes.scatter(x, y, s=areas, facecolors=fill, edgecolors=f"C{number}", alpha=0.6)
            for result, left, top in zip(line, x, y, strict=True):
                label = f"{model}, {result.threads}t, {result.size_bytes / 1024:,.0f} KiB"
                axes.annotate(
                    plotted(label), (left, top), xytext=(6, 6), textcoords="offset points", fontsize=7
                )
    # A program may round a time to 0, which has no place there.
    canvas.logarithmic(axes, [max(result.latency.median_ms, 1e-6) for result in measured if result.latency])
    axes.margins(y=0.2)
    if not known:
        axes.set_yticks([])
    for number, device in enumerate(devices):
        axes.plot([], [], "o", color=f"C{number}", label=plotted(device))
    if len(known) < len(measured):
        axes.plot([], [], "o", color="grey", markerfacecolor="none", label="accuracy unknown")
    axes.legend(title="device", fontsize=8)
    return figure
