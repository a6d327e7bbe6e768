"""Centred and standardized filters, as tensor functions on kernels of shape (n, filters).

Sums run in float64, so that the answer depends neither on the order of summation nor on the device.
"""

from typing import NamedTuple

import tensorflow as tf

from larq_equalbits.orders import widen


class Standardized(NamedTuple):
    """Filters in float64: `centred` (n, filters), and their `deviation` (filters)."""

    centred: tf.Tensor
    deviation: tf.Tensor


def centre(kernel: tf.Tensor) -> tf.Tensor:
    """The weights minus the mean of their filter, in float64."""
    wide = widen(kernel)
    return wide - tf.reduce_mean(wide, axis=0)


def standardize(kernel: tf.Tensor, epsilon: float) -> Standardized:
    """Centred filters and sqrt(unbiased variance + epsilon), where a single weight has variance 0."""
    centred = centre(kernel)
    variance = tf.reduce_sum(centred * centred, axis=0) / max(kernel.shape[0] - 1, 1)
    return Standardized(centred, tf.sqrt(variance + epsilon))


def gradient(filters: Standardized, upstream: tf.Tensor) -> tf.Tensor:
    """What reaches the kernel of `upstream`, the gradient with respect to centred / deviation.

    A filter of equal weights, whose deviation is 0, gets the gradient 0.
    """
    centred, deviation = filters
    degrees = max(centred.shape[0] - 1, 1)
    projection = tf.reduce_sum(upstream * centred, axis=0)
    through = tf.math.divide_no_nan(upstream, deviation)
    through -= centred * tf.math.divide_no_nan(projection, degrees * deviation**3)
    return through - tf.reduce_mean(through, axis=0)
