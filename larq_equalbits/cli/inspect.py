"""`larq-equalbits inspect`: what a .tflite file is made of."""

import dataclasses
from pathlib import Path

import click


@click.command("inspect")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def command(file: Path, as_json: bool) -> None:
    """Show the layers of FILE, any .tflite that LCE made: which are binary, and why the others are not.

    The file is only read, never run. Where the model.json beside it belongs to it, layers have the names and reasons
    that `convert` gave them.

    \b
    Example:
      larq-equalbits inspect runs/first/model.tflite
    """
    from rich.console import Console

    from larq_equalbits import export
    from larq_equalbits.export import model_json

    audit = export.audit(file)
    if layers := model_json.layers_of(file):
        audit = dataclasses.replace(audit, layers=layers)
    if as_json:
        click.echo(audit.to_json())
    else:
        Console().print(audit)
