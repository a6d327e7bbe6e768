"""The k highest of every column by bisection of their keys: as many passes as a key has bits, and little to compile."""

from collections.abc import Callable

import tensorflow as tf


def _largest(bits: int, zero: tf.Tensor, enough: Callable[[tf.Tensor], tf.Tensor]) -> tf.Tensor:
    """The largest number of so many bits, counted from `zero`, for which there is `enough`."""
    one = tf.ones([], zero.dtype)

    def narrow(bit: tf.Tensor, found: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        # From the lowest integer on, the highest bit takes the sum around to zero.
        candidate = found + tf.bitwise.left_shift(one, tf.cast(bit, zero.dtype))
        return bit - 1, tf.where(enough(candidate), candidate, found)

    return tf.while_loop(lambda bit, _: bit >= 0, narrow, (tf.constant(bits - 1), zero))[1]


def highest(keys: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
    """Which are the `count` highest of every column, equal keys by row, later ones higher.

    Args:
        keys: integers (n, columns).
        count: int32 (columns), each from 0 to n.
    """
    rows = tf.range(keys.shape[0])[:, tf.newaxis]

    def number(marked: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(tf.cast(marked, tf.int32), axis=0)

    lowest = tf.fill([keys.shape[1]], tf.constant(keys.dtype.min, keys.dtype))
    cut = _largest(8 * keys.dtype.size, lowest, lambda candidate: number(keys >= candidate) >= count)
    above, tied = keys > cut, tf.equal(keys, cut)
    wanted = count - number(above)
    first = _largest(
        keys.shape[0].bit_length(),
        tf.zeros_like(wanted),
        lambda candidate: number(tied & (rows >= candidate)) >= wanted,
    )
    return above | (tied & (rows >= first))
