"""`larq-equalbits verify`: a .tflite against the Keras model that it was made from."""

import json
import sys
from pathlib import Path

import click


@click.command("verify")
@click.argument("source", type=click.Path(path_type=Path))
@click.option(
    "--tflite", type=click.Path(path_type=Path), help="The file.  [default: model.tflite in the run]"
)
@click.option("--best", is_flag=True, help="Compare with the run's best model, not its last.")
@click.option(
    "--dataset", metavar="NAME", help="Compare on the test split of this data set.  [default: the run's]"
)
@click.option("--data-dir", type=click.Path(path_type=Path), help="Folder of tensorflow-datasets' data.")
@click.option(
    "--tolerance",
    type=click.FloatRange(0, 1),
    default=0.0,
    show_default=True,
    help="Share of the images that may get another class than in Keras.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(
    source: Path,
    tflite: Path | None,
    best: bool,
    dataset: str | None,
    data_dir: Path | None,
    tolerance: float,
    as_json: bool,
) -> None:
    """Compare a .tflite with SOURCE, the run folder or the Keras model that it was made from.

    Every image of the test split runs through both. Exit status 1 where more images than the tolerance allows get
    another class.

    \b
    Example:
      larq-equalbits verify runs/first
    """
    from larq_equalbits import export
    from larq_equalbits.cli.quiet import quiet
    from larq_equalbits.cli.sources import open_source
    from larq_equalbits.errors import InputError
    from larq_equalbits.export.report import describe

    opened = open_source(source, best=best)
    images = opened.images(dataset, data_dir)
    if images is None:
        raise InputError("--dataset must name a data set to compare on, where SOURCE is no run folder.")
    with quiet():
        verification = export.verify(opened.model, tflite or opened.folder / "model.tflite", images.test)
    click.echo(json.dumps(verification.to_dict()) if as_json else describe(verification))
    if verification.argmax_agreement < 1 - tolerance:
        sys.exit(1)
