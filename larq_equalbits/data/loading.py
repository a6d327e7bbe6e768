"""Data sets through one input pipeline: shuffled by a seed, augmented as in the papers, normalised, batched.

The order and the augmentation of an epoch depend on the seed and the epoch's number alone, so that a
training that resumes at epoch 7 sees what an unbroken one sees there.
"""

import dataclasses
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from larq_equalbits._errors import InputError, invalid, is_number, is_whole, require
from larq_equalbits.data import augmentation, tfds_folder

_EPOCHS_WITHOUT_END = 2**31
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
AUGMENTATIONS = ("none", "crop", "crop_flip", "resized_crop")


@dataclasses.dataclass(frozen=True)
class Data:
    """A data set, ready for `fit` and `evaluate`.

    Attributes:
        name: its name.
        input_shape: (height, width, channels) of one image.
        num_classes: number of classes.
        labels: the name of each class.
        mean: of each channel, subtracted from images on the scale 0 to 1.
        std: of each channel, by which they are then divided.
        batch_size: images per batch; for several machines, of all together.
        num_train: images that are trained on.
        num_validation: images held out of the training set.
        num_test: images of the test set.
        train: the training set once: float32 images (batch, height, width, channels), int32 labels (batch,).
            Each pass over it draws a new order; the last, smaller batch of a pass is dropped.
        validation: the held-out images in a fixed order, all of them; None where none are held out.
        test: the test images in a fixed order, all of them.
    """

    name: str
    input_shape: tuple[int, ...]
    num_classes: int
    labels: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    batch_size: int
    num_train: int
    num_validation: int
    num_test: int
    validation: tf.data.Dataset | None
    test: tf.data.Dataset
    _epoch: Callable[[Any], tf.data.Dataset] = dataclasses.field(repr=False)
    _seed: int = dataclasses.field(repr=False, default=0)

    @property
    def steps_per_epoch(self) -> int:
        """Training batches in an epoch."""
        return self.num_train // self.batch_size

    @property
    def train(self) -> tf.data.Dataset:
        """One epoch, in a new order at every pass."""
        passes = tf.data.Dataset.random(self._seed, rerandomize_each_iteration=True).take(1)
        return self._finish(passes, 1)

    def epochs(self, first: int = 0) -> tf.data.Dataset:
        """Training batches without end from the epoch `first` on, `steps_per_epoch` for each epoch.

        Epoch e holds the same batches in the same order however many epochs came before.
        """
        numbers = tf.data.Dataset.range(first, _EPOCHS_WITHOUT_END)
        return self._finish(numbers, tf.data.INFINITE_CARDINALITY)

    def _finish(self, numbers: tf.data.Dataset, epochs: int) -> tf.data.Dataset:
        batches = numbers.flat_map(self._epoch)
        size = epochs * self.steps_per_epoch if epochs > 0 else epochs
        return _sharded_by_element(batches.apply(tf.data.experimental.assert_cardinality(size)).prefetch(4))


def _sharded_by_element(dataset: tf.data.Dataset) -> tf.data.Dataset:
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    return dataset.with_options(options)


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
) -> Data:
    """Opens a data set.

    ``digits`` is made from the images that scikit-learn carries and needs no download. Sets of small images
    are decoded once in a process and kept in memory as bytes; ``imagenet2012`` is read from its files as it goes.

    Args:
        name: "digits", "cifar10", "cifar100" or "imagenet2012".
        batch_size: images per batch, from 1 to the number of training images.
        seed: of the order and the augmentation, an integer from 0.
        data_dir: the folder of prepared tensorflow-datasets sets; default: the environment variables
            ``LARQ_EQUALBITS_DATA`` or ``TFDS_DATA_DIR``, else ``~/tensorflow_datasets`` (for digits: the
            user's cache folder).
        augment: "none", "crop" (padding 4), "crop_flip", or "resized_crop" for ImageNet; None for what the
            papers do with this set ("none" for digits).
        validation_fraction: share of the training images to hold out, from 0 to below 1: the same number of
            each class (imagenet2012: the last images of the files), always the same ones.
        train_images: how many of the images that are not held out to train on, the first ones; None for all.
        download: whether to download and prepare what `data_dir` lacks.

    Raises:
        InputError: an unknown name or augmentation, a number out of range, a folder without the data, or
            with half of it, or with damaged files.
        ImportError: tensorflow-datasets is not installed; names the extra to install.
    """
    if name not in _SPECS:
        raise invalid("dataset", name, f"one of {', '.join(_SPECS)}")
    spec = _SPECS[name]
    augment = augment if augment is not None else spec.augment or "none"
    if augment not in AUGMENTATIONS or (augment != "none" and (augment == "resized_crop") == spec.in_memory):
        fitting = AUGMENTATIONS[:3] if spec.in_memory else ("none", "resized_crop")
        raise invalid("augment", augment, f"one of {', '.join(fitting)} for {name}")
    if not (is_whole(seed, 0) and seed < 2**62):
        raise invalid("seed", seed, "an integer from 0")
    if not (is_number(validation_fraction) and 0 <= validation_fraction < 1):
        raise invalid("validation_fraction", validation_fraction, "a number from 0 to below 1")
    if name == "digits":
        from larq_equalbits.data import digits

        builder = digits.prepared_builder(data_dir)
    else:
        builder = tfds_folder.open_builder(name, data_dir, download)
    make = _in_memory if spec.in_memory else _streamed
    data = make(name, spec, builder, batch_size, seed, augment, validation_fraction, train_images)
    if data.num_classes != len(data.labels):
        raise InputError(f"{name} must have {data.num_classes} class names, but has {len(data.labels)}.")
    return data


