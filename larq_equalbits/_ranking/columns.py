"""Reductions over the rows of tensors (n, columns), written as XLA computes them fast, and exact float64.

The functions are made to be traced into one XLA-compiled function.
"""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

# Slices of so many elements are added elementwise before columns are: XLA vectorizes that, but no column sum whose
# terms it computes. A loop over slices is one term to compile, and its sum stays in the cache.
_SLICE = 1 << 12

# Slices of marks have so many rows, or as many more as keep the marks of all slices within a byte.
_MARKS_HEIGHT = 64


def widen(kernel: tf.Tensor) -> tf.Tensor:
    """The exact values in float64; a plain cast would flush the denormal ones to zero."""
    if kernel.dtype == tf.float64:
        return kernel
    single = tf.cast(kernel, tf.float32)
    bits = tf.bitcast(single, tf.int32)
    mantissa = tf.bitwise.bitwise_and(bits, 0x007FFFFF)
    counted = tf.cast(tf.where(bits < 0, -mantissa, mantissa), tf.float64) * 2.0**-149
    denormal = tf.equal(tf.bitwise.bitwise_and(bits, 0x7F800000), 0)
    return tf.where(denormal, counted, tf.cast(single, tf.float64))


def fold(
    term: Callable[..., tf.Tensor],
    *values: tf.Tensor,
    reduce: Callable[..., tf.Tensor] = tf.reduce_sum,
    height: int | None = None,
) -> tf.Tensor:
    """`term` of the rows of `values`, summed: slices of `height` rows are added, then `reduce` sums their rows."""
    rows, columns = values[0].shape
    height = height or -(-_SLICE // columns)
    whole = rows - rows % height

    def term_of(start: Any, count: int) -> tf.Tensor:
        return term(*(tf.slice(value, [start, 0], [count, value.shape[1]]) for value in values))

    # A GPU adds the terms of columns as fast as it reads them, and a loop there is a launch for each slice.
    if whole <= height or tf.config.list_logical_devices("GPU"):
        return reduce(term(*values), axis=0)

    def add_slice(start: tf.Tensor, partial: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return start + height, partial + term_of(start, height)

    first = (tf.constant(height), term_of(0, height))
    total = reduce(tf.while_loop(lambda start, _: start < whole, add_slice, first)[1], axis=0)
    return total + reduce(term_of(whole, rows - whole), axis=0) if rows > whole else total


def count_rows(mark: Callable[..., tf.Tensor], *values: tf.Tensor) -> tf.Tensor:
    """In how many rows of `values` there is a `mark`, int32 for every column. Bytes count several times faster."""
    return fold(
        lambda *rows: tf.cast(mark(*rows), tf.int8),
        *values,
        reduce=lambda marks, axis: tf.reduce_sum(tf.cast(marks, tf.int32), axis=axis),
        height=max(_MARKS_HEIGHT, -(-values[0].shape[0] // tf.int8.max)),
    )
