"""The highest of every column by bisection of their keys: one small loop to compile, exact with ties.

A step of the loop decides one bit of every column's threshold by counting the keys that reach it, and the loop ends
as soon as every column has its count.

The functions are made to be traced into one XLA-compiled function.
"""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from larq_equalbits._ranking.columns import fold

Number = Callable[[tf.Tensor], tf.Tensor]


def _number(marked: tf.Tensor) -> tf.Tensor:
    return tf.cast(marked, tf.int32)


class _Threshold(NamedTuple):
    """Per column: an integer, how many reach it, and how many reach the lowest one that was found too high."""

    at: tf.Tensor
    reached: tf.Tensor
    above: tf.Tensor


def _bisect(bits: int, lowest: tf.Tensor, reached: tf.Tensor, count: tf.Tensor, number: Number) -> _Threshold:
    """The largest threshold that at least `count` reach, or any that exactly `count` reach.

    Args:
        bits: of the thresholds.
        lowest: the lowest threshold, an integer without any of the bits.
        reached: how many reach that one.
        count: how many are wanted, at most `reached`.
        number: how many reach a threshold; falls as that rises.
    """
    one = tf.ones([], lowest.dtype)

    def going(bit: tf.Tensor, now: _Threshold) -> tf.Tensor:
        return (bit >= 0) & tf.reduce_any(now.reached > count)

    def decide(bit: tf.Tensor, now: _Threshold) -> tuple[tf.Tensor, _Threshold]:
        # From the lowest integer on, the highest bit takes the sum around to zero.
        candidate = now.at + tf.bitwise.left_shift(one, tf.cast(bit, one.dtype))
        reaching = number(candidate)
        enough = reaching >= count
        lower = _Threshold(now.at, now.reached, reaching)
        higher = _Threshold(candidate, reaching, now.above)
        return bit - 1, _Threshold(*(tf.where(enough, *each) for each in zip(higher, lower, strict=True)))

    start = _Threshold(lowest, reached, tf.zeros_like(count))
    return tf.while_loop(going, decide, (tf.constant(bits - 1), start))[1]


def _threshold(keys: tf.Tensor, count: tf.Tensor) -> _Threshold:
    return _bisect(
        8 * keys.dtype.size,
        tf.fill(count.shape, tf.constant(keys.dtype.min, keys.dtype)),
        tf.fill(count.shape, keys.shape[0]),
        count,
        lambda candidate: fold(lambda key: _number(key >= candidate), keys),
    )


def highest(keys: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
    """Which are the `count` highest of every column, equal keys by row, later ones higher.

    Args:
        keys: integers (n, columns).
        count: int32 (columns), each from 0 to n.
    """
    rows = tf.range(keys.shape[0])[:, tf.newaxis]
    threshold = _threshold(keys, count)
    # Where more reach the threshold than are wanted, the earliest of those that tie at it are left out. Elsewhere
    # the count is met already and all are kept; where no column has ties, the loop does not run.
    first = _bisect(
        keys.shape[0].bit_length(),
        tf.zeros_like(count),
        threshold.reached - threshold.above,
        count - threshold.above,
        lambda candidate: fold(
            lambda key, row: _number(tf.equal(key, threshold.at) & (row >= candidate)), keys, rows
        ),
    ).at
    return (keys > threshold.at) | (tf.equal(keys, threshold.at) & (rows >= first))


def kth_highest(keys: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
    """The `count`-th highest key, for each count.

    Args:
        keys: integers (n, columns), or (n, 1) to ask several counts of one column.
        count: int32 (columns), each from 1 to n.
    """
    threshold = _threshold(keys, count).at
    # Where the bisection ended early, the key itself lies above the threshold.
    return fold(
        lambda key: tf.where(key >= threshold, key, keys.dtype.max),
        keys,
        combine=tf.minimum,
        reduce=tf.reduce_min,
    )
