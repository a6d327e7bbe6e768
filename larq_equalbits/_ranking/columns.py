"""Reductions over the rows of tensors (n, columns), written as XLA computes them fast, and exact float64.

The functions are made to be traced into one XLA-compiled function.
"""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

# Slices of so many rows are added elementwise before columns are: XLA vectorizes that, but no column sum whose terms
# it computes. A loop over slices is one term to compile, and its sum stays in the cache.
_HEIGHT = 32


def widen(kernel: tf.Tensor) -> tf.Tensor:
    """The exact values in float64; a plain cast would flush the denormal ones to zero."""
    if kernel.dtype == tf.float64:
        return kernel
    single = tf.cast(kernel, tf.float32)
    bits = tf.bitcast(single, tf.int32)
    mantissa = tf.cast(tf.bitwise.bitwise_and(bits, 0x007FFFFF), tf.float64) * 2.0**-149
    denormal = tf.equal(tf.bitwise.bitwise_and(bits, 0x7F800000), 0)
    return tf.where(denormal, tf.where(bits < 0, -mantissa, mantissa), tf.cast(single, tf.float64))


def fold(
    term: Callable[..., tf.Tensor],
    *values: tf.Tensor,
    combine: Callable[[tf.Tensor, tf.Tensor], tf.Tensor] = tf.add,
    reduce: Callable[..., tf.Tensor] = tf.reduce_sum,
) -> tf.Tensor:
    """`term` of the rows of `values`, reduced over the rows."""
    rows = values[0].shape[0]
    whole = rows - rows % _HEIGHT

    def term_of(start: Any, height: int) -> tf.Tensor:
        return term(*(tf.slice(value, [start, 0], [height, value.shape[1]]) for value in values))

    if whole <= _HEIGHT:
        return reduce(term(*values), axis=0)

    def add_slice(start: tf.Tensor, partial: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return start + _HEIGHT, combine(partial, term_of(start, _HEIGHT))

    first = (tf.constant(_HEIGHT), term_of(0, _HEIGHT))
    total = reduce(tf.while_loop(lambda start, _: start < whole, add_slice, first)[1], axis=0)
    return combine(total, reduce(term_of(whole, rows - whole), axis=0)) if rows > whole else total
