"""`larq-equalbits train`: trains a network of the zoo by a paper's recipe."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import click

from larq_equalbits import _choices, _files
from larq_equalbits._errors import InputError, invalid
from larq_equalbits._text import visible
from larq_equalbits.cli import names, start

_RECOVERIES = "LARQ_EQUALBITS_RECOVERIES"
_MOST_RECOVERIES = 20


def _options(_: click.Context, parameter: click.Parameter, pairs: tuple[str, ...]) -> dict[str, Any] | None:
    """Turns "name=value" pairs into a dict; a value is JSON where it can be, else text."""
    parsed = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not (name and equals):
            raise invalid(parameter.opts[0], pair, "NAME=VALUE")
        try:
            parsed[name] = json.loads(value)
        except (ValueError, RecursionError):
            parsed[name] = value
    return parsed or None


def _numbers(_: click.Context, parameter: click.Parameter, text: str | None) -> tuple[float, ...] | None:
    if text is None:
        return None
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise invalid(parameter.opts[0], text, "numbers with commas between") from error


def _part(context: click.Context, parameter: click.Parameter, text: str | None) -> Any:
    """A number or numbers, as the option's metavar says, or "none"."""
    if text is None or text == "none":
        return text
    numbers = _numbers(context, parameter, text)
    if parameter.name == "estimator":
        return numbers
    if numbers is None or len(numbers) != 1:
        raise invalid(parameter.opts[0], text, "a number or none")
    return numbers[0]


