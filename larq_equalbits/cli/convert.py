"""`larq-equalbits convert`: a run or a model becomes a verified .tflite."""

import json
from pathlib import Path
from typing import Any

import click

from larq_equalbits import _choices, _files
from larq_equalbits._errors import check_installed
from larq_equalbits._text import visible
from larq_equalbits.cli import names, start
from larq_equalbits.cli.sources import compared_options


@click.command("convert", context_settings={"show_default": True})
@compared_options
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="The file to write.  [default: model.tflite in the run, or beside the model]",
)
@click.option("--no-verify", is_flag=True, help="Skip the comparison with Keras, on random inputs too.")
@click.option(
    "--float-layers",
    type=click.Choice(["float32", "int8"]),
    default="float32",
    help="What computes the layers that are not binary. int8 changes some answers: allow for it with --tolerance.",
)
@click.option(
    "--binary-weights",
    type=click.Choice(["int8", "bits", "float32"]),
    default="int8",
    help="How binary weights of layers with a float input are stored: one byte a weight, for every runtime; one bit, "
    "for LCE's runtime and larq-equalbits-runtime; or floats.",
)
@click.option(
    "--classifier",
    type=click.Choice(["float32", "float16"]),
    default="float32",
    help="How the weights of the last layer are stored, where it is float. float16 moves the outputs a little.",
)
@click.option(
    "--calibration-images",
    type=click.IntRange(1, 10**6),
    default=256,
    help="Training images on which int8 measures its ranges.",
)
@click.option("--int8-io", is_flag=True, help="Integer inputs and outputs too, with --float-layers int8.")
@click.option(
    "--no-strict", is_flag=True, help="Write the file even if a layer that should be binary is float."
)
@click.option(
    "--without",
    type=names.Name(_choices.REWRITES),
    multiple=True,
    metavar="REWRITE",
    help="Switch a rewrite off; several with one each.",
)
@click.option(
    "--keep-names", is_flag=True, help="Keep the names of inner tensors in the file, for profilers."
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def command(
    source: Path,
    out: Path | None,
    best: bool,
    trust: bool,
    dataset: str | None,
    data_dir: Path | None,
    no_verify: bool,
    float_layers: str,
    calibration_images: int,
    int8_io: bool,
    no_strict: bool,
    without: tuple[str, ...],
    as_json: bool,
    **options: Any,
) -> None:
    """Convert SOURCE, a run folder or a saved Keras model, to a .tflite for LCE.

    The file is read back: each layer is accounted for, and one that should be binary and is not fails the
    conversion. Every image of the test split is compared with Keras, or random inputs where no data set is known.
    Beside the file goes a .json with the normalisation, the labels, the versions, the file's hash and the report.

    \b
    Examples:
      larq-equalbits convert runs/first
      larq-equalbits convert model.keras --out model.tflite --dataset cifar10
      larq-equalbits convert runs/first --float-layers int8 --tolerance 0.1
      larq-equalbits convert runs/first --binary-weights bits
    """
    if out is not None:
        _files.check_tflite_target(out, "--out")
    check_installed("deploy", "larq_compute_engine")
    start()
    from rich.console import Console

    from larq_equalbits import export
    from larq_equalbits._errors import InputError
    from larq_equalbits._quiet import waiting
    from larq_equalbits.cli.sources import open_source
    from larq_equalbits.export import model_json

    opened = open_source(source, best=best, trust=trust)
    images = opened.images(dataset, data_dir)
    target = out or opened.folder / "model.tflite"
    if float_layers == "int8" and images is None:
        raise InputError(
            "--dataset must name a data set to measure int8's ranges on, where SOURCE is no run folder."
        )
    io_type = "int8" if int8_io else "float32"
    calibration = (
        images.train.unbatch().take(calibration_images).batch(64) if float_layers == "int8" else None
    )
    compared = images is not None and not no_verify
    with waiting(
        f"Converting and comparing {images.num_test} images with Keras" if compared else "Converting"
    ):
        report = export.convert(
            opened.model,
            target,
            strict=not no_strict,
            verify_on=False if no_verify else None,
            images=images,
            source=opened.file,
            rewrites=[name for name in export.REWRITES if name not in without],
            float_layers=float_layers,
            calibrate_on=calibration,
            input_type=io_type,
            output_type=io_type,
            **options,
        )
    if as_json:
        described = model_json.describe(report, images, opened.file)
        click.echo(json.dumps({"tflite": str(target), **described}))
        return
    Console().print(report)
    if report.verification is None:
        click.echo("Not compared with Keras.")
    elif report.verification.generated and images is None:
        click.echo("Name a data set with --dataset to compare on real images.")
    click.echo(f"Written to {visible(target)} and {visible(target.with_suffix('.json'))}")
