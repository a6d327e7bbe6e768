"""What the figure programs share: their options, their files, and the runs that they train.

Every program writes, under --out, one CSV of what it measured, one plot, and `verdicts.json`: for each claim of the
paper whether it held here, what was measured, and what the paper reports.
"""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click
import numpy as np

from larq_equalbits import _files, training
from larq_equalbits._text import csv_table
from larq_equalbits.cli import run_command
from larq_equalbits.plots import canvas

WORDS = {True: "holds", False: "does not hold", None: "cannot be told"}


@dataclasses.dataclass(frozen=True)
class Claim:
    """A claim of a paper, held against what was measured.

    Attributes:
        claim: the claim in words.
        holds: whether it held here; None where this run cannot tell (`why` then says so).
        measured: the figures measured here.
        paper: the paper's own figures where it gives any.
        why: what limits the verdict: fewer epochs, fewer images, a narrower network.
    """

    claim: str
    holds: bool | None
    measured: Mapping[str, Any]
    paper: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    why: str = ""


class Findings(NamedTuple):
    """What a program found.

    Attributes:
        claims: what became of the paper's claims.
        tables: rows by the name of their CSV.
        plots: matplotlib figures by the name of their picture.
    """

    claims: Sequence[Claim]
    tables: Mapping[str, Sequence[Mapping[str, Any]]]
    plots: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Experiment:
    """The trained networks of a figure, shared with the other figures through one folder.

    Attributes:
        preset: "quick" or "paper".
        runs: folder of the runs; one that is there with the same settings is taken or resumed.
        data_dir: the tfds folder of the data, None for the default of `data.load`.
        seeds: repetitions, None for the preset's.
        overrides: settings that replace those of the preset, e.g. {"epochs": 1}; "width" for the network's.
    """

    preset: str
    runs: Path
    data_dir: Path | None
    seeds: int | None
    overrides: Mapping[str, Any]

    @property
    def quick(self) -> bool:
        """Whether this is the preset for minutes on two cores."""
        return self.preset == "quick"

    def repetitions(self, quick: int, paper: int) -> int:
        """How many seeds each variant gets: as many as were asked for, or else as the preset has."""
        return self.seeds or (quick if self.quick else paper)

    def limits(self, why: str) -> str:
        """What limits a verdict of the quick preset; the paper's has no limits."""
        return why if self.quick else ""

    def run(self, fields: Mapping[str, Any], variant: str = "", build: Any = None) -> Any:
        """The finished run of `training.Settings(**fields)`: CIFAR-10 by default.

        The quick preset trains a quarter of the width on 5,000 images for 4 epochs where `fields` leave it open.
        `variant` tells runs of equal settings apart whose `build` differs.
        """

        values = {"dataset": "cifar10", **fields}
        options = dict(values.pop("model_options", {}))
        if self.quick:
            values = {"train_images": 5_000, "epochs": 4, **values}
            options = {"width": 0.25, **options}
        changes = dict(self.overrides)
        if "width" in changes:
            options["width"] = changes.pop("width")
        settings = training.Settings(
            **{**values, **changes}, model_options=options, data_dir=self.data_dir and str(self.data_dir)
        )
        identity = json.dumps(
            [json.loads(settings.replace(data_dir=None).to_json()), variant], sort_keys=True
        )
        digest = hashlib.sha256(identity.encode()).hexdigest()[:12]
        folder = self.runs / f"{settings.model}-{settings.plan().quantizer}-{settings.seed}-{digest}"
        if (folder / "results.json").is_file():
            return training.Run.load(folder)
        click.echo(f"training {folder.name}")
        resume = (folder / "settings.json").is_file()
        return training.train(settings, folder, resume=resume, verbose=0, build=build)

    def grid(
        self, variants: Mapping[str, Mapping[str, Any]], quick: int = 3, paper: int = 3
    ) -> dict[str, list[Any]]:
        """The runs of every variant, one for each of the `repetitions`; seed by seed, so a break leaves whole pairs."""
        found: dict[str, list[Any]] = {name: [] for name in variants}
        for seed in range(self.repetitions(quick, paper)):
            for name, fields in variants.items():
                found[name].append(self.run({**fields, "seed": seed}))
        return found


