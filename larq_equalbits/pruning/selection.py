"""Which weights survive: pure functions of tensors, exact with ties.

A filter is all weights that share the last index. Counts are computed in float64 with the operations and
in the order of Python's own formulas, so a schedule that ends at 0.9 prunes the weights that a
constant 0.9 prunes.
"""

from decimal import Decimal
from fractions import Fraction
from typing import Any

import tensorflow as tf

from larq_equalbits._ranking import ranking

# Products such as 0.29 * 100 fall short of their integer by rounding.
_ROUNDING = 1e-6


def pruned_count(sparsity: Any, size: int) -> tf.Tensor:
    """int(sparsity * size) as int32, at most size - 1: something always survives."""
    product = tf.convert_to_tensor(sparsity, tf.float64) * size + _ROUNDING
    return tf.minimum(tf.cast(tf.floor(product), tf.int32), size - 1)


def rank_counts(sparsity: Any, size: int, positive_ratio: float = 0.5) -> tuple[tf.Tensor, tf.Tensor]:
    """How many of the lowest ranks get -1, and how many of the highest +1; those between are pruned.

    For a ratio of 0.5 the authors' int((1 - s) / 2 * n) and n - int((1 + s) / 2 * n), in the same floating-point
    arithmetic. For other ratios `pruned_count` zeros, and of the m survivors exactly ceil(positive_ratio * m) +1.
    """
    # A cast would take a Python number through float32, where a third of nine is less than three.
    sparsity = tf.convert_to_tensor(sparsity, tf.float64)
    if positive_ratio == 0.5:
        low = tf.floor((1.0 - sparsity) / 2.0 * size)
        start = tf.floor((1.0 + sparsity) / 2.0 * size)
        return tf.cast(low, tf.int32), size - tf.cast(start, tf.int32)
    survivors = size - pruned_count(sparsity, size)
    high = _positive_counts(survivors, positive_ratio)
    return survivors - high, high


def largest(values: tf.Tensor, sparsity: Any, scope: str) -> tf.Tensor:
    """True for all but the `pruned_count` smallest of `values` in every filter or in the whole layer."""
    size = ranking.filter_size(values.shape, scope)
    return ranking.top_mask(values, size - pruned_count(sparsity, size), scope)


def filter_means(values: tf.Tensor, filter_axes: tuple[int, ...]) -> tf.Tensor:
    """The mean of `values` over every filter, in float32, of a shape that broadcasts to the kernel's."""
    rank = len(values.shape)
    kept = {axis % rank for axis in filter_axes}
    axes = [axis for axis in range(rank) if axis not in kept]
    wide = tf.cast(values, tf.float32) if values.dtype.size < 4 else values
    return tf.reduce_mean(wide, axis=axes, keepdims=True)


def largest_filters(means: tf.Tensor, sparsity: Any) -> tf.Tensor:
    """True for all but the `pruned_count` filters of the smallest `means`, in the shape of these."""
    column = tf.reshape(means, [means.shape.num_elements(), 1])
    return tf.reshape(largest(column, sparsity, "filter"), means.shape)


def _positive_counts(survivors: tf.Tensor, positive_ratio: float) -> tf.Tensor:
    """ceil(positive_ratio * survivors), exact for ratios of up to nine decimals."""
    ratio = Fraction(Decimal(repr(float(positive_ratio)))).limit_denominator(10**9)
    product = tf.cast(survivors, tf.int64) * ratio.numerator
    return tf.cast(-(-product // ratio.denominator), tf.int32)


def survivor_codes(kernel: tf.Tensor, keep: tf.Tensor, positive_ratio: float, granularity: str) -> tf.Tensor:
    """Equal Bits among the survivors: +1 for the largest of those that `keep` names, -1 for the rest, else 0.

    Of m survivors, in a filter or the layer, exactly ceil(positive_ratio * m) get +1. The type is the
    kernel's.
    """
    axes = list(range(len(kernel.shape) - 1)) if granularity == "filter" else None
    survivors = tf.reduce_sum(tf.cast(keep, tf.int32), axis=axes)
    # Only pruned weights may lie at minus infinity, where no count reaches.
    finite = tf.maximum(kernel, tf.constant(kernel.dtype.min, kernel.dtype))
    ranked = tf.where(keep, finite, tf.constant(float("-inf"), kernel.dtype))
    top = ranking.top_mask(ranked, _positive_counts(survivors, positive_ratio), granularity)
    one = tf.ones([], kernel.dtype)
    return tf.where(keep, tf.where(top, one, -one), tf.zeros([], kernel.dtype))


def network_threshold(values: list[tf.Tensor], sparsity: Any) -> tf.Tensor:
    """The smallest of the `values` of all layers that survives, as float32."""
    column = tf.concat([tf.reshape(tf.cast(value, tf.float32), [-1, 1]) for value in values], axis=0)
    keep = largest(column, sparsity, "filter")
    return tf.reduce_min(tf.where(keep, column, tf.constant(float("inf"))))
