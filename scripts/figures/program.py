"""What the figure programs share: their options, their files, and the runs that they train.

Every program writes, under --out, one CSV of what it measured, one plot, and `verdicts.json`: for each claim of the
paper whether it held here, what was measured, and what the paper reports.
"""

import csv
import dataclasses
import functools
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

import larq_equalbits
from larq_equalbits import files
from larq_equalbits.cli import run_command


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


def figure_program(main: Callable[..., None]) -> Callable[[], None]:
    """Makes a command line of ``main(out, preset, data_dir, seeds)``; its docstring becomes the help."""

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
    @functools.wraps(main)
    def command(out: Path, **options: Any) -> None:
        larq_equalbits.register()
        out.mkdir(parents=True, exist_ok=True)
        main(out=out, **options)

    return functools.partial(run_command, command)


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes `rows` with the keys of the first as the header."""
    with files.replacing(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def write_plot(figure: Any, path: Path) -> None:
    """Writes a matplotlib figure."""
    with files.replacing(path) as temporary:
        figure.savefig(temporary, dpi=150)


def write_verdicts(out: Path, claims: Sequence[Claim]) -> None:
    """Writes `verdicts.json` and prints a line for each claim."""
    files.write_text(
        out / "verdicts.json", json.dumps([dataclasses.asdict(claim) for claim in claims], indent=2) + "\n"
    )
    words = {True: "holds", False: "does not hold", None: "cannot be told"}
    for claim in claims:
        click.echo(f"{words[claim.holds]}: {claim.claim}. Measured {json.dumps(claim.measured)}")
    click.echo(f"Written to {out}")
