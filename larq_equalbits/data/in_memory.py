"""A data set whose decoded images stay in memory as bytes."""

import dataclasses

import numpy as np
import tensorflow as tf

from larq_equalbits.data import augmentation
from larq_equalbits.data.pipeline import Data, check_batch, held_out, limited, with_options


@dataclasses.dataclass(frozen=True)
class Examples:
    """Images as uint8 (examples, height, width, channels), and their classes as int32 (examples,)."""

    images: np.ndarray
    labels: np.ndarray

    def __getitem__(self, chosen: np.ndarray | slice) -> "Examples":
        """Those that `chosen` marks or lists."""
        return Examples(self.images[chosen], self.labels[chosen])

    def __len__(self) -> int:
        """How many there are."""
        return len(self.labels)


@dataclasses.dataclass(frozen=True)
class Splits:
    """All images of a data set; `validation` is None where some of `train` are to be held out for it."""

    train: Examples
    test: Examples
    labels: tuple[str, ...]
    validation: Examples | None = None


def statistics(examples: Examples) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel on the scale 0 to 1, to 4 digits, the deviation at least 1/255.

    Exact in any order of the images: counted from the histogram of the 256 values.
    """
    levels = np.arange(256) / 255
    means, deviations = [], []
    for channel in range(examples.images.shape[-1]):
        counts = np.zeros(256)
        # An image at a time, because bincount takes a copy in 8 bytes a pixel.
        for image in examples.images[..., channel]:
            counts += np.bincount(image.reshape(-1), minlength=256)
        mean = counts @ levels / counts.sum()
        variance = counts @ (levels - mean) ** 2 / counts.sum()
        means.append(round(float(mean), 4))
        deviations.append(round(max(float(np.sqrt(variance)), 1 / 255), 4))
    return tuple(means), tuple(deviations)


def from_splits(
    name: str,
    splits: Splits,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    *,
    batch_size: int,
    seed: int,
    augment: str,
    validation_fraction: float,
    train_images: int | None,
    padding: int = 4,
) -> Data:
    """The data set made of `splits`, with the arguments of `data.load`.

    "crop" and "crop_flip" shift an image by at most `padding` pixels; where `splits` has images for validation, none
    are held out.

    Raises:
        InputError: fewer training images than a batch or than `train_images`.
    """
    if splits.validation is None:
        held = held_out(splits.train.labels, validation_fraction)
        train, validation = splits.train[~held], splits.train[held]
    else:
        train, validation = splits.train, splits.validation
    count = limited(train_images, len(train))
    check_batch(batch_size, count)
    images, labels = (tf.constant(part[:count]) for part in (train.images, train.labels))

    def batch(indices: tf.Tensor, key: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        chosen = tf.ensure_shape(tf.gather(images, indices), [batch_size, *images.shape[1:]])
        if augment != "none":
            chosen = augmentation.crop_and_flip(chosen, key, padding, augment == "crop_flip")
        return augmentation.normalize(chosen, mean, std), tf.gather(labels, indices)

    def epoch(number: tf.Tensor) -> tf.data.Dataset:
        key = augmentation.seed_pair(seed, number)
        order = tf.random.experimental.stateless_shuffle(tf.range(count), key)
        batches = tf.data.Dataset.from_tensor_slices(order).batch(batch_size, drop_remainder=True)
        return batches.enumerate().map(
            lambda step, indices: batch(indices, augmentation.seed_pair(seed, number, step)),
            num_parallel_calls=tf.data.AUTOTUNE,
        )

    def fixed(examples: Examples) -> tf.data.Dataset:
        batches = tf.data.Dataset.from_tensor_slices((examples.images, examples.labels)).batch(batch_size)
        normalized = batches.map(lambda x, y: (augmentation.normalize(x, mean, std), y))
        return with_options(normalized.prefetch(2))

    return Data(
        name=name,
        input_shape=tuple(train.images.shape[1:]),
        num_classes=len(splits.labels),
        labels=splits.labels,
        mean=mean,
        std=std,
        batch_size=batch_size,
        num_train=count,
        num_validation=len(validation),
        num_test=len(splits.test),
        validation=fixed(validation) if len(validation) else None,
        test=fixed(splits.test),
        _epoch=epoch,
        _seed=seed,
        _options={
            "augment": augment,
            "validation_fraction": validation_fraction,
            "train_images": train_images,
        },
    )
