"""A data set as batches: in an order that a seed and the epoch's number decide, augmented, normalised."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from larq_equalbits._errors import invalid, is_number, is_whole

_EPOCHS_WITHOUT_END = 2**31


@dataclasses.dataclass(frozen=True)
class Data:
    """A data set, ready for `fit` and `evaluate`.

    Attributes:
        name: its name.
        input_shape: (height, width, channels) of one image.
        num_classes: number of classes.
        labels: the name of each class.
        mean: of each channel, subtracted from images on the scale 0 to 1; None where it is not known.
        std: of each channel, by which they are then divided.
        batch_size: images per batch; for several machines, of all together.
        num_train: images that are trained on.
        num_validation: images held out of the training set.
        num_test: images of the test set.
        train: the training set once: float32 images (batch, height, width, channels), int32 labels (batch,).
            Each pass over it draws a new order; the last, smaller batch of a pass is dropped.
        validation: the held-out images in a fixed order, all of them; None where none are held out.
        test: the test images in a fixed order, all of them.

    Examples:
        >>> digits = lqe.data.load("digits", batch_size=32)
        >>> images, labels = next(iter(digits.train))
        >>> images.shape, labels.shape, digits.steps_per_epoch
        (TensorShape([32, 8, 8, 1]), TensorShape([32]), 40)
    """

    name: str
    input_shape: tuple[int, ...]
    num_classes: int
    labels: tuple[str, ...]
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    batch_size: int
    num_train: int
    num_validation: int
    num_test: int
    validation: tf.data.Dataset | None
    test: tf.data.Dataset
    _epoch: Callable[[Any], tf.data.Dataset] = dataclasses.field(repr=False)
    _seed: int = dataclasses.field(repr=False, default=0)
    # Under their names in `training.Settings`, the options that decide which images are trained on, and how changed.
    _options: Mapping[str, Any] = dataclasses.field(repr=False, default_factory=dict)

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
        return with_options(batches.apply(tf.data.experimental.assert_cardinality(size)).prefetch(4))


def with_options(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """`dataset`, of which several machines each take some batches instead of some files, and without autotuning."""
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    # Its thread sleeps up to a minute at a time, and an iterator that ends waits for it.
    options.autotune.enabled = False
    return dataset.with_options(options)


def square_size(shape: Any) -> int | None:
    """What `image_size` gives images of `shape`, (height, width, channels); None for no square or no such shape."""
    known = isinstance(shape, tuple | list) and len(shape) == 3 and isinstance(shape[0], int)
    return shape[0] if known and shape[0] == shape[1] else None


def limited(train_images: int | None, available: int) -> int:
    """How many images to train on."""
    if train_images is None:
        return available
    if not (is_whole(train_images, 1) and train_images <= available):
        raise invalid("train_images", train_images, f"None or an integer from 1 to {available}")
    return train_images


def check_batch(batch_size: int, num_train: int) -> None:
    """Refuses a batch that is larger than the training set."""
    if not (is_whole(batch_size, 1) and batch_size <= num_train):
        raise invalid("batch_size", batch_size, f"an integer from 1 to the {num_train} training images")


def held_out(labels: np.ndarray, fraction: float) -> np.ndarray:
    """Marks the last `fraction` of each class."""
    marked = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        marked[members[len(members) - round(fraction * len(members)) :]] = True
    return marked


def check_common(seed: int, validation_fraction: float) -> None:
    """Refuses a seed or a share of images to hold out that is out of its range."""
    if not (is_whole(seed, 0) and seed < 2**62):
        raise invalid("seed", seed, "an integer from 0")
    if not (is_number(validation_fraction) and 0 <= validation_fraction < 1):
        raise invalid("validation_fraction", validation_fraction, "a number from 0 to below 1")
