"""`larq-equalbits verify`: a .tflite against the Keras model that it was made from."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import click

from larq_equalbits._errors import ConversionError, InputError, check_installed
from larq_equalbits.cli import start
from larq_equalbits.cli.sources import compared_options


def _tflite(context: click.Context, _: click.Parameter, path: Path | None) -> Path:
    """The file given, or else the one in the run or beside the model."""
    source = context.params["source"]
    file = path or (source if source.is_dir() else source.parent) / "model.tflite"
    if not file.is_file():
        raise InputError(
            f"--tflite must be a .tflite file, but there is none at {file}: convert SOURCE first."
        )
    return file


@click.command("verify", context_settings={"show_default": True})
@compared_options
@click.option(
    "--tflite",
    type=click.Path(path_type=Path),
    callback=_tflite,
    help="The file.  [default: model.tflite in the run, or beside the model]",
)
@click.option(
    "--runtime",
    type=click.Choice(["lce", "litert"]),
    default="lce",
    help="What runs the file: LCE's interpreter, or larq-equalbits-runtime.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(
    source: Path,
    tflite: Path,
    best: bool,
    trust: bool,
    dataset: str | None,
    data_dir: Path | None,
    tolerance: float,
    bound: float | None,
    decisions: Any,
    runtime: str,
    as_json: bool,
) -> None:
    """Compare a .tflite with SOURCE, the run folder or the Keras model that it was made from.

    Every image of the test split runs through both. Exit status 1 where more decisions than the tolerance allows
    differ, or outputs are further from Keras' than the bound. A model.json beside the file must belong to it, and
    tells whether a run's last or best model was converted.

    \b
    Example:
      larq-equalbits verify runs/first
    """
    if runtime == "lce":
        check_installed("deploy", "larq_compute_engine")
    start()
    from larq_equalbits import export
    from larq_equalbits._quiet import waiting
    from larq_equalbits.cli.sources import open_source
    from larq_equalbits.export import gate, model_json
    from larq_equalbits.export.results import describe
    from larq_equalbits.training import run_folder

    gate.check(tolerance, bound)
    recorded = model_json.source_of(tflite)
    opened = open_source(source, best=best or recorded == run_folder.BEST, trust=trust)
    images = opened.images(dataset, data_dir)
    if images is None:
        raise InputError("--dataset must name a data set to compare on, where SOURCE is no run folder.")
    with waiting(f"Comparing {images.num_test} images with Keras"):
        verification = export.verify(opened.model, tflite, images.test, runtime=runtime, decisions=decisions)
    click.echo(json.dumps(verification.to_dict()) if as_json else describe(verification))
    if not verification.within(tolerance, bound):
        # Where the outputs part has been said.
        said = dataclasses.replace(verification, first_difference="")
        raise ConversionError(gate.refusal(said, tolerance, verification.bound if bound is None else bound))
