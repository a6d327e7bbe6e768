"""Any set of images with labels that tensorflow-datasets has prepared, under "tfds:NAME"."""

import os
from typing import Any

import numpy as np

from larq_equalbits._errors import InputError, invalid, is_whole, require
from larq_equalbits.data import tfds_folder
from larq_equalbits.data.folders import AUGMENTATIONS, IMAGE_SIZE, tested_part
from larq_equalbits.data.in_memory import Splits, from_splits, statistics
from larq_equalbits.data.pipeline import Data

PREFIX = "tfds:"


def load(
    name: str,
    data_dir: str | os.PathLike[str] | None,
    download: bool,
    image_size: int | None,
    *,
    augment: str,
    **options: Any,
) -> Data:
    """Opens the data set `name`, which begins with "tfds:".

    Images are scaled so that the shorter side has `image_size` pixels, and their centre is cut out. The test images
    are those of the split "test", or else one in five of each class of "train". All are kept in memory. The arguments
    are those of `data.load`.

    Raises:
        InputError: no such prepared data set, one of other things than images with one label each, or one without
            a split "train".
    """
    if image_size is not None and not (is_whole(image_size, 8) and image_size <= 1024):
        raise invalid("image_size", image_size, "None or an integer from 8 to 1024")
    if augment not in AUGMENTATIONS:
        raise invalid("augment", augment, f"one of {', '.join(AUGMENTATIONS)} for {name}")
    builder = tfds_folder.open_builder(name.removeprefix(PREFIX), data_dir, download)
    image, label = _features(name, builder)
    height, width, _ = image.shape
    size = image_size or (None if height and width else IMAGE_SIZE)
    train = tfds_folder.read_all(builder, "train", size)
    if "test" in builder.info.splits:
        test = tfds_folder.read_all(builder, "test", size)
    else:
        tested = tested_part(train.labels)
        train, test = train[~tested], train[tested]
    mean, std = statistics(train)
    padding = max(1, min(train.images.shape[1:3]) // 8)
    splits = Splits(train, test, tuple(label.names))
    return from_splits(name, splits, mean, std, augment=augment, padding=padding, **options)


def _features(name: str, builder: Any) -> tuple[Any, Any]:
    tfds = require("data", "tensorflow_datasets")
    keys = builder.info.supervised_keys
    pair = tuple(builder.info.features[key] for key in keys) if keys and len(keys) == 2 else ()
    if not (
        len(pair) == 2
        and isinstance(pair[0], tfds.features.Image)
        and isinstance(pair[1], tfds.features.ClassLabel)
        and pair[0].np_dtype == np.uint8
    ):
        raise InputError(
            f"dataset must hold images with one label each, but {name} has {builder.info.features}."
        )
    if "train" not in builder.info.splits:
        raise InputError(f"{name} must have a split train, but has {', '.join(builder.info.splits)}.")
    return pair[0], pair[1]
