"""Opens prepared tensorflow-datasets folders, and says in one line what is wrong with a bad one."""

import contextlib
import os
import re
import sys
import tarfile
from collections.abc import Hashable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf.json_format import ParseError

from larq_equalbits import _files
from larq_equalbits._errors import InputError, first_line, require
from larq_equalbits.data.in_memory import Examples, Splits

_DAMAGE = (
    tf.errors.DataLossError,
    tf.errors.InvalidArgumentError,
    tf.errors.NotFoundError,
    tf.errors.OutOfRangeError,
)
# The training and the test images of one data set.
_SPLITS_KEPT = 2
_kept: dict[Hashable, Examples] = {}
# By what a features.json, of the present form or the former one, names a class.
_CLASS_KEYS = ("pythonClassName", "python_class_name", "type")
# What nobody but a registered person may download.
_BY_HAND = {"imagenet2012": ("ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar")}


def default_folder() -> Path:
    """Where tensorflow-datasets keeps its data: ``LARQ_EQUALBITS_DATA``, ``TFDS_DATA_DIR`` or the home folder."""
    for name in ("LARQ_EQUALBITS_DATA", "TFDS_DATA_DIR"):
        if os.environ.get(name):
            return Path(os.environ[name])
    return Path.home() / "tensorflow_datasets"


def open_builder(name: str, data_dir: str | os.PathLike[str] | None, download: bool) -> Any:
    """The tensorflow-datasets builder of `name` with its data in place, in `data_dir` or else in `default_folder()`.

    With `download` what is missing there is prepared; imagenet2012 wants its two archives put into ``downloads/manual``
    by hand first.

    Raises:
        InputError: the folder does not hold the data, or only part of it.
    """
    tfds = require("data", "tensorflow_datasets")
    folder = Path(data_dir) if data_dir is not None else default_folder()
    if download:
        require("data", "importlib_resources")
        _check_features(folder / re.split("[/:]", name)[0])
        builder = tfds.builder(name, data_dir=os.fspath(folder))
        if not Path(builder.data_dir).is_dir():
            _check_archives(name, folder / "downloads" / "manual")
        try:
            builder.download_and_prepare()
        except (AssertionError, tfds.download.DownloadError, ConnectionError, tarfile.TarError) as error:
            raise InputError(f"{name} could not be prepared in {folder}: {first_line(error)}") from error
        return builder
    versions = sorted((folder / name).glob("[0-9]*.*.*/dataset_info.json"), key=_version)
    if not versions:
        half = sorted((folder / name).glob("incomplete.*"))
        trouble = f"only an unfinished {half[0].name}" if half else f"no {name}/VERSION/dataset_info.json"
        raise InputError(
            f"data_dir must hold {name} prepared by tensorflow-datasets, but {str(folder)!r} has {trouble}; "
            "name the right folder, or pass download=True (--download) to prepare it there."
        )
    with explained(name, folder):
        _check_features(versions[-1].parent)
        builder = tfds.builder_from_directory(os.fspath(versions[-1].parent))
    _check_files(builder, name)
    return builder


def _check_features(folder: Path) -> None:
    """Checks that to open a prepared data set imports nothing but tensorflow-datasets and what is imported already.

    Raises:
        InputError: a features.json below `folder` names a class of another module; or it is damaged.
    """
    for path in sorted(folder.rglob("features.json")):
        for name in _classes(_files.read_json(path)):
            module = name.rpartition(".")[0]
            if module.partition(".")[0] != "tensorflow_datasets" and module not in sys.modules:
                raise InputError(
                    f"data_dir must hold data sets of tensorflow-datasets' own features, but {str(path)!r} would "
                    f"import {module!r}: import it first if you trust it."
                )


def _classes(described: Any) -> Iterator[str]:
    """The names of Python classes in a features.json, wherever they stand."""
    if isinstance(described, dict):
        yield from (described[key] for key in _CLASS_KEYS if isinstance(described.get(key), str))
        described = list(described.values())
    if isinstance(described, list):
        for each in described:
            yield from _classes(each)


def _check_archives(name: str, manual: Path) -> None:
    missing = [file for file in _BY_HAND.get(name, ()) if not (manual / file).is_file()]
    if missing:
        raise InputError(
            f"{name} must be fetched by hand, which its owners ask for: put {' and '.join(missing)} into "
            f"{str(manual)!r}, and prepare it again."
        )


def _version(info: Path) -> list[int]:
    return [int(part) if part.isdecimal() else -1 for part in info.parent.name.split(".")]


