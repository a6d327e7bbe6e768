"""`larq-equalbits device`: runs converted models on a device and compares what comes back."""

import sys
from pathlib import Path
from typing import Any

import click

from larq_equalbits import _choices, _files
from larq_equalbits._errors import InputError, invalid
from larq_equalbits._text import visible
from larq_equalbits.cli import start
from larq_equalbits.cli.sources import BATCH, load_images, trust_option

#: So much of a test set is taken whole, in bytes.
_LARGEST_BYTES = 2**30


def _numbers(context: click.Context, parameter: click.Parameter, text: str) -> tuple[int, ...]:
    parts = text.split(",")
    if not all(part.strip().isdecimal() and 1 <= int(part) <= 1024 for part in parts):
        raise invalid("--threads", text, "whole numbers from 1 to 1024 with commas between, such as 1,2,4")
    return tuple(map(int, parts))


def _targets(_: click.Context, __: click.Parameter, targets: tuple[str, ...]) -> tuple[str, ...]:
    for target in targets:
        _choices.target(target)
    return targets


def _tflite(path: Path) -> Path:
    file = path / "model.tflite" if path.is_dir() else path
    if not file.is_file():
        convert = f" Convert it first: larq-equalbits convert {path}" if path.is_dir() else ""
        raise InputError(
            f"MODEL must be a run folder with a model.tflite, or a .tflite file, but got {path}.{convert}"
        )
    return file


def _converted(_: click.Context, __: click.Parameter, paths: tuple[Path, ...]) -> tuple[Path, ...]:
    for path in paths:
        _tflite(path)
    return paths


def _array(option: str, path: Path) -> Any:
    try:
        return _files.read_arrays(path)
    except InputError as error:
        raise InputError(f"{option}: {error}") from error


def _settings(folder: Path) -> Any:
    """Those of the run in `folder`, which name its data set."""
    from larq_equalbits.training.settings import Settings

    file = folder / _files.SETTINGS
    if not file.is_file():
        raise InputError(
            f"{folder} has no settings.json that names a data set; give real images with --inputs FILE.npy."
        )
    return Settings.load(file)


