"""Random changes of training images, inside tf.data, each drawn from a seed of its own.

All functions are stateless: the same seed gives the same images, whatever ran before.
"""

from collections.abc import Sequence

import tensorflow as tf

IMAGENET_SIZE = 224
_RESIZE = 256


def seed_pair(*numbers: tf.Tensor | int) -> tf.Tensor:
    """Folds integers into one seed of shape (2,) for TensorFlow's stateless operations."""
    seed = tf.constant([0, 0], tf.int64)
    for number in numbers:
        seed = tf.cast(tf.random.experimental.stateless_fold_in(seed, tf.cast(number, tf.int64)), tf.int64)
    return seed


def crop_and_flip(images: tf.Tensor, seed: tf.Tensor, padding: int = 4, flip: bool = True) -> tf.Tensor:
    """Images (batch, height, width, channels) padded with black, cropped back at random places, half of them mirrored.

    Reference:
        Li et al., Equal Bits, and Lin et al., SiMaN, train on CIFAR so: crop 32 with padding 4, flip.
    """
    batch = tf.shape(images)[0]
    height, width = images.shape[1:3]
    place, mirror = tf.unstack(tf.random.experimental.stateless_split(seed, 2))
    offsets = tf.random.stateless_uniform([batch, 2], place, 0, 2 * padding + 1, tf.int32)
    rows = offsets[:, :1] + tf.range(height)
    columns = tf.tile(tf.range(width)[tf.newaxis], [batch, 1])
    if flip:
        mirrored = tf.random.stateless_uniform([batch, 1], mirror, 0, 2, tf.int32) == 1
        columns = tf.where(mirrored, width - 1 - columns, columns)
    columns += offsets[:, 1:]
    padded = tf.pad(images, [[0, 0], [padding, padding], [padding, padding], [0, 0]])
    return tf.ensure_shape(
        tf.gather(tf.gather(padded, rows, batch_dims=1), columns, axis=2, batch_dims=1), images.shape
    )


def random_resized_crop(image: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """A random part of 8 to 100% of the area at aspect 3/4 to 4/3, mirrored half of the time.

    Of uint8 (height, width, channels), as float32 (224, 224, channels) in the same range.
    """
    place, mirror = tf.unstack(tf.random.experimental.stateless_split(seed, 2))
    begin, size, _ = tf.image.stateless_sample_distorted_bounding_box(
        tf.shape(image),
        tf.zeros([0, 0, 4]),
        place,
        min_object_covered=0.0,
        aspect_ratio_range=(3 / 4, 4 / 3),
        area_range=(0.08, 1.0),
        max_attempts=10,
        use_image_if_no_bounding_boxes=True,
    )
    part = tf.image.resize(tf.slice(image, begin, size), [IMAGENET_SIZE, IMAGENET_SIZE])
    part = tf.image.stateless_random_flip_left_right(part, mirror)
    return tf.ensure_shape(part, [IMAGENET_SIZE, IMAGENET_SIZE, 3])


def central_crop(image: tf.Tensor) -> tf.Tensor:
    """The centre 224x224 of the uint8 image after its shorter side was resized to 256, as float32 in the same range."""
    shape = tf.cast(tf.shape(image)[:2], tf.float32)
    size = tf.cast(tf.round(shape * (_RESIZE / tf.reduce_min(shape))), tf.int32)
    resized = tf.image.resize(image, size)
    cropped = tf.image.resize_with_crop_or_pad(resized, IMAGENET_SIZE, IMAGENET_SIZE)
    return tf.ensure_shape(cropped, [IMAGENET_SIZE, IMAGENET_SIZE, 3])


def normalize(images: tf.Tensor, mean: Sequence[float], std: Sequence[float]) -> tf.Tensor:
    """``(images / 255 - mean) / std`` per channel, the last axis, in float32; images are from 0 to 255."""
    scale = [1 / (255 * deviation) for deviation in std]
    shift = [-average / deviation for average, deviation in zip(mean, std, strict=True)]
    return tf.cast(images, tf.float32) * tf.constant(scale, tf.float32) + tf.constant(shift, tf.float32)
