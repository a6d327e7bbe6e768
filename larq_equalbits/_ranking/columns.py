"""Reductions over the rows of tensors (n, columns), written as XLA computes them fast.

The functions are made to be traced into one XLA-compiled function.
"""

from collections.abc import Callable

import tensorflow as tf

from larq_equalbits._ranking.orders import widen

# Kernels of so few weights are not worth the time that XLA takes to compile what is fast for large ones.
SMALL_WEIGHTS = 1 << 16

# Rows of so many slices are added elementwise before columns are: XLA vectorizes that, but no column sum
# whose terms it computes.
SLICES = 8


def computed_once(bounds: tuple[tf.Tensor, ...]) -> tuple[tf.Tensor, ...]:
    """`bounds`, which XLA would otherwise compute again, with another rounding, for every row that meets them."""
    # What a loop carries is stored, even where it never runs, as here: no row is below its own reverse throughout.
    nothing = tf.reduce_all(bounds[0] < bounds[0][..., ::-1])
    once = tf.while_loop(
        lambda going, _: going,
        lambda _, carried: (tf.constant(False), tuple(bound[..., ::-1] for bound in carried)),
        (nothing, bounds),
    )
    return once[1]


def fold(
    values: tuple[tf.Tensor, ...],
    term: Callable[..., tf.Tensor],
    combine: Callable[[tf.Tensor, tf.Tensor], tf.Tensor] = tf.add,
    reduce: Callable[..., tf.Tensor] = tf.reduce_sum,
) -> tf.Tensor:
    """`term` of the rows of `values`, reduced over the rows, in slices first."""

    def term_of(start: int, end: int) -> tf.Tensor:
        return term(*(value[start:end] for value in values))

    rows = values[0].shape[0]
    height = rows // SLICES
    if height == 0 or values[0].shape.num_elements() <= SMALL_WEIGHTS:
        return reduce(term(*values), axis=0)
    partial = term_of(0, height)
    for start in range(height, SLICES * height, height):
        partial = combine(partial, term_of(start, start + height))
    total = reduce(partial, axis=0)
    if rows % SLICES:
        total = combine(total, reduce(term_of(SLICES * height, rows), axis=0))
    return total


def sum_in_float64(values: tf.Tensor, convert: Callable[[tf.Tensor], tf.Tensor] = widen) -> tf.Tensor:
    """The sum of every column, by `convert` to float64 as it is read, so that no copy of that width is stored."""
    return fold((values,), convert)