def _test_images(settings: Any, folder: Path, count: int | None, data_dir: str | None) -> tuple[Any, Any]:
    """The first `count` test images of the data set that a run was trained on, or all of them, and their labels."""
    import numpy as np

    from larq_equalbits.data import given

    place = data_dir or settings.data_dir
    if settings.dataset == given.NAME:
        raise InputError(
            f"{folder} was trained on the caller's own data; give real images with --inputs FILE.npy."
        )
    loaded = load_images(settings.dataset, place, settings.image_size, settings.validation_fraction)
    whole = 4 * loaded.num_test * int(np.prod(loaded.input_shape))
    if count is None and whole > _LARGEST_BYTES:
        raise InputError(
            f"--images must say how many, for all {loaded.num_test} of {loaded.name} are {whole / 2**30:.0f} GiB."
        )
    batches = loaded.test if count is None else loaded.test.take(-(-count // BATCH))
    images, labels = map(np.concatenate, zip(*batches.as_numpy_iterator(), strict=True))
    return images[:count], labels[:count]


def _keras_model(path: Path, trust: bool) -> Any:
    """The model in a run folder of which its file was made, where it is known and there."""
    from larq_equalbits._keras.loading import load_model
    from larq_equalbits.export import model_json

    file = path / (model_json.source_of(path / "model.tflite") or "model.keras")
    if not (path.is_dir() and file.is_file()):
        return None
    return load_model(file, compile=False, trust=trust)


@click.command(
    context_settings={"show_default": True},
    epilog="Exit status: 0 done, 1 a device or a program failed (what was measured is kept), 2 bad input.",
)
@click.argument(
    "models",
    metavar="MODEL...",
    nargs=-1,
    required=True,
    type=click.Path(path_type=Path),
    callback=_converted,
)
@click.option(
    "--on",
    "targets",
    multiple=True,
    default=["local"],
    metavar="TARGET",
    callback=_targets,
    help="local, program, ssh:USER@HOST[:PORT] or adb[:SERIAL]; several with one --on each.",
)
@click.option(
    "--program",
    type=click.Path(),
    help="lce_benchmark_model for the device; a command line with --on program. Without it our runtime is installed "
    "over ssh, and answers.",
)
@click.option(
    "--runtime",
    type=click.Choice(["lce", "litert"]),
    default="lce",
    help="What answers on local: LCE's interpreter, or larq-equalbits-runtime.",
)
@click.option(
    "--runtime-wheel",
    type=click.Path(),
    help="The runtime's wheel for the device, or a folder with wheels. Default: what scripts/build_runtime.sh made in "
    "this clone, or else the published one.",
)
@trust_option
@click.option(
    "--prefix",
    default="",
    show_default=False,
    help='Words before the program on the device, such as "taskset f0".',
)
@click.option(
    "--flag", "flags", multiple=True, help="More options for the program, such as --flag=--use_xnnpack=false."
)
@click.option("--threads", default="1", callback=_numbers, metavar="N,N", help="Numbers of threads.")
@click.option("--repeats", type=click.IntRange(1, 10**6), default=50, help="Inferences in a round.")
@click.option(
    "--warmup",
    type=click.IntRange(0, 10**6),
    default=5,
    help="Inferences before each round.",
)
@click.option(
    "--rounds",
    type=click.IntRange(1, 10**6),
    default=3,
    help="How often the program is started for the latency.",
)
@click.option(
    "--images",
    type=click.IntRange(1),
    help="Images whose outputs are brought back and compared. Default: the whole test set, but 8 from "
    "lce_benchmark_model.",
)
@click.option(
    "--inputs",
    type=click.Path(path_type=Path),
    help="Real images as the model takes them: .npy, or .npz with an array for every input. Default: the "
    "test images of the data set that the first MODEL was trained on.",
)
@click.option("--labels", type=click.Path(path_type=Path), help="Their labels (.npy), for the accuracy.")
@click.option("--data-dir", help="Where prepared data sets are.")
@click.option("--device-folder", help="Where on the device the run's own folder is made.")
@click.option(
    "--ssh-config", type=click.Path(), help="A configuration file for ssh instead of ~/.ssh/config."
)
@click.option(
    "--timeout",
    type=click.FloatRange(0, 10**6, min_open=True),
    default=600.0,
    help="Seconds for one start of the program.",
)
@click.option("--profile/--no-profile", default=True, help="Measure memory and operators too.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Folder for report.json, report.csv and chart.png. Default: MODEL/device for a run folder, else none.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def command(
    models: tuple[Path, ...], targets: tuple[str, ...], inputs: Path | None, labels: Path | None, data_dir: str | None,
    out: Path | None, as_json: bool, images: int | None, trust: bool, **options: Any,
) -> None:  # fmt: skip
    """Run converted models on a device: latency, memory, operators, and the outputs next to Keras'.

    MODEL is a run folder with a model.tflite, or a .tflite file.

    \b
    Examples:
      larq-equalbits device runs/first
      larq-equalbits device runs/a runs/b --on local \\
          --on ssh:pi@raspberrypi.local --threads 1,4
      larq-equalbits device a.tflite --inputs images.npy --on adb \\
          --program lce_benchmark_model_android_arm64
    """
    import numpy as np

    paths = [_tflite(path) for path in models]
    first = models[0] if models[0].is_dir() else models[0].parent
    if inputs is not None:
        pixels = _array("--inputs", inputs)
        answers = None if labels is None else np.asarray(_array("--labels", labels))
    else:
        trained = _settings(first)
    start()
    from larq_equalbits import device
    from larq_equalbits.device import models as device_models
    from larq_equalbits.device import table
    from larq_equalbits.device.results import check_folder

    settings = device.Settings(images=images, **options)
    if inputs is None:
        # A program of the user's is started for each image, and asked for few.
        few = options["program"] is not None and "local" not in targets
        pixels, answers = _test_images(trained, first, 8 if few and images is None else images, data_dir)
    files = device_models.named(paths)
    keras = {name: _keras_model(path, trust) for name, path in zip(files, models, strict=True)}
    folder = out if out is not None else models[0] / "device" if models[0].is_dir() else None
    if folder is not None:
        # Said now, not after the measurement.
        if out is None:
            _files.check_no_links(folder)
        check_folder(folder)
    report = device.run(
        files,
        targets,
        pixels,
        settings,
        labels=answers,
        keras_model={name: model for name, model in keras.items() if model is not None},
        progress=_progress(as_json),
    )
    if report.results and folder is not None:
        _write(report, folder)
    if as_json:
        click.echo(report.to_json())
    elif report.results:
        table.print_results(report.results)
        if folder is not None:
            click.echo(f"written: {visible(folder)}")
    for failure in report.failures:
        click.echo(f"larq-equalbits: {visible(failure)}", err=True)
    if report.failures:
        sys.exit(1)


def _write(report: Any, folder: Path) -> None:
    report.save(folder)
    if any(result.latency for result in report.results):
        try:
            report.plot(folder / "chart.png")
        except ImportError as error:
            click.echo(f"No chart: {error}", err=True)


def _progress(quiet: bool) -> Any:
    """A function that shows the current step on one line of the terminal, if there is one."""
    if quiet or not sys.stderr.isatty():
        return None
    return lambda line: click.echo(f"\r\033[K{visible(line)}", nl=False, err=True)
