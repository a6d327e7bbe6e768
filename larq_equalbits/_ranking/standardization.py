"""Mean and deviation of filters (n, filters), and the gradient through filters that are standardized.

Sums run in float64: the answer depends neither on the order of summation nor on the device. They are taken as
weights are read: no copy of a kernel in float64 is stored.

The functions are made to be traced into one XLA-compiled function.
"""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from larq_equalbits._ranking.columns import computed_once, fold, widen


class Moments(NamedTuple):
    """Of filters, in float64: the mean, and sqrt(unbiased variance + epsilon); a single weight has variance 0."""

    mean: tf.Tensor
    deviation: tf.Tensor


def mean(filters: tf.Tensor) -> tf.Tensor:
    """The mean of every filter in float64, also of denormal weights."""
    return computed_once((fold(widen, filters) / filters.shape[0],))[0]


def moments(filters: tf.Tensor, epsilon: float, known_mean: tf.Tensor | None = None) -> Moments:
    """The moments of `filters`."""
    centre = mean(filters) if known_mean is None else known_mean
    squares = fold(lambda rows: (widen(rows) - centre) ** 2, filters)
    return Moments(centre, tf.sqrt(squares / max(filters.shape[0] - 1, 1) + epsilon))


def standardized(filters: tf.Tensor) -> tf.Tensor:
    """(w - mean) / deviation in float64; 0 for a filter of equal weights."""
    centre, deviation = moments(filters, 0.0)
    return tf.math.divide_no_nan(widen(filters) - centre, deviation)


def gradient(
    filters: tf.Tensor,
    upstream: tf.Tensor,
    epsilon: float,
    slope: Callable[[tf.Tensor, tf.Tensor], tf.Tensor] | None = None,
    known_mean: tf.Tensor | None = None,
) -> tf.Tensor:
    """What reaches `filters`, in their type, of `upstream`, the gradient with respect to f(z).

    With d = w - mean, s the deviation and z = d / s, and g = f'(z) times `upstream`:
    ``(g - mean(g)) / s - d * sum(g * d) / ((n - 1) s^3)``. A filter of equal weights without `epsilon` gets 0.

    Args:
        filters: weights (n, filters).
        upstream: of the same shape.
        epsilon: what is added to the variance.
        slope: f' of d and s, in float64; None for 1.
        known_mean: the means of the filters, where they are known.
    """
    n = filters.shape[0]
    centre, deviation = computed_once(moments(filters, epsilon, known_mean))

    def parts(weights: tf.Tensor, received: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        d, g = widen(weights) - centre, widen(received)
        return d, g if slope is None else g * slope(d, deviation)

    def sums(weights: tf.Tensor, received: tf.Tensor) -> tf.Tensor:
        d, g = parts(weights, received)
        # One number of two parts, because XLA would read everything twice for two sums.
        return tf.complex(g, g * d)

    both = fold(sums, filters, upstream)
    factor, shift, pull = computed_once(
        (
            tf.math.divide_no_nan(tf.ones_like(deviation), deviation),
            tf.math.divide_no_nan(tf.math.real(both), n * deviation),
            tf.math.divide_no_nan(tf.math.imag(both), max(n - 1, 1) * deviation**3),
        )
    )
    d, g = parts(filters, upstream)
    return tf.cast(factor * g - shift - pull * d, filters.dtype)
