"""`larq-equalbits inspect`: what a .tflite file is made of."""

from pathlib import Path

import click

from larq_equalbits.cli import start
from larq_equalbits.cli.sources import there


@click.command("inspect")
@click.argument("file", type=click.Path(path_type=Path), callback=there)
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def command(file: Path, as_json: bool) -> None:
    """Show the layers of FILE, any .tflite that LCE made: which are binary, and why the others are not.

    The file is only read, never run. The .json that `convert` wrote beside it tells the names of its
    layers, what was done to them, and why they are not binary.

    \b
    Example:
      larq-equalbits inspect runs/first/model.tflite
    """
    start()
    from rich.console import Console

    from larq_equalbits import export
    from larq_equalbits._quiet import waiting

    with waiting(f"Reading {file.name}"):
        audit = export.audit(file)
    if as_json:
        click.echo(audit.to_json())
    else:
        Console().print(audit)
