"""Data sets through one input pipeline: shuffled by a seed, augmented as in the papers, normalised, batched.

The order and the augmentation of an epoch depend on the seed and the epoch's number alone, so a
training that resumes at epoch 7 sees what an unbroken one sees there.
"""

import dataclasses
import difflib
import os
from pathlib import Path
from typing import Any

import tensorflow as tf

from larq_equalbits._choices import AUGMENTATIONS
from larq_equalbits._errors import InputError, invalid, require
from larq_equalbits.data import augmentation, digits, folders, in_memory, tfds_any, tfds_folder
from larq_equalbits.data.pipeline import Data, check_batch, check_common, limited, with_options

_SHUFFLE_BUFFER = 8_192


@dataclasses.dataclass(frozen=True)
class _Spec:
    """What is particular to a data set."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    augment: str | None
    test_split: str = "test"
    in_memory: bool = True


_CIFAR = _Spec((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010), "crop_flip")
_SPECS = {
    "digits": _Spec((0.3053,), (0.3763,), None),
    "cifar10": _CIFAR,
    "cifar100": _CIFAR,
    "imagenet2012": _Spec((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "resized_crop", "validation", False),
}
NAMES = tuple(_SPECS)


def check_name(name: Any) -> str:
    """`name` where `load` may know it: one of `NAMES`, "tfds:NAME", or a folder, whose path comes back absolute.

    Raises:
        InputError: none of these; says which name is the nearest.
    """
    if isinstance(name, str) and (
        name in _SPECS or (name.startswith(tfds_any.PREFIX) and name != tfds_any.PREFIX)
    ):
        return name
    if isinstance(name, str | os.PathLike) and name and Path(name).is_dir():
        return str(Path(name).resolve())
    near = difflib.get_close_matches(str(name), _SPECS, 1)
    hint = f" Did you mean {near[0]}?" if near else ""
    known = f"one of {', '.join(_SPECS)}, tfds:NAME, or a folder with a subfolder of images for each class"
    raise InputError(f"dataset must be {known}, but got {name!r}.{hint}")


def load(
    name: str,
    *,
    batch_size: int = 128,
    seed: int = 0,
    data_dir: str | os.PathLike[str] | None = None,
    augment: str | None = None,
    validation_fraction: float = 0.1,
    train_images: int | None = None,
    download: bool = False,
    image_size: int | None = None,
) -> Data:
    """Opens a data set.

    ``digits`` are the images that scikit-learn carries and need no download. Other sets of small images
    are decoded once in a process and kept in memory as bytes; ``imagenet2012`` is read from its files as it goes.

    Args:
        name: "digits", "cifar10", "cifar100" or "imagenet2012"; the path of a folder for `from_folder`; or
            "tfds:NAME" for any other set of images with labels that tensorflow-datasets has prepared, with the order
            of files kept and one image in five of each class for the test where it has none.
        batch_size: images per batch, from 1 to the number of training images.
        seed: of the order and the augmentation, an integer from 0.
        data_dir: the folder of prepared tensorflow-datasets sets; default: the environment variables
            ``LARQ_EQUALBITS_DATA`` or ``TFDS_DATA_DIR``, else ``~/tensorflow_datasets``. digits needs none.
        augment: "none", "crop" (padding 4), "crop_flip", or "resized_crop" for ImageNet; None for what the
            papers do with this set ("none" for digits).
        validation_fraction: share of the training images to hold out, from 0 to below 1: the same number of
            each class (imagenet2012: the last images of the files), always the same ones.
        train_images: how many of the images that are not held out to train on, the first ones; None for all.
        download: whether to download and prepare what `data_dir` lacks.
        image_size: height and width to which the images of a folder or of "tfds:NAME" are brought; None for the
            images' own size where all have the same (tfds), else 96. The other sets have a size of their own.

    Raises:
        InputError: an unknown name or augmentation, a number out of range, a folder without the data, or
            with half of it, or with damaged files.
        ImportError: tensorflow-datasets, or for digits scikit-learn, is not installed; names the extra to install.

    Examples:
        >>> digits = load("digits", batch_size=32)
        >>> digits.num_train, digits.num_validation, digits.num_test
        (1299, 143, 355)
    """
    own: dict[str, Any] = {
        "batch_size": batch_size,
        "seed": seed,
        "augment": augment or "crop_flip",
        "validation_fraction": validation_fraction,
        "train_images": train_images,
    }
    if name not in _SPECS:
        name = check_name(name)
        if name.startswith(tfds_any.PREFIX):
            return tfds_any.load(name, data_dir, download, image_size, **own)
        return folders.from_folder(name, image_size=image_size or folders.IMAGE_SIZE, **own)
    if image_size is not None:
        raise invalid("image_size", image_size, f"None for {name}, whose images have a size of their own")
    spec = _SPECS[name]
    own["augment"] = augment = augment if augment is not None else spec.augment or "none"
    if augment not in AUGMENTATIONS or (augment != "none" and (augment == "resized_crop") == spec.in_memory):
        fitting = AUGMENTATIONS[:3] if spec.in_memory else ("none", "resized_crop")
        raise invalid("augment", augment, f"one of {', '.join(fitting)} for {name}")
    check_common(seed, validation_fraction)
    if name == "digits":
        return in_memory.from_splits(name, digits.splits(), spec.mean, spec.std, **own)
    builder = tfds_folder.open_builder(name, data_dir, download)
    if spec.in_memory:
        splits = tfds_folder.splits(builder, spec.test_split)
        data = in_memory.from_splits(name, splits, spec.mean, spec.std, **own)
    else:
        data = _streamed(name, spec, builder, **own)
    if data.num_classes != len(data.labels):
        raise InputError(f"{name} must have {data.num_classes} class names, but has {len(data.labels)}.")
    return data


def _streamed(
    name: str,
    spec: _Spec,
    builder: Any,
    batch_size: int,
    seed: int,
    augment: str,
    validation_fraction: float,
    train_images: int | None,
) -> Data:
    total = builder.info.splits["train"].num_examples
    num_validation = round(validation_fraction * total)
    count = limited(train_images, total - num_validation)
    check_batch(batch_size, count)

    tfds = require("data", "tensorflow_datasets")
    decode = builder.info.features["image"].decode_example

    def read(split: str) -> tf.data.Dataset:
        # Encoded images take a fraction of the memory in the buffer that shuffles them.
        skip = {"image": tfds.decode.SkipDecoding()}
        with tfds_folder.explained(name, builder.data_dir):
            return builder.as_dataset(split=split, shuffle_files=False, as_supervised=True, decoders=skip)

    def fixed(split: str) -> tf.data.Dataset:
        images = read(split).map(
            lambda x, y: (augmentation.central_crop(decode(x)), tf.cast(y, tf.int32)), tf.data.AUTOTUNE
        )
        normalized = images.batch(batch_size).map(
            lambda x, y: (augmentation.normalize(x, spec.mean, spec.std), y)
        )
        return with_options(normalized.prefetch(2))

    examples = read(f"train[:{count}]")

    def epoch(number: tf.Tensor) -> tf.data.Dataset:
        def shuffled(block: tf.Tensor, part: tuple[tf.Tensor, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
            images, labels = part
            key = augmentation.seed_pair(seed, number, block)
            order = tf.random.experimental.stateless_shuffle(tf.range(tf.size(labels)), key)
            return tf.gather(images, order), tf.gather(labels, order)

        def change(index: tf.Tensor, example: tuple[tf.Tensor, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
            image, label = decode(example[0]), example[1]
            if augment == "none":
                image = augmentation.central_crop(image)
            else:
                image = augmentation.random_resized_crop(image, augmentation.seed_pair(seed, number, index))
            return augmentation.normalize(image, spec.mean, spec.std), tf.cast(label, tf.int32)

        # A shuffle by a seed that is a tensor: block by block, because `Dataset.shuffle` takes numbers alone.
        blocks = examples.batch(min(_SHUFFLE_BUFFER, count)).enumerate().map(shuffled)
        changed = blocks.unbatch().enumerate().map(change, tf.data.AUTOTUNE)
        return changed.batch(batch_size, drop_remainder=True)

    return Data(
        name=name,
        input_shape=(augmentation.IMAGENET_SIZE, augmentation.IMAGENET_SIZE, 3),
        num_classes=builder.info.features["label"].num_classes,
        labels=tuple(builder.info.features["label"].names),
        mean=spec.mean,
        std=spec.std,
        batch_size=batch_size,
        num_train=count,
        num_validation=num_validation,
        num_test=builder.info.splits[spec.test_split].num_examples,
        validation=fixed(f"train[{total - num_validation}:]") if num_validation else None,
        test=fixed(spec.test_split),
        _epoch=epoch,
        _seed=seed,
        _options={
            "augment": augment,
            "validation_fraction": validation_fraction,
            "train_images": train_images,
        },
    )
