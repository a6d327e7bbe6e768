"""Mean and deviation of filters (n, filters), and the gradient through filters that are standardized.

Sums run in float64, so that the answer depends neither on the order of summation nor on the device; those of
`magnitude_gradient` alone run in the type of the weights. They are taken as weights are read: no copy of a kernel in
float64 is stored. What takes many operations and is one number for each filter is computed before a program: inside it,
XLA would compute it again for every row.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from larq_equalbits._ranking.columns import fold, widen
from larq_equalbits._ranking.compiled import by_xla, traced
from larq_equalbits._ranking.keys import rank_keys, rank_keys_around


class Moments(NamedTuple):
    """Of filters, in float64: the mean, and sqrt(unbiased variance + epsilon); a single weight has variance 0."""

    mean: tf.Tensor
    deviation: tf.Tensor


@by_xla
def sums(filters: tf.Tensor) -> tf.Tensor:
    """What `moments_of` takes: of every filter the sum, and the sum of squares about the first weight."""
    first = widen(filters[0])
    # One number of two parts, because XLA would read everything twice for two sums.
    return fold(lambda rows: tf.complex(widen(rows), (widen(rows) - first) ** 2), filters)


def mean_of(sums: tf.Tensor, filters: tf.Tensor) -> tf.Tensor:
    """The mean of `filters`, also of denormal ones, from their `sums`."""
    return tf.math.real(sums) / filters.shape[0]


def moments_of(sums: tf.Tensor, filters: tf.Tensor, epsilon: float) -> Moments:
    """The moments of `filters` from their `sums`."""
    n, mean = filters.shape[0], mean_of(sums, filters)
    # Squares about the first weight: it is never so far from the mean that the difference loses the variance.
    squares = tf.maximum(tf.math.imag(sums) - n * (mean - widen(filters[0])) ** 2, 0.0)
    return Moments(mean, tf.sqrt(squares / max(n - 1, 1) + epsilon))


def moments(filters: tf.Tensor, epsilon: float) -> Moments:
    """The moments of `filters`."""
    return moments_of(sums(filters), filters, epsilon)


@by_xla
def _standardized(filters: tf.Tensor, mean: tf.Tensor, deviation: tf.Tensor) -> tf.Tensor:
    return tf.math.divide_no_nan(widen(filters) - mean, deviation)


def standardized(filters: tf.Tensor) -> tf.Tensor:
    """(w - mean) / deviation in float64; 0 for a filter of equal weights."""
    return _standardized(filters, *moments(filters, 0.0))


def gradient(slope: Callable[..., tf.Tensor]) -> Callable[..., tf.Tensor]:
    """The function of weights, of what is received, of mean, deviation and scalars that gives the gradient of weights.

    With z = (w - mean) / s, s the deviation, it takes the gradient with respect to f(z), and g is f'(z) times that:
    ``(g - mean(g) - z * sum(g * z) / (n - 1)) / s``, in the type of the weights (n, filters), computed in float64. A
    filter without deviation gets 0.

    Args:
        slope: f' of z and the scalars, in float64.
    """

    def known(filters: tf.Tensor, moments: Moments, *scalars: tf.Tensor) -> tuple[tf.Tensor, ...]:
        factor = tf.math.divide_no_nan(tf.ones_like(moments.deviation), moments.deviation)
        return factor, moments.mean, *scalars

    def parts(
        weights: tf.Tensor, received: tf.Tensor, factor: tf.Tensor, mean: tf.Tensor, *scalars: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        z = (widen(weights) - mean) * factor
        return z, widen(received) * slope(z, *scalars)

    return _through_standardization(known, parts)


def magnitude_gradient() -> Callable[..., tf.Tensor]:
    """`gradient` for f(z) = |z| in less time, for deviations that are far from denormal: float32 computes it.

    The terms g / s, whose sum it is, are rounded to float32. The sign of z is exact all the same: it comes from the
    keys of the weights. Weights of float64 stay in float64.
    """

    def known(filters: tf.Tensor, moments: Moments) -> tuple[tf.Tensor, ...]:
        dtype = tf.float64 if filters.dtype == tf.float64 else tf.float32
        mean = tf.cast(moments.mean, dtype)
        rest = tf.cast(moments.mean - tf.cast(mean, tf.float64), dtype)
        return tf.cast(1 / moments.deviation, dtype), mean, rest, *rank_keys_around(moments.mean, dtype)

    def parts(
        weights: tf.Tensor,
        received: tf.Tensor,
        factor: tf.Tensor,
        mean: tf.Tensor,
        rest: tf.Tensor,
        below: tf.Tensor,
        above: tf.Tensor,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        weights, received = tf.cast(weights, mean.dtype), tf.cast(received, mean.dtype)
        keys = rank_keys(weights)
        signed = tf.where(keys > below, received, tf.where(keys < above, -received, tf.zeros_like(received)))
        return (weights - mean - rest) * factor, signed

    return _through_standardization(known, parts)


def _through_standardization(
    known: Callable[..., Any], parts: Callable[..., Any]
) -> Callable[..., tf.Tensor]:
    """The function that `gradient` describes.

    Args:
        known: of the weights, their moments and the scalars: what `parts` needs of every filter, 1 / s first.
        parts: z and g of weights, what they receive and what is known, in the type that computes.
    """

    @by_xla
    def combined(filters: tf.Tensor, upstream: tf.Tensor, *of_filters: tf.Tensor) -> tf.Tensor:
        def both(weights: tf.Tensor, received: tf.Tensor) -> tf.Tensor:
            z, g = parts(weights, received, *of_filters)
            return tf.complex(g, g * z)

        n, total = filters.shape[0], fold(both, filters, upstream)
        shift, pull = tf.math.real(total) / n, tf.math.imag(total) / max(n - 1, 1)
        z, g = parts(filters, upstream, *of_filters)
        return tf.cast(of_filters[0] * (g - shift - pull * z), filters.dtype)

    @traced
    def through(
        filters: tf.Tensor, upstream: tf.Tensor, mean: tf.Tensor, deviation: tf.Tensor, *scalars: tf.Tensor
    ) -> tf.Tensor:
        return combined(filters, upstream, *known(filters, Moments(mean, deviation), *scalars))

    return through