@click.command("train", context_settings={"show_default": True})
@click.option(
    "--model",
    type=names.Name(_choices.MODELS),
    help=f"{', '.join(_choices.MODELS[:-1])} or {_choices.MODELS[-1]}.  [default: conv2]",
)
@click.option(
    "--dataset",
    type=names.Name(_choices.DATASETS, images=True),
    help="digits, cifar10, cifar100, imagenet2012, tfds:NAME, or a folder with a subfolder of images for each class.  "
    "[default: digits]",
)
@click.option(
    "--image-size",
    type=click.IntRange(8, 1024),
    help="Height and width of a folder's or tfds:NAME's images.  [default: their own, or else 96]",
)
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    help="Folder of tensorflow-datasets' data.  [default: LARQ_EQUALBITS_DATA, TFDS_DATA_DIR or "
    "~/tensorflow_datasets]",
)
@click.option("--download", is_flag=True, help="Download and prepare the data set if it is missing.")
@click.option(
    "--recipe",
    type=names.Name(_choices.RECIPES),
    help="equal-bits, siman, ir-net or mpt.  [default: equal-bits]",
)
@click.option(
    "--quantizer",
    type=names.Name(_choices.QUANTIZERS),
    help=f"Of the kernels: {', '.join(_choices.QUANTIZERS[:-1])} or {_choices.QUANTIZERS[-1]}.  "
    "[default: the recipe's]",
)
@click.option(
    "--quantizer-option",
    "quantizer_options",
    metavar="NAME=VALUE",
    multiple=True,
    callback=_options,
    help="An argument of the quantizer, e.g. positive_ratio=0.3.",
)
@click.option(
    "--model-option",
    "model_options",
    metavar="NAME=VALUE",
    multiple=True,
    callback=_options,
    help="An argument of the zoo's builder, e.g. width=0.5.",
)
@click.option("--float-activations", is_flag=True, help="Binary weights alone (1/32).")
@click.option(
    "--epochs", type=click.IntRange(1, 10**6), help="Passes over the training images; milestones move along."
)
@click.option(
    "--batch-size",
    type=click.IntRange(1),
    help="Images per step, of all machines together.  [default: the recipe's, fewer for few images]",
)
@click.option("--optimizer", type=names.Name(_choices.OPTIMIZERS), help="sgd or adam.")
@click.option("--learning-rate", type=click.FloatRange(0), help="The highest learning rate.")
@click.option("--momentum", type=click.FloatRange(0, 1, max_open=True), help="Of sgd.")
@click.option("--weight-decay", type=click.FloatRange(0), help="L2 factor, as in PyTorch.")
@click.option(
    "--decay",
    type=names.Name(_choices.DECAYS),
    metavar="POLICY",
    help="What decays: equal_bits (all), siman (nothing binary), none.",
)
@click.option(
    "--schedule",
    type=names.Name(_choices.SCHEDULES),
    help="Of the learning rate: constant, step, cosine (moves at every step), or cosine_by_epoch.",
)
@click.option("--milestones", callback=_numbers, help="Epochs of the step schedule, e.g. 15,25,32.")
@click.option(
    "--factor", type=click.FloatRange(0, 1, min_open=True), help="What the step schedule multiplies by."
)
@click.option("--warmup-epochs", type=click.FloatRange(0), help="Epochs in which the rate rises linearly.")
@click.option("--constraint", metavar="ALIAS|none", help="On the latent kernels, e.g. magnitude_clip.")
@click.option(
    "--estimator",
    metavar="T_MIN,T_MAX|none",
    callback=_part,
    help="Sharpness of ir_net's and rbnn's gradient at the start and at the end.",
)
@click.option(
    "--percentile",
    metavar="NUMBER|none",
    callback=_part,
    help="Of magnitude_clip at the start, in percent; falls to 0.",
)
@click.option(
    "--score-sparsity",
    metavar="NUMBER|none",
    callback=_part,
    help="Share of zeros where scores are learned for frozen weights (mpt).",
)
@click.option(
    "--augment", type=names.Name(_choices.AUGMENTATIONS), help="none, crop, crop_flip or resized_crop."
)
@click.option(
    "--validation-fraction",
    type=click.FloatRange(0, 1, max_open=True),
    help="Share of the training images held out.  [default: 0.1]",
)
@click.option(
    "--train-images",
    type=click.IntRange(1),
    help="Train on this many images only, the first ones, for a quick run.",
)
@click.option(
    "--seed", type=click.IntRange(0, 2**32 - 1), help="Of weights, order and augmentation.  [default: 0]"
)
@click.option(
    "--precision",
    type=names.Name(_choices.PRECISIONS),
    metavar="POLICY",
    help="float32 or mixed_bfloat16.  [default: float32]",
)
@click.option("--nondeterministic", is_flag=True, help="Give up repeating bit for bit.")
@click.option(
    "--strategy", type=names.Name(_choices.STRATEGIES), help="mirrored, or multiworker with TF_CONFIG."
)
@click.option("--name", help="Of the run: its folder is runs/NAME.  [default: MODEL-DATASET-QUANTIZER-SEED]")
@click.option("--out", type=click.Path(path_type=Path), help="The run's folder, in place of runs/NAME.")
@click.option("--resume", is_flag=True, help="Go on after the last epoch saved in the run's folder.")
@click.option("--overwrite", is_flag=True, help="Replace a run that is in the folder already.")
@click.option("--quiet", is_flag=True, help="No progress.")
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")
def command(
    download: bool,
    float_activations: bool,
    nondeterministic: bool,
    strategy: str | None,
    name: str | None,
    out: Path | None,
    resume: bool,
    overwrite: bool,
    quiet: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Train a binary network by a paper's recipe, of which every part can be changed.

    \b
    A small network, on images that come with scikit-learn (the extra data):
      larq-equalbits train --model conv2 --dataset digits --epochs 30 --name first
    Three epochs of Equal Bits on CIFAR-10, data in ~/tensorflow_datasets:
      larq-equalbits train --dataset cifar10 --recipe equal-bits --epochs 3
    Your own images, in a subfolder for each class:
      larq-equalbits train --model resnet18 --dataset photos --image-size 96
    After a kill, at most one epoch is lost, and the result is the same:
      larq-equalbits train --name first --resume

    The folder gets settings.json, history.csv, model.keras (the last), best.keras (the best on the held-out
    images), logs/ for TensorBoard, checkpoint/ and results.json (accuracy on all test images).
    """
    fields = {key: value for key, value in given.items() if value is not None}
    if float_activations:
        fields["binarize_activations"] = False
    if nondeterministic:
        fields["deterministic"] = False
    if strategy is not None:
        os.environ.setdefault("GRPC_VERBOSITY", "ERROR")

    from larq_equalbits.training.settings import Settings

    folder = _folder(Settings(), fields, name, out)
    settings = Settings.load(folder / _files.SETTINGS).replace(**fields) if resume else Settings(**fields)
    settings.plan()
    new = not (resume or overwrite)
    if new and strategy != "multiworker":
        _check_new(folder)
    start()
    import tensorflow as tf

    from larq_equalbits import training
    from larq_equalbits.training import distribution

    chosen = distribution.strategy(strategy)
    chief = distribution.is_chief(chosen)
    if new and chief:
        _check_new(folder)

    try:
        run = training.train(
            settings,
            folder,
            resume=resume,
            callbacks=() if quiet or not chief else (_tracing(tf),),
            verbose=0 if quiet else 1,
            strategy=chosen,
            download=download,
        )
    except (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.DeadlineExceededError):
        if strategy != "multiworker":
            raise
        _start_again(folder / _files.SETTINGS)
        raise
    if chief:
        _print(run, as_json)


def _check_new(folder: Path) -> None:
    if (folder / _files.SETTINGS).exists():
        raise InputError(
            f"--out must be a new folder, but {folder} holds a run: add --resume to go on with it, or "
            "--overwrite to replace it."
        )


def _tracing(tf: Any) -> Any:
    """A callback that shows on a terminal that the first step, which is traced and compiled, is under way."""
    from rich.console import Console

    spinner = Console(stderr=True).status("Tracing the first step")
    stop = {name: lambda *_: spinner.stop() for name in ("on_train_batch_end", "on_train_end")}
    return tf.keras.callbacks.LambdaCallback(on_train_begin=lambda _: spinner.start(), **stop)


def _folder(defaults: Any, fields: dict[str, Any], name: str | None, out: Path | None) -> Path:
    if out is not None:
        return out
    if name is None:
        settings = defaults.replace(**fields)
        quantizer = settings.plan().quantizer
        name = f"{settings.model}-{settings.dataset_name}-{quantizer}-{settings.seed}"
    return Path("runs") / _files.plain_name("--name", name)


def _print(run: Any, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"folder": os.fspath(run.folder), **run.results}))
        return
    results = run.results
    click.echo(
        f"{visible(run.folder)}: accuracy on all test images {results['test_accuracy']:.4f} after {results['epochs']} "
        f"epochs, {results['best_test_accuracy']:.4f} with the best model, of epoch {results['best_epoch'] + 1}"
    )


def _start_again(settings: Path) -> None:
    """Replaces this process by a new one that resumes, after another machine was lost.

    TensorFlow cannot leave and rejoin a cluster within a process.
    """
    count = int(os.environ.get(_RECOVERIES, "0"))
    if count >= _MOST_RECOVERIES:
        return
    os.environ[_RECOVERIES] = str(count + 1)
    arguments = [argument for argument in sys.argv[1:] if argument not in ("--resume", "--overwrite")]
    arguments.append("--resume" if settings.exists() else "--overwrite")
    click.echo("larq-equalbits: another worker was lost; starting again from the last checkpoint", err=True)
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, sys.argv[0], *arguments])
