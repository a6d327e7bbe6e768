"""`larq-equalbits report`: one page about a run."""

import json
from pathlib import Path

import click

from larq_equalbits.cli.sources import trust_option


@click.command("report")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="The file to write  [default: RUN/report.html].")
@trust_option
@click.option("--json", "as_json", is_flag=True, help='Print {"report": PATH} instead of a sentence.')
def command(run: Path, out: Path | None, trust: bool, as_json: bool) -> None:
    """Write a page about the run folder RUN: its layers, its bits, its settings.

    The page is one file that needs no network and reads well on a phone. It shows what the folder holds of
    settings.json, history.csv, model.keras and model.json, and says what is missing.

    \b
    Example:
      larq-equalbits report runs/demo
      larq-equalbits report runs/demo --out /tmp/demo.html
    """
    from larq_equalbits.training import page

    path = page.write(run, out, trust=trust)
    click.echo(json.dumps({"report": str(path)}) if as_json else f"Written to {path}")
