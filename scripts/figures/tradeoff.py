"""Accuracy of one network's forms against size and instructions, from the CSV of scripts/benchmarks/tradeoff.py."""

import csv
from pathlib import Path

import click
from program import write_plot  # first: selects Keras 2

from larq_equalbits._errors import require
from larq_equalbits.cli import run_command
from larq_equalbits.plots import canvas

DOCS = Path(__file__).resolve().parents[2] / "docs"
PANELS = (
    ("bytes", 1024, "size of the file, KiB"),
    ("instructions", 1e6, "instructions of an inference, millions"),
)


@click.command(context_settings={"show_default": True})
@click.option("--data", type=click.Path(path_type=Path, exists=True), default=DOCS / "data" / "tradeoff.csv")
@click.option("--out", type=click.Path(path_type=Path), default=DOCS / "images" / "tradeoff.png")
def main(data: Path, out: Path) -> None:
    """Draws accuracy against size (left) and instructions (right), both on logarithmic axes."""
    with data.open(newline="") as file:
        rows = list(csv.DictReader(file))
    ticker = require("plots", "matplotlib.ticker")
    figure = canvas.figure(8, 3.6)
    for axes, (key, unit, label) in zip(figure.subplots(1, 2, sharey=True), PANELS, strict=True):
        for row, marker in zip(rows, "osD^v", strict=False):
            # Open marks: both forms of 1/32 take the same instructions.
            axes.plot(
                float(row[key]) / unit,
                100 * float(row["accuracy"]),
                marker,
                markersize=9,
                markerfacecolor="none",
                markeredgewidth=2,
                label=row["form"],
            )
        axes.set_xscale("log")
        values = [float(row[key]) / unit for row in rows]
        axes.set_xlim(min(values) / 1.5, max(values) * 1.5)
        axes.xaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(ticker.FormatStrFormatter("%g"))
        axes.xaxis.set_minor_formatter(ticker.NullFormatter())
        axes.set_xlabel(label)
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel("accuracy on test images, %")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=len(rows))
    write_plot(figure, out)


if __name__ == "__main__":
    run_command(main)
