"""The highest of every column by bisection of their keys: one small loop to compile, exact with ties.

A step of the loop decides one bit of every column's threshold by counting the keys that reach it.

The functions are made to be traced into one XLA-compiled function.
"""

import tensorflow as tf

from larq_equalbits._ranking.columns import count_rows

# A digit of so many bits leaves a byte room for a number below all digits, and for one above them.
_DIGIT_BITS = 7
_LOWEST_DIGIT = -64


def _bisect(
    keys: tf.Tensor, count: tf.Tensor, lowest: int, bits: int, reached: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Per column, the largest threshold that at least `count` keys reach, and how many reach it.

    Args:
        keys: integers (rows, columns), or (rows, 1) to ask several counts of one column.
        count: how many are wanted, at most `reached`.
        lowest: the lowest threshold.
        bits: the thresholds are the `lowest` and the 2^bits - 1 integers after it.
        reached: how many reach the lowest threshold.
    """
    one = tf.ones([], keys.dtype)

    def decide(bit: tf.Tensor, at: tf.Tensor, reached: tf.Tensor) -> tuple[tf.Tensor, ...]:
        # From the lowest integer on, the highest bit takes the sum around to zero.
        candidate = at + tf.bitwise.left_shift(one, tf.cast(bit, one.dtype))
        reaching = count_rows(lambda key: key >= candidate, keys)
        enough = reaching >= count
        return bit - 1, tf.where(enough, candidate, at), tf.where(enough, reaching, reached)

    start = (tf.constant(bits - 1), tf.fill(count.shape, tf.constant(lowest, keys.dtype)), reached)
    return tf.while_loop(lambda bit, *_: bit >= 0, decide, start)[1:]


def _shifts(bits: int) -> list[int]:
    """Where the digits of integers of so many bits begin, the highest first; the last two may share bits."""
    return [max(bits - _DIGIT_BITS - done, 0) for done in range(0, bits, _DIGIT_BITS)]


def highest(keys: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
    """Which are the `count` highest of every column, equal keys by row, later ones higher.

    They are compared digit by digit, first those of the keys and then those of the rows: bytes are counted several
    times faster than whole keys, and few columns need all digits.

    Args:
        keys: integers (n, columns).
        count: int32 (columns), each from 0 to n.
    """
    n = keys.shape[0]
    of_keys, of_rows = _shifts(8 * keys.dtype.size), _shifts(n.bit_length())
    shifts = tf.constant(of_keys + of_rows)
    # With the sign turned, keys compare as their bits do.
    keys = tf.bitwise.bitwise_xor(keys, keys.dtype.min)
    keys = keys if n <= keys.dtype.max else tf.cast(keys, tf.int32)
    rows = tf.cast(tf.range(n), keys.dtype)[:, tf.newaxis]

    def byte(value: int) -> tf.Tensor:
        return tf.constant(value, tf.int8)

    def going(step: tf.Tensor, digits: tf.Tensor, at: tf.Tensor, reached: tf.Tensor) -> tf.Tensor:
        return tf.reduce_any(reached > count)

    def decide(
        step: tf.Tensor, digits: tf.Tensor, at: tf.Tensor, reached: tf.Tensor
    ) -> tuple[tf.Tensor, ...]:
        number = tf.where(step < len(of_keys), keys, rows)
        shifted = tf.bitwise.right_shift(number, tf.cast(shifts[step], number.dtype))
        digit = tf.bitwise.bitwise_and(tf.cast(shifted, tf.int8), 2**_DIGIT_BITS - 1) + _LOWEST_DIGIT
        # What is decided stays below or above all digits; those that tie at the threshold compare by the next one.
        tied = tf.where(tf.equal(digits, at), digit, byte(tf.int8.min))
        digits = tf.where(digits > at, byte(tf.int8.max), tied)
        return step + 1, digits, *_bisect(digits, count, _LOWEST_DIGIT, _DIGIT_BITS, reached)

    zero = tf.zeros(count.shape, tf.int8)
    start = (tf.constant(0), tf.zeros(keys.shape, tf.int8), zero, tf.fill(count.shape, n))
    _, digits, at, _ = tf.while_loop(going, decide, start)
    return digits >= at


def kth_highest(keys: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
    """The `count`-th highest key, for each count.

    Args:
        keys: integers (n, columns), or (n, 1) to ask several counts of one column.
        count: int32 (columns), each from 1 to n.
    """
    all_keys = tf.fill(count.shape, keys.shape[0])
    return _bisect(keys, count, keys.dtype.min, 8 * keys.dtype.size, all_keys)[0]