def _check_files(builder: Any, name: str) -> None:
    for split, info in builder.info.splits.items():
        for path in map(Path, info.filepaths):
            if not path.is_file() or not path.stat().st_size:
                raise InputError(
                    f"data_dir must hold the whole of {name}, but {str(path)!r} of its {split} split is "
                    "missing or empty; prepare the data set again."
                )


@contextlib.contextmanager
def explained(name: str, folder: str | os.PathLike[str]) -> Iterator[None]:
    """Turns the errors of damaged files into one line that names the data set and its folder."""
    try:
        yield
    except (*_DAMAGE, ParseError, KeyError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"data_dir must hold an intact {name}, but reading {os.fspath(folder)!r} failed: "
            f"{first_line(error)}; prepare the data set again."
        ) from error


@contextlib.contextmanager
def streaming(name: str, data_dir: str | os.PathLike[str] | None) -> Iterator[None]:
    """Turns the error of a file that proves damaged while it is trained on into such a line."""
    try:
        yield
    except tf.errors.DataLossError as error:
        folder = os.fspath(data_dir if data_dir is not None else default_folder())
        raise InputError(
            f"data_dir must hold an intact {name}, but reading {folder!r} failed: {first_line(error)}; prepare the "
            "data set again, and resume."
        ) from error


def read_all(builder: Any, split: str, size: int | None = None) -> Examples:
    """All images of a split, in `size` pixels each way where it is given.

    What was read last stays in memory, and is answered again while its files are the same: a sweep decodes its
    images once.

    Raises:
        InputError: a file is damaged or cut off, or a label is none of the data set's classes.
    """
    state = _state_of_files(builder, split)
    if state is None:
        return _decoded(builder, split, size)
    key = state, size
    if key not in _kept:
        decoded = _decoded(builder, split, size)
        while len(_kept) >= _SPLITS_KEPT:
            del _kept[next(iter(_kept))]
        _kept[key] = decoded
    return _kept[key]


def splits(builder: Any, test_split: str) -> Splits:
    """The training and the test images of a set whose images all have one size."""
    train, test = (read_all(builder, split) for split in ("train", test_split))
    return Splits(train, test, tuple(builder.info.features["label"].names))


def _state_of_files(builder: Any, split: str) -> Hashable | None:
    """What changes with the files in the builder's folder; None where there are none, as of a mocked data set."""
    folder = Path(builder.data_dir)
    if not folder.is_dir():
        return None
    stats = ((path.name, path.stat()) for path in sorted(folder.iterdir()))
    return folder, split, tuple((name, stat.st_size, stat.st_mtime_ns, stat.st_ino) for name, stat in stats)


def _decoded(builder: Any, split: str, size: int | None) -> Examples:
    name = builder.info.name
    tfds = require("data", "tensorflow_datasets")
    options = tfds.ReadConfig(add_tfds_id=False, try_autocache=False, interleave_cycle_length=1)
    with explained(name, builder.data_dir):
        examples = builder.as_dataset(
            split=split, shuffle_files=False, as_supervised=True, read_config=options
        )
        if size is not None:
            examples = examples.map(lambda image, label: (_fit(image, size), label), tf.data.AUTOTUNE)
        batches = list(examples.batch(1000).prefetch(2).as_numpy_iterator())
    images = np.concatenate([image for image, _ in batches])
    labels = np.concatenate([label for _, label in batches]).astype(np.int32)
    expected = builder.info.splits[split].num_examples if split in builder.info.splits else len(labels)
    if len(labels) != expected:
        raise InputError(
            f"data_dir must hold {expected} {split} images of {name}, but {os.fspath(builder.data_dir)!r} has "
            f"{len(labels)}; prepare the data set again."
        )
    classes = builder.info.features[builder.info.supervised_keys[1]].num_classes
    if labels.min() < 0 or labels.max() >= classes:
        raise InputError(
            f"{name} must have labels from 0 to {classes - 1}, but its {split} split in "
            f"{os.fspath(builder.data_dir)!r} has {int(labels.min())} to {int(labels.max())}."
        )
    for array in (images, labels):
        array.flags.writeable = False
    return Examples(images, labels)


def _fit(image: tf.Tensor, size: int) -> tf.Tensor:
    shape = tf.cast(tf.shape(image)[:2], tf.float32)
    scaled = tf.cast(tf.math.ceil(shape * (size / tf.reduce_min(shape))), tf.int32)
    resized = tf.image.resize(image, tf.maximum(scaled, size), antialias=True)
    cropped = tf.image.resize_with_crop_or_pad(resized, size, size)
    return tf.saturate_cast(tf.round(cropped), tf.uint8)