def _limit(train_images: int | None, available: int) -> int:
    """How many images to train on."""
    if train_images is None:
        return available
    if not (is_whole(train_images, 1) and train_images <= available):
        raise invalid("train_images", train_images, f"None or an integer from 1 to {available}")
    return train_images


def _check_batch(batch_size: int, num_train: int) -> None:
    if not (is_whole(batch_size, 1) and batch_size <= num_train):
        raise invalid("batch_size", batch_size, f"an integer from 1 to the {num_train} training images")


def _held_out(labels: np.ndarray, fraction: float) -> np.ndarray:
    """Marks the last `fraction` of each class."""
    marked = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        marked[members[len(members) - round(fraction * len(members)) :]] = True
    return marked


def _in_memory(
    name: str,
    spec: _Spec,
    builder: Any,
    batch_size: int,
    seed: int,
    augment: str,
    fraction: float,
    limit: int | None,
) -> Data:
    images, labels = tfds_folder.read_all(builder, "train")
    held = _held_out(labels, fraction)
    count = _limit(limit, int((~held).sum()))
    train_images, train_labels = (tf.constant(part[~held][:count]) for part in (images, labels))
    _check_batch(batch_size, count)

    def batch(indices: tf.Tensor, key: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        chosen = tf.ensure_shape(tf.gather(train_images, indices), [batch_size, *train_images.shape[1:]])
        if augment != "none":
            chosen = augmentation.crop_and_flip(chosen, key, flip=augment == "crop_flip")
        return augmentation.normalize(chosen, spec.mean, spec.std), tf.gather(train_labels, indices)

    def epoch(number: tf.Tensor) -> tf.data.Dataset:
        key = augmentation.seed_pair(seed, number)
        order = tf.random.experimental.stateless_shuffle(tf.range(count), key)
        batches = tf.data.Dataset.from_tensor_slices(order).batch(batch_size, drop_remainder=True)
        return batches.enumerate().map(
            lambda step, indices: batch(indices, augmentation.seed_pair(seed, number, step)),
            num_parallel_calls=tf.data.AUTOTUNE,
        )

    def fixed(images: np.ndarray, labels: np.ndarray) -> tf.data.Dataset:
        batches = tf.data.Dataset.from_tensor_slices((images, labels)).batch(batch_size)
        normalized = batches.map(lambda x, y: (augmentation.normalize(x, spec.mean, spec.std), y))
        return _sharded_by_element(normalized.prefetch(2))

    test_images, test_labels = tfds_folder.read_all(builder, spec.test_split)
    names = builder.info.features["label"].names
    return Data(
        name=name,
        input_shape=tuple(images.shape[1:]),
        num_classes=builder.info.features["label"].num_classes,
        labels=tuple(names),
        mean=spec.mean,
        std=spec.std,
        batch_size=batch_size,
        num_train=count,
        num_validation=int(held.sum()),
        num_test=len(test_labels),
        validation=fixed(images[held], labels[held]) if held.any() else None,
        test=fixed(test_images, test_labels),
        _epoch=epoch,
        _seed=seed,
    )


def _streamed(
    name: str,
    spec: _Spec,
    builder: Any,
    batch_size: int,
    seed: int,
    augment: str,
    fraction: float,
    limit: int | None,
) -> Data:
    total = builder.info.splits["train"].num_examples
    num_validation = round(fraction * total)
    count = _limit(limit, total - num_validation)
    _check_batch(batch_size, count)

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
        batches = images.batch(batch_size)
        normalized = batches.map(lambda x, y: (augmentation.normalize(x, spec.mean, spec.std), y))
        return _sharded_by_element(normalized.prefetch(2))

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
        mixed = blocks.unbatch()
        changed = mixed.enumerate().map(change, tf.data.AUTOTUNE)
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
    )
