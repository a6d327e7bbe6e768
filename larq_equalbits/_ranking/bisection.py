"""The highest of every column by bisection of their keys: one small loop to compile, exact with ties.

A step of the loop decides one bit of every column's threshold by counting the keys that reach it, and the loop ends
as soon as every column has its count.

The functions are made to be traced into one XLA-compiled function.
"""

from typing import Any

import tensorflow as tf

from larq_equalbits._ranking.columns import fold

# Marks of so many rows are added as bytes before groups of rows are: XLA vectorizes that. Bytes have room for 127 rows,
# but more than 32 it adds one by one.
_GROUP = 32


def _filled(keys: tf.Tensor) -> tf.Tensor:
    """`keys`, of a type that numbers rows, with rows of lowest keys, which no threshold counts, up to whole groups."""
    keys = keys if keys.shape[0] <= keys.dtype.max else tf.cast(keys, tf.int32)
    return tf.pad(keys, [[0, -keys.shape[0] % _GROUP], [0, 0]], constant_values=keys.dtype.min)


def _reaching(keys: tf.Tensor, threshold: tf.Tensor) -> tf.Tensor:
    """How many keys of every column reach its threshold; of one column, how many reach each."""
    if keys.shape[1] == 1:
        return fold(lambda key: tf.cast(key >= threshold, tf.int32), keys)
    marked = tf.reshape(keys, [-1, _GROUP, keys.shape[1]]) >= threshold
    groups = tf.reduce_sum(tf.cast(marked, tf.int8), axis=1)
    return tf.reduce_sum(tf.cast(groups, tf.int32), axis=0)


def _bisect(
    keys: tf.Tensor, count: tf.Tensor, lowest: Any, bits: Any, reached: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Per column, the largest threshold that at least `count` keys reach, or any that exactly `count` reach; how many.

    Args:
        keys: integers (rows, columns), or (rows, 1) to ask several counts of one column.
        count: how many are wanted, at most `reached`.
        lowest: the lowest threshold, an integer without any of the `bits` that are to be decided.
        bits: how many bits of the thresholds are to be decided.
        reached: how many reach the lowest threshold.
    """
    one = tf.ones([], keys.dtype)

    def going(bit: tf.Tensor, at: tf.Tensor, reached: tf.Tensor) -> tf.Tensor:
        return (bit >= 0) & tf.reduce_any(reached > count)

    def decide(bit: tf.Tensor, at: tf.Tensor, reached: tf.Tensor) -> tuple[tf.Tensor, ...]:
        # From the lowest integer on, the highest bit takes the sum around to zero.
        candidate = at + tf.bitwise.left_shift(one, tf.cast(bit, one.dtype))
        reaching = _reaching(keys, candidate)
        enough = reaching >= count
        return bit - 1, tf.where(enough, candidate, at), tf.where(enough, reaching, reached)

    start = (tf.convert_to_tensor(bits) - 1, tf.fill(count.shape, lowest), reached)
    return tf.while_loop(going, decide, start)[1:]


def highest(keys: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
    """Which are the `count` highest of every column, equal keys by row, later ones higher.

    Args:
        keys: integers (n, columns).
        count: int32 (columns), each from 0 to n.
    """
    n, bits = keys.shape[0], 8 * keys.dtype.size
    lowest = keys.dtype.min
    keys = _filled(keys)
    rows = tf.pad(tf.range(n), [[0, keys.shape[0] - n]], constant_values=-1)
    rows = tf.cast(rows, keys.dtype)[:, tf.newaxis]

    def going(keys: tf.Tensor, lowest: tf.Tensor, bits: tf.Tensor, reached: tf.Tensor) -> tf.Tensor:
        return tf.reduce_any(reached > count)

    def decide(
        keys: tf.Tensor, lowest: tf.Tensor, bits: tf.Tensor, reached: tf.Tensor
    ) -> tuple[tf.Tensor, ...]:
        at, reached = _bisect(keys, count, lowest, bits, reached)
        # Keys of a second round, where more reach a threshold than are wanted: those that tie at it compare by row.
        by_row = tf.where(tf.equal(keys, at), rows, -tf.ones_like(rows))
        keys = tf.where(keys > at, tf.constant(n, keys.dtype), by_row)
        return keys, tf.zeros_like(lowest), tf.constant(n.bit_length()), reached

    start = (keys, tf.constant(lowest, keys.dtype), tf.constant(bits), tf.fill(count.shape, n))
    keys, lowest, _, _ = tf.while_loop(going, decide, start)
    return keys[:n] >= lowest


def kth_highest(keys: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
    """The `count`-th highest key, for each count.

    Args:
        keys: integers (n, columns), or (n, 1) to ask several counts of one column.
        count: int32 (columns), each from 1 to n.
    """
    filled = _filled(keys)
    lowest = tf.constant(keys.dtype.min, filled.dtype)
    threshold, _ = _bisect(filled, count, lowest, 8 * keys.dtype.size, tf.fill(count.shape, keys.shape[0]))
    # Where the bisection ended early, the key itself lies above the threshold.
    at = tf.cast(threshold, keys.dtype)
    return fold(
        lambda key: tf.where(key >= at, key, keys.dtype.max),
        keys,
        combine=tf.minimum,
        reduce=tf.reduce_min,
    )