def figure_program(main: Callable[[Experiment], Findings]) -> Callable[[], None]:
    """Makes a command line of ``main(experiment)``, whose docstring becomes the help, and writes what it finds."""

    @click.command(help=main.__doc__, context_settings={"show_default": True})
    @click.option(
        "--preset", type=click.Choice(["quick", "paper"]), default="quick", help="How much to train."
    )
    @click.option(
        "--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="The output folder."
    )
    @click.option(
        "--data-dir", type=click.Path(path_type=Path), default=None, help="The tfds folder of the data."
    )
    @click.option(
        "--seeds", type=click.IntRange(1), default=None, help="Repetitions; the preset's by default."
    )
    @click.option(
        "--runs",
        type=click.Path(path_type=Path, file_okay=False),
        default=None,
        help="The folder of trained networks, which figures share; OUT/runs by default.",
    )
    @click.option("--dataset", default=None, help="Another data set than the preset's.")
    @click.option("--epochs", type=click.IntRange(1), default=None, help="Instead of the preset's.")
    @click.option("--train-images", type=click.IntRange(1), default=None, help="Instead of the preset's.")
    @click.option("--width", type=float, default=None, help="Factor of the width, instead of the preset's.")
    @functools.wraps(main)
    def command(
        out: Path,
        preset: str,
        data_dir: Path | None,
        runs: Path | None,
        seeds: int | None,
        **overrides: Any,
    ) -> None:
        out.mkdir(parents=True, exist_ok=True)
        given = {name: value for name, value in overrides.items() if value is not None}
        found = main(Experiment(preset, runs or out / "runs", data_dir, seeds, given))
        for name, rows in found.tables.items():
            _files.write_text(out / f"{name}.csv", csv_table(rows))
        for name, figure in found.plots.items():
            write_plot(figure, out / f"{name}.png")
        claims = [dataclasses.asdict(claim) for claim in found.claims]
        _files.write_text(out / "verdicts.json", json.dumps(claims, indent=2) + "\n")
        for claim in found.claims:
            click.echo(f"{WORDS[claim.holds]}: {claim.claim}. Measured {json.dumps(claim.measured)}")
        click.echo(f"Written to {out}")

    return functools.partial(run_command, command)


def finals(grid: Mapping[str, Sequence[Any]], key: str = "test_accuracy") -> dict[str, list[float]]:
    """By variant, a result of every run's last epoch (never of its best)."""
    return {name: [run.results[key] for run in runs] for name, runs in grid.items()}


def last(grid: Mapping[str, Sequence[Any]], key: str) -> dict[str, list[float]]:
    """By variant, the last value of a key of every run's history."""
    return {name: [run.history[key][-1] for run in runs] for name, runs in grid.items()}


def summary(values: Mapping[str, Sequence[float]]) -> dict[str, dict[str, float]]:
    """By variant the mean, the deviation (of the sample; 0 for one value) and the number of values."""
    return {
        name: {
            "mean": round(float(np.mean(each)), 4),
            "deviation": round(float(np.std(each, ddof=1)), 4) if len(each) > 1 else 0.0,
            "runs": len(each),
        }
        for name, each in values.items()
    }


def paired(first: Sequence[float], second: Sequence[float]) -> dict[str, float | None]:
    """The mean of first - second over the seeds and the p that `comparison.paired` finds (None below 3 seeds)."""
    from larq_equalbits.tuning import comparison

    p = comparison.paired(first, second) if len(first) > 2 else None
    difference = float(np.mean(np.subtract(first, second)))
    return {"difference": round(difference, 4), "p": None if p is None else round(p, 4)}


def better(test: Mapping[str, float | None]) -> bool | None:
    """A verdict on "first is greater": None where the paired test does not tell (p of 0.05 or more, or none)."""
    p = test["p"]
    return None if p is None or not p < 0.05 else bool((test["difference"] or 0) > 0)


