"""Mean and deviation of filters (n, filters), and the gradient through filters that are standardized.

Sums run in float64: the answer depends neither on the order of summation nor on the device. They are taken as
weights are read: no copy of a kernel in float64 is stored. What is one number for each filter is computed between
two programs: inside one, XLA would compute it again, with another rounding, for every row.
"""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from larq_equalbits._ranking.columns import fold, widen
from larq_equalbits._ranking.compiled import compiled, traced


class Moments(NamedTuple):
    """Of filters, in float64: the mean, and sqrt(unbiased variance + epsilon); a single weight has variance 0."""

    mean: tf.Tensor
    deviation: tf.Tensor


@compiled
def _sums(filters: tf.Tensor) -> tf.Tensor:
    first = widen(filters[0])
    # One number of two parts, because XLA would read everything twice for two sums.
    return fold(lambda rows: tf.complex(widen(rows), (widen(rows) - first) ** 2), filters)


def moments(filters: tf.Tensor, epsilon: float) -> Moments:
    """The moments of `filters`; the mean also of denormal weights."""
    n, sums = filters.shape[0], _sums(filters)
    mean = tf.math.real(sums) / n
    # Squares about the first weight: it is never so far from the mean that the difference loses the variance.
    squares = tf.maximum(tf.math.imag(sums) - n * (mean - widen(filters[0])) ** 2, 0.0)
    return Moments(mean, tf.sqrt(squares / max(n - 1, 1) + epsilon))


@compiled
def _standardized(filters: tf.Tensor, mean: tf.Tensor, deviation: tf.Tensor) -> tf.Tensor:
    return tf.math.divide_no_nan(widen(filters) - mean, deviation)


def standardized(filters: tf.Tensor) -> tf.Tensor:
    """(w - mean) / deviation in float64; 0 for a filter of equal weights."""
    return _standardized(filters, *moments(filters, 0.0))


def gradient(slope: Callable[..., tf.Tensor]) -> Callable[..., tf.Tensor]:
    """The function of weights, of what is received, of mean, deviation and scalars that gives the gradient of weights.

    With d = w - mean, s the deviation and z = d / s, it takes the gradient with respect to f(z), and g is f'(z) times
    that: ``(g - mean(g)) / s - d * sum(g * d) / ((n - 1) s^3)``, in the type of the weights (n, filters). A filter
    without deviation gets 0.

    Args:
        slope: f' of d, s and the scalars, in float64.
    """

    def parts(
        weights: tf.Tensor, received: tf.Tensor, known: Moments, scalars: tuple[tf.Tensor, ...]
    ) -> tuple[tf.Tensor, tf.Tensor]:
        d = widen(weights) - known.mean
        return d, widen(received) * slope(d, known.deviation, *scalars)

    @compiled
    def sums(
        filters: tf.Tensor, upstream: tf.Tensor, mean: tf.Tensor, deviation: tf.Tensor, *scalars: tf.Tensor
    ) -> tf.Tensor:
        def both(weights: tf.Tensor, received: tf.Tensor) -> tf.Tensor:
            d, g = parts(weights, received, Moments(mean, deviation), scalars)
            return tf.complex(g, g * d)

        return fold(both, filters, upstream)

    @compiled
    def combined(
        filters: tf.Tensor,
        upstream: tf.Tensor,
        mean: tf.Tensor,
        deviation: tf.Tensor,
        factor: tf.Tensor,
        shift: tf.Tensor,
        pull: tf.Tensor,
        *scalars: tf.Tensor,
    ) -> tf.Tensor:
        d, g = parts(filters, upstream, Moments(mean, deviation), scalars)
        return tf.cast(factor * g - shift - pull * d, filters.dtype)

    @traced
    def through(
        filters: tf.Tensor, upstream: tf.Tensor, mean: tf.Tensor, deviation: tf.Tensor, *scalars: tf.Tensor
    ) -> tf.Tensor:
        n = filters.shape[0]
        both = sums(filters, upstream, mean, deviation, *scalars)
        factor = tf.math.divide_no_nan(tf.ones_like(deviation), deviation)
        shift = tf.math.divide_no_nan(tf.math.real(both), n * deviation)
        pull = tf.math.divide_no_nan(tf.math.imag(both), max(n - 1, 1) * deviation**3)
        return combined(filters, upstream, mean, deviation, factor, shift, pull, *scalars)

    return through
