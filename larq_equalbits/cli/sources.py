"""What the commands take a model from: a run folder, or a file or folder that Keras saved."""

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from larq_equalbits import _choices
from larq_equalbits._errors import InputError, invalid
from larq_equalbits.cli import names

#: Test images that a model answers at a time.
BATCH = 64

trust_option = click.option(
    "--trust",
    is_flag=True,
    help="Load a Keras model that could run code of whoever wrote it (Lambda layers).",
)


def there(_: click.Context, parameter: click.Parameter, path: Path) -> Path:
    """`path` where something is; InputError where nothing is."""
    if not path.exists():
        what = "a .tflite file" if parameter.name == "file" else "a run folder or a saved Keras model"
        raise InputError(f"{parameter.human_readable_name} must be {what}, but there is no {path}.")
    return path


def _decisions(context: click.Context, parameter: click.Parameter, rules: tuple[str, ...]) -> Any:
    """What --decisions says, as `export.verify` takes it."""
    found: dict[str, str | float] = {}
    for text in rules:
        name, _, rule = text.rpartition("=")
        try:
            found[name] = rule if rule in ("argmax", "values") else float(rule)
        except ValueError:
            raise invalid("--decisions", text, "argmax, values or a threshold, or OUTPUT=RULE") from None
    if "" in found and len(found) > 1:
        raise InputError("--decisions must be one rule, or OUTPUT=RULE for each, but both were given.")
    return found.get("", found or None)


def compared_options(command: Callable[..., None]) -> Callable[..., None]:
    """The argument SOURCE and the options of whatever compares a file with a Keras model on a data set."""
    options = (
        click.argument("source", type=click.Path(path_type=Path), callback=there, is_eager=True),
        trust_option,
        click.option("--best", is_flag=True, help="Take the run's best model, not its last."),
        click.option(
            "--dataset",
            type=names.Name(_choices.DATASETS, images=True),
            help="Compare on the test split of this data set.  [default: the run's]",
        ),
        click.option(
            "--data-dir",
            type=click.Path(path_type=Path),
            help="Folder of tensorflow-datasets' data.  [default: the run's]",
        ),
        click.option(
            "--tolerance",
            type=click.FloatRange(0, 1),
            default=0.0,
            help="Share of the decisions (classes, pixels) that may differ from Keras'.",
        ),
        click.option(
            "--bound",
            type=click.FloatRange(0),
            help="How far outputs may be from Keras', in deviations of Keras' values.  [default: 0.1; int8: 0.5]",
        ),
        click.option(
            "--decisions",
            multiple=True,
            callback=_decisions,
            metavar="[OUTPUT=]RULE",
            help="What an output decides: argmax, values (nothing), or a threshold; several with one each.  [default: "
            "0.5 after a sigmoid, values for another single unit, else argmax]",
        ),
    )
    return functools.reduce(lambda decorated, option: option(decorated), reversed(options), command)


@dataclasses.dataclass(frozen=True)
class Source:
    """A model and where its things are.

    Attributes:
        model: the Keras model.
        file: the name of the model's file.
        folder: where files about it go.
        settings: the run's settings, None for a bare model.
    """

    model: Any
    file: str
    folder: Path
    settings: Any = None

    def images(self, dataset: str | None, data_dir: Path | None) -> Any:
        """The data set to verify on: the named one, or that of the run; None where neither is there."""
        from larq_equalbits import data
        from larq_equalbits.data import given, pipeline

        own = self.settings if dataset is None else None
        folder = data_dir or (self.settings.data_dir if self.settings else None)
        if own is not None and own.dataset != given.NAME:
            return load_images(own.dataset, folder, own.image_size, own.validation_fraction)
        if dataset is None:
            return None
        shape = (getattr(self.model, "input_shape", None) or ())[1:]
        return load_images(dataset, folder, None if dataset in data.NAMES else pipeline.square_size(shape))


def load_images(
    name: str, data_dir: Any, image_size: int | None = None, validation_fraction: float = 0.1
) -> Any:
    """The data set `name` to run a model on: without augmentation, the test images in batches of `BATCH`.

    Batches of training images, of which a folder may hold few, are of one.
    """
    from larq_equalbits import data

    loaded = data.load(
        name,
        batch_size=1,
        data_dir=data_dir,
        augment="none",
        validation_fraction=validation_fraction,
        image_size=image_size,
    )
    return dataclasses.replace(loaded, test=loaded.test.unbatch().batch(BATCH))


def open_source(path: Path, *, best: bool = False, trust: bool = False) -> Source:
    """Loads the model of a run folder (the last one, or the best), or one that Keras saved.

    Raises:
        InputError: nothing that Keras can load, or a model that needs `trust`.
    """
    from larq_equalbits._keras.loading import load_model
    from larq_equalbits.training import run_folder
    from larq_equalbits.training.settings import Settings

    if (path / run_folder.SETTINGS).is_file():
        settings = Settings.load(path / run_folder.SETTINGS)
        model = run_folder.load_saved(path, "best" if best else "last", trust)
        return Source(model, run_folder.BEST if best else run_folder.LAST, path, settings)
    return Source(load_model(path, trust=trust), path.name, path.parent)
