"""Makes the tables and figures of docs/results.md from the CSVs in docs/data, which `run_queue.py` wrote.

For every group of `plan.py` the page has two markers, between which the group's table and verdicts go; figures go to
docs/images. A claim is a paired t-test over the seeds that both variants have.
"""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
import plan
from program import WORDS, better, draw_epochs, draw_points, paired, write_plot
from run_queue import DATA, ROOT

from larq_equalbits import _files
from larq_equalbits._errors import InputError
from larq_equalbits.cli import run_command
from larq_equalbits.plots import canvas
from larq_equalbits.tuning.presentation import chance

PAGE = ROOT / "docs" / "results.md"
IMAGES = ROOT / "docs" / "images"
# By variant and seed, the rows of the epochs.
Results = dict[str, dict[int, list[dict[str, float]]]]


def read(group: plan.Group, data: Path = DATA) -> Results:
    """The finished runs of a group; a variant without any is left out.

    Raises:
        InputError: a file that is no result of this plan; names it.
    """
    results: Results = {}
    for run in group.runs():
        path = data / f"{run.name}.csv"
        if not path.is_file():
            continue
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
        try:
            last = rows[-1]
            if (last["group"], last["variant"], last["seed"]) != (run.group, run.variant, str(run.seed)):
                raise ValueError(f"it is of {last['group']}-{last['variant']}-{last['seed']}")
            float(last["test_accuracy"])
            measured = [key for key in last if key not in ("group", "variant")]
            numbers = [{key: float(row[key]) for key in measured if row[key]} for row in rows]
        except (IndexError, KeyError, ValueError, TypeError) as error:
            raise InputError(f"{path} must be the result of {run.name}, but {error}.") from error
        results.setdefault(run.variant, {})[run.seed] = numbers
    return results


def _spread(values: Sequence[float], digits: int, scale: float = 1.0) -> str:
    scaled = np.multiply(values, scale)
    mean = f"{np.mean(scaled):.{digits}f}"
    return f"{mean} ({np.std(scaled, ddof=1):.{digits}f})" if len(scaled) > 1 else mean


def table(group: plan.Group, results: Results) -> str:
    """The group's table and verdicts as Markdown: means and, in brackets, deviations over the seeds."""
    if not results:
        return f"*{group.title}:* no run is finished yet."
    lines = [
        f"**{group.title}** (`{group.name}`; {sum(map(len, results.values()))} of "
        f"{len(group.variants) * group.seeds} runs).",
        "",
        "| variant | seeds | test accuracy, % | training loss | bit entropy | flips, last epoch |",
        "|---|---|---|---|---|---|",
    ]
    for variant, seeds in results.items():
        ends = [rows[-1] for rows in seeds.values()]
        flips = [end["bit_flips"] for end in ends if "bit_flips" in end]
        lines.append(
            f"| {variant} | {len(ends)} | {_spread([end['test_accuracy'] for end in ends], 1, 100)} | "
            f"{_spread([end['loss'] for end in ends], 3)} | "
            f"{_spread([end['bit_entropy'] for end in ends], 5)} | "
            f"{_spread(flips, 2, 1000) + ' in 1,000' if flips else ''} |"
        )
    verdicts = [_verdict(claim, results) for claim in group.claims if {*claim[1:]} <= set(results)]
    if verdicts:
        lines += [
            "",
            "| claim | difference, points | seeds | p | verdict |",
            "|---|---|---|---|---|",
            *verdicts,
        ]
    return "\n".join(lines)


def _verdict(claim: tuple[str, str, str], results: Results) -> str:
    words, greater, smaller = claim
    seeds = sorted(set(results[greater]) & set(results[smaller]))
    if not seeds:
        return f"| {words} | | 0 | | cannot be told |"
    first, second = (
        [results[name][seed][-1]["test_accuracy"] for seed in seeds] for name in (greater, smaller)
    )
    test = paired(first, second)
    p = "" if test["p"] is None else chance(test["p"])
    return (
        f"| {words} | {100 * (test['difference'] or 0):+.1f} | {len(seeds)} | {p} | {WORDS[better(test)]} |"
    )


def figure(group: plan.Group, results: Results) -> Any:
    """Training loss by epoch (the band is the range of the seeds), and the test accuracy of every run."""
    drawing = canvas.figure(10, 3.8)
    curves, points = drawing.subplots(1, 2)
    losses = {
        variant: [[row["loss"] for row in rows] for rows in seeds.values()]
        for variant, seeds in results.items()
    }
    draw_epochs(curves, losses, "training loss")
    accuracies = {
        variant: [100 * rows[-1]["test_accuracy"] for rows in seeds.values()]
        for variant, seeds in results.items()
    }
    draw_points(points, accuracies, "test accuracy, last epoch, %")
    points.tick_params(axis="x", rotation=20 if len(results) > 4 else 0)
    drawing.suptitle(group.title)
    return drawing


def written(page: str, tables: Mapping[str, str]) -> str:
    """`page` with every table between the markers of its name.

    Raises:
        InputError: a page that lacks markers; names them.
    """
    for name, text in tables.items():
        start, end = f"<!-- runs: {name} -->", f"<!-- end of runs: {name} -->"
        head, found, rest = page.partition(start)
        _, closed, tail = rest.partition(end)
        if not (found and closed):
            raise InputError(f"page must hold the markers {start} and {end}.")
        page = f"{head}{start}\n{text}\n{end}{tail}"
    return page


@click.command(context_settings={"show_default": True})
@click.option(
    "--results",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    default=DATA,
    help="The CSVs of finished runs.",
)
@click.option("--page", type=click.Path(path_type=Path), default=PAGE, help="A page with the markers.")
@click.option(
    "--images", type=click.Path(path_type=Path, file_okay=False), default=IMAGES, help="Where figures go."
)
def main(results: Path, page: Path, images: Path) -> None:
    """Write the tables of all groups into the page, and a figure for each group that has results."""
    found = [(group, read(group, results)) for group in plan.GROUPS]
    text = written(
        page.read_text(encoding="utf-8"), {group.name: table(group, each) for group, each in found}
    )
    images.mkdir(parents=True, exist_ok=True)
    drawn = [(group, each) for group, each in found if each]
    for group, each in drawn:
        write_plot(figure(group, each), images / f"runs_{group.name}.png")
    _files.write_text(page, text)
    click.echo(f"written: {page}, {len(drawn)} figures in {images}")


if __name__ == "__main__":
    run_command(main)
