"""Mean and deviation of filters (n, filters), and the gradient through filters that are standardized.

Sums run in float64, so that the answer depends neither on the order of summation nor on the device, and are
taken as weights are read, so that no copy of a kernel in float64 is stored.

The functions are made to be traced into one XLA-compiled function.
"""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from larq_equalbits._ranking.columns import SMALL_WEIGHTS, computed_once, fold, sum_in_float64
from larq_equalbits._ranking.orders import drowns_denormals, widen

_SAMPLE_ROWS = 512
_MUCH_LARGER_THAN_DENORMAL = 2.0**-60

Convert = Callable[[tf.Tensor], tf.Tensor]


class Moments(NamedTuple):
    """Of filters, in float64: the mean, and sqrt(unbiased variance + epsilon); a single weight has variance 0."""

    mean: tf.Tensor
    deviation: tf.Tensor


def _flushing(x: tf.Tensor) -> tf.Tensor:
    """As `widen`, but for denormal values, which may become 0."""
    return tf.cast(x, tf.float64)


def mean(filters: tf.Tensor) -> tf.Tensor:
    """The mean of every filter in float64, also of denormal weights."""
    if filters.shape.num_elements() <= SMALL_WEIGHTS:
        total = sum_in_float64(filters)
    else:
        sizes = tf.abs(_flushing(filters[:: max(filters.shape[0] // _SAMPLE_ROWS, 1)]))
        drowned = tf.reduce_all(tf.reduce_max(sizes, axis=0) > _MUCH_LARGER_THAN_DENORMAL)
        total = tf.cond(drowned, lambda: sum_in_float64(filters, _flushing), lambda: sum_in_float64(filters))
    return computed_once((total / filters.shape[0],))[0]


def moments(
    filters: tf.Tensor, epsilon: float, convert: Convert = widen, known: tf.Tensor | None = None
) -> Moments:
    """The moments of `filters`, by `convert` to float64; `known` is the mean where it is known."""
    centre = mean(filters) if known is None else known
    squares = fold((filters,), lambda rows: (convert(rows) - centre) ** 2)
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
    known: tf.Tensor | None = None,
) -> tf.Tensor:
    """What reaches `filters`, in their type, of `upstream`, the gradient with respect to f(z).

    With d = w - mean, s the deviation and z = d / s, and g = f'(z) times `upstream`:
    ``(g - mean(g)) / s - d * sum(g * d) / ((n - 1) s^3)``. A filter of equal weights without `epsilon` gets 0.

    Args:
        filters: weights (n, filters).
        upstream: of the same shape.
        epsilon: what is added to the variance.
        slope: f' of d and s, in float64; None for 1.
        known: the means of the filters, where they are known.
    """
    n = filters.shape[0]
    centre = mean(filters) if known is None else known

    def by(convert: Convert) -> tf.Tensor:
        deviation = computed_once((moments(filters, epsilon, convert, centre).deviation,))[0]

        def parts(weights: tf.Tensor, received: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            d, g = convert(weights) - centre, convert(received)
            return d, g if slope is None else g * slope(d, deviation)

        def sums(weights: tf.Tensor, received: tf.Tensor) -> tf.Tensor:
            d, g = parts(weights, received)
            # One number of two parts, because XLA would read everything twice for two sums.
            return tf.complex(g, g * d)

        both = fold((filters, upstream), sums)
        factor, shift, pull = computed_once(
            (
                tf.math.divide_no_nan(tf.ones_like(deviation), deviation),
                tf.math.divide_no_nan(tf.math.real(both), n * deviation),
                tf.math.divide_no_nan(tf.math.imag(both), max(n - 1, 1) * deviation**3),
            )
        )
        d, g = parts(filters, upstream)
        return tf.cast(factor * g - shift - pull * d, filters.dtype)

    if filters.dtype == tf.float64 or filters.shape.num_elements() <= SMALL_WEIGHTS:
        return by(widen)
    return tf.cond(drowns_denormals(centre), lambda: by(_flushing), lambda: by(widen))
