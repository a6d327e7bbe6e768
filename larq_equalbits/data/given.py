"""Data sets that the caller made with tf.data."""

from typing import Any

import numpy as np
import tensorflow as tf

from larq_equalbits._errors import InputError
from larq_equalbits.data.pipeline import Data

NAME = "given"


def from_datasets(
    train: tf.data.Dataset,
    test: tf.data.Dataset,
    validation: tf.data.Dataset | None = None,
    labels: tuple[str, ...] | None = None,
) -> Data:
    """Batches that the caller made, as a `Data`: unchanged, so their order and augmentation are the caller's.

    Each is read once to count its images and to check its labels.

    Args:
        train: batches (images, labels), finite: float images (batch, height, width, channels), integer labels (batch,)
            from 0. The first batch's size is that of every step; the images that do not fill a last batch are dropped.
        test: such batches.
        validation: such batches, or None.
        labels: the name of each class; None for the numbers.

    Raises:
        InputError: no such batches, without end or empty, images of several shapes, labels that are no integers or
            negative, or a class of test or validation that train does not have.

    Examples:
        >>> batches = tf.data.Dataset.from_tensor_slices((np.zeros((6, 8, 8, 1), "f"), [0, 1, 2] * 2)).batch(3)
        >>> given = from_datasets(batches, batches, labels=("a", "b", "c"))
        >>> given.input_shape, given.num_classes, given.num_train
        ((8, 8, 1), 3, 6)
    """
    sizes: dict[str, tuple[int, int, tuple[int, ...], int]] = {}
    for name, dataset in (("train", train), ("test", test), ("validation", validation)):
        if dataset is not None:
            sizes[name] = _measured(name, dataset)
    count, batch, shape, last = sizes["train"]
    classes = last + 1 if labels is None else len(labels)
    for name, (_, _, other, highest) in sizes.items():
        if other != shape:
            raise InputError(f"{name} must have images of shape {shape} as train, but has {other}.")
        if highest >= classes:
            raise InputError(f"{name} must have labels from 0 to {classes - 1}, but has {highest}.")

    def typed(images: tf.Tensor, numbers: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return tf.ensure_shape(tf.cast(images, tf.float32), [None, *shape]), tf.cast(numbers, tf.int32)

    batches = train.map(typed).unbatch().batch(batch, drop_remainder=True)
    return Data(
        name=NAME,
        input_shape=shape,
        num_classes=classes,
        labels=tuple(labels) if labels is not None else tuple(map(str, range(classes))),
        # What the caller did to the images is not known.
        mean=None,
        std=None,
        batch_size=batch,
        num_train=count,
        num_validation=sizes["validation"][0] if validation is not None else 0,
        num_test=sizes["test"][0],
        validation=None if validation is None else validation.map(typed),
        test=test.map(typed),
        _epoch=lambda number: batches,
    )


def _measured(name: str, dataset: Any) -> tuple[int, int, tuple[int, ...], int]:
    """Images, images in the first batch, an image's shape and the highest label."""
    if not isinstance(dataset, tf.data.Dataset):
        raise InputError(f"{name} must be a tf.data.Dataset of batches, but got {type(dataset).__name__}.")
    if dataset.cardinality().numpy() == tf.data.INFINITE_CARDINALITY:
        raise InputError(f"{name} must end, but is repeated without end: leave out .repeat().")
    count = first = 0
    shape: tuple[int, ...] = ()
    highest = -1
    for element in dataset.as_numpy_iterator():
        images, labels = element if isinstance(element, tuple) and len(element) == 2 else (None, None)
        if not (
            isinstance(images, np.ndarray)
            and images.ndim == 4
            and isinstance(labels, np.ndarray)
            and labels.shape == images.shape[:1]
            and np.issubdtype(labels.dtype, np.integer)
            and len(labels)
            and labels.min() >= 0
        ):
            raise InputError(
                f"{name} must have batches (images, labels): images of shape (batch, height, width, channels), "
                "integer labels of shape (batch,) from 0."
            )
        if shape and images.shape[1:] != shape:
            raise InputError(f"{name} must have images of one shape, but has {shape} and {images.shape[1:]}.")
        first = first or len(labels)
        shape = tuple(images.shape[1:])
        highest = max(highest, int(labels.max()))
        count += len(labels)
    if not count:
        raise InputError(f"{name} must have images, but is empty.")
    return count, first, shape, highest
