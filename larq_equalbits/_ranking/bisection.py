"""The threshold that the highest of every column reach, by bisection of their keys: one small loop to compile.

A step of the loop decides one bit of every column's threshold by counting the keys that reach it, and the loop ends
as soon as every column has its count.

The functions are made to be traced into one XLA-compiled function.
"""

from typing import NamedTuple

import tensorflow as tf

from larq_equalbits._ranking.columns import fold


class Threshold(NamedTuple):
    """Per column: an integer, how many keys reach it, and how many reach the lowest one that was found too high."""

    at: tf.Tensor
    reached: tf.Tensor
    above: tf.Tensor


def threshold(keys: tf.Tensor, count: tf.Tensor) -> Threshold:
    """One that exactly `count` keys of the column reach; where equal keys prevent it, the highest that more do.

    Args:
        keys: integers (n, columns), or (n, 1) to ask several counts of one column.
        count: int32 (columns), each from 0 to n.
    """
    one = tf.ones([], keys.dtype)

    def going(bit: tf.Tensor, now: Threshold) -> tf.Tensor:
        return (bit >= 0) & tf.reduce_any(now.reached > count)

    def decide(bit: tf.Tensor, now: Threshold) -> tuple[tf.Tensor, Threshold]:
        # From the lowest integer on, the highest bit takes the sum around to zero.
        candidate = now.at + tf.bitwise.left_shift(one, tf.cast(bit, one.dtype))
        reaching = fold(lambda key: tf.cast(key >= candidate, tf.int32), keys)
        enough = reaching >= count
        lower = Threshold(now.at, now.reached, reaching)
        higher = Threshold(candidate, reaching, now.above)
        return bit - 1, Threshold(*(tf.where(enough, *each) for each in zip(higher, lower, strict=True)))

    start = Threshold(
        tf.fill(count.shape, tf.constant(keys.dtype.min, keys.dtype)),
        tf.fill(count.shape, keys.shape[0]),
        tf.zeros_like(count),
    )
    return tf.while_loop(going, decide, (tf.constant(8 * keys.dtype.size - 1), start))[1]


def kth_highest(keys: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
    """The `count`-th highest key, for each count.

    Args:
        keys: integers (n, columns), or (n, 1) to ask several counts of one column.
        count: int32 (columns), each from 1 to n.
    """
    at = threshold(keys, count).at
    # Where the bisection ended early, the key itself lies above the threshold.
    return fold(
        lambda key: tf.where(key >= at, key, keys.dtype.max),
        keys,
        combine=tf.minimum,
        reduce=tf.reduce_min,
    )
