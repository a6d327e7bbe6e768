"""Centred and standardized filters, as tensor functions on kernels of shape (n, filters).

Sums run in float64, so that the answer depends neither on the order of summation nor on the device.
"""

from typing import NamedTuple

import tensorflow as tf


class Standardized(NamedTuple):
    """Filters in float64: `centred` (n, filters), and their `deviation` (filters)."""

    centred: tf.Tensor
    deviation: tf.Tensor


def widen(kernel: tf.Tensor) -> tf.Tensor:
    """The exact values in float64; a plain cast would flush the denormal ones to zero."""
    if kernel.dtype == tf.float64:
        return kernel
    single = tf.cast(kernel, tf.float32)
    bits = tf.bitcast(single, tf.int32)
    mantissa = tf.cast(tf.bitwise.bitwise_and(bits, 0x007FFFFF), tf.float64) * 2.0**-149
    denormal = tf.equal(tf.bitwise.bitwise_and(bits, 0x7F800000), 0)
    return tf.where(denormal, tf.where(bits < 0, -mantissa, mantissa), tf.cast(single, tf.float64))


def centre(kernel: tf.Tensor) -> tf.Tensor:
    """The weights minus the mean of their filter, in float64."""
    wide = widen(kernel)
    return wide - tf.reduce_mean(wide, axis=0)


def rounded(centred: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """`centred` as float32 (float64 for a float64 kernel), times a power of two for each filter.

    The rounding to float32 is that of the authors' arithmetic, so that weights which tie there tie here.
    The power of two brings the largest magnitude to [1, 2), where nothing overflows or is flushed.
    """
    if dtype == tf.float64:
        return centred
    largest = tf.reduce_max(tf.abs(centred), axis=0)
    exponent = tf.bitwise.right_shift(tf.bitcast(largest, tf.int64), 52)
    factor = tf.bitcast(tf.bitwise.left_shift(2046 - tf.minimum(exponent, 2045), 52), tf.float64)
    return tf.cast(centred * factor, tf.float32)


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
