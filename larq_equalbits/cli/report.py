"""`larq-equalbits report`: one page about a run, several runs or a sweep."""

import json
from pathlib import Path

import click

from larq_equalbits._errors import invalid
from larq_equalbits._text import visible
from larq_equalbits.cli import start
from larq_equalbits.cli.sources import trust_option


def _folders(_: click.Context, __: click.Parameter, paths: tuple[Path, ...]) -> tuple[Path, ...]:
    for path in paths:
        if not path.is_dir():
            raise invalid("RUN", str(path), "a run folder or that of a sweep")
    return paths


@click.command("report")
@click.argument(
    "runs", metavar="RUN...", nargs=-1, required=True, type=click.Path(path_type=Path), callback=_folders
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="The file to write.  [default: RUN/report.html; of several report-A-B.html beside the first]",
)
@trust_option
@click.option("--json", "as_json", is_flag=True, help='Print {"report": PATH} instead of a sentence.')
def command(runs: tuple[Path, ...], out: Path | None, trust: bool, as_json: bool) -> None:
    """Write a page about RUN, a run folder or that of a sweep; of several run folders a page that compares them.

    The page is one file that needs no network and reads well on a phone. It shows what the folder holds of settings,
    history, results, model, conversion and what `device` measured, made in any order, and says what is missing.

    \b
    Examples:
      larq-equalbits report runs/first
      larq-equalbits report runs/ratios
      larq-equalbits report runs/a runs/b --out a-and-b.html
    """
    from larq_equalbits import _report
    from larq_equalbits._quiet import waiting

    _report.place(runs, out)
    start()
    with waiting("Writing the report"):
        path = _report.write(runs, out, trust=trust)
    click.echo(json.dumps({"report": str(path)}) if as_json else f"Written to {visible(path)}")