def comparisons(
    values: Mapping[str, Sequence[float]],
    claims: Mapping[str, tuple[str, str]],
    paper: Mapping[str, Any] | None = None,
    why: str = "",
) -> list[Claim]:
    """A claim for each of `claims`, from its words to (greater, smaller): two variants of `values`, paired by seed."""
    found = []
    for words, (greater, smaller) in claims.items():
        test = paired(values[greater], values[smaller])
        measured = {**summary({name: values[name] for name in (greater, smaller)}), "gain": test}
        theirs = {name: paper[name] for name in (greater, smaller) if name in paper} if paper else {}
        found.append(Claim(words, better(test), measured, theirs, why))
    return found


def final_rows(grid: Mapping[str, Sequence[Any]], **group: str) -> list[dict[str, Any]]:
    """A row for each run: its group, its variant, seed, and what it came to."""
    keys = ("bit_entropy", "positive_ratio", "bit_flips")
    return [
        {
            **group,
            "variant": name,
            "seed": run.settings.seed,
            "test_accuracy": run.results["test_accuracy"],
            "test_loss": run.results["test_loss"],
            "train_loss": run.history["loss"][-1],
            **{key: run.history[key][-1] for key in keys},
        }
        for name, runs in grid.items()
        for run in runs
    ]


def epoch_rows(grid: Mapping[str, Sequence[Any]], keys: Sequence[str]) -> list[dict[str, Any]]:
    """A row for each epoch of each run."""
    return [
        {
            "variant": name,
            "seed": run.settings.seed,
            "epoch": epoch,
            **{key: run.history[key][epoch] for key in keys},
        }
        for name, runs in grid.items()
        for run in runs
        for epoch in range(len(run.history[keys[0]]))
    ]


def plot_epochs(panels: Mapping[str, tuple[Mapping[str, Sequence[Any]], str]], title: str) -> Any:
    """A panel for each label: the key's mean over the seeds by epoch, a line for each variant."""
    figure = canvas.figure(5 * len(panels), 3.6)
    all_axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (label, (grid, key)) in zip(all_axes, panels.items(), strict=True):
        curves = {name: [run.history[key] for run in runs] for name, runs in grid.items()}
        draw_epochs(axes, curves, label, marker="o", markersize=3)
        axes.ticklabel_format(axis="y", useOffset=False)
    figure.suptitle(title)
    return figure


def draw_epochs(axes: Any, curves: Mapping[str, Sequence[Sequence[float]]], label: str, **style: Any) -> None:
    """Draws a line for each variant: the mean over the seeds by epoch; the band is their range."""
    for name, each in curves.items():
        values = np.array(each)
        epochs = np.arange(1, values.shape[1] + 1)
        axes.plot(epochs, values.mean(axis=0), label=name, **style)
        axes.fill_between(epochs, values.min(axis=0), values.max(axis=0), alpha=0.2)
    axes.set(xlabel="epoch", ylabel=label)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend(fontsize=8)


def plot_points(panels: Mapping[str, Mapping[str, Sequence[float]]], title: str) -> Any:
    """A panel for each label: every value as a point, the means as bars, a column for each variant."""
    figure = canvas.figure(max(5, 0.5 * max(map(len, panels.values()))) * len(panels), 3.8)
    all_axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (label, values) in zip(all_axes, panels.items(), strict=True):
        draw_points(axes, values, label)
        if len(values) > 3:
            axes.tick_params(axis="x", rotation=90 if len(values) > 8 else 20)
        axes.margins(y=0.15)
    figure.suptitle(title)
    return figure


def draw_points(axes: Any, values: Mapping[str, Sequence[float]], label: str) -> None:
    """Draws a column for each variant: every value as a point, the mean as a bar."""
    for column, each in enumerate(values.values()):
        axes.bar(column, np.mean(each), width=0.6, alpha=0.35)
        axes.plot([column] * len(each), each, "k.", markersize=5)
    axes.set_xticks(range(len(values)), list(values), fontsize=8)
    axes.set_ylabel(label)


def write_plot(figure: Any, path: Path) -> None:
    """Writes a matplotlib figure."""
    with _files.replacing(path) as temporary:
        figure.savefig(temporary, dpi=150)
