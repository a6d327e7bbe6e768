"""Keys: integers made of bit patterns that compare as weights rank, by value or by magnitude.

No value is rounded or flushed on the way to its key, and processors compare integers alike, denormal or not.

The functions are made to be traced into one XLA-compiled function.
"""

import tensorflow as tf

from larq_equalbits._ranking.columns import widen

_KEY_TYPES = {2: tf.int16, 4: tf.int32, 8: tf.int64}

_INFINITY = {
    tf.float16: 0x7C00,
    tf.bfloat16: 0x7F80,
    tf.float32: 0x7F800000,
    tf.float64: 0x7FF0000000000000,
}

# A float64 that is rounded to 24 bits loses so many of its 53; what is left counts from the key of 1.
_DROPPED_BITS = 29
_KEY_OF_1 = 1023 << 23


def magnitude(x: tf.Tensor) -> tf.Tensor:
    """|x| by its bit pattern: denormal values stay what they are."""
    integer = _KEY_TYPES[x.dtype.size]
    return tf.bitcast(tf.bitwise.bitwise_and(tf.bitcast(x, integer), integer.max), x.dtype)


def rank_keys(x: tf.Tensor) -> tf.Tensor:
    """Signed integers of the width of `x`: -0.0 and 0.0 have the key 0, all NaN have one key above infinity's."""
    integer, infinity = _KEY_TYPES[x.dtype.size], _INFINITY[x.dtype]
    bits = tf.bitcast(x, integer)
    size = tf.bitwise.bitwise_and(bits, integer.max)
    key = tf.where(bits < 0, -size, size)
    return tf.where(size > infinity, tf.constant(infinity + 1, integer), key)


def rank_keys_around(value: tf.Tensor, dtype: tf.DType) -> tuple[tf.Tensor, tf.Tensor]:
    """The keys of the largest value of type `dtype` that is at most `value`, and of the smallest that is at least that.

    The `value` is float64, the `dtype` float32 or float64.
    """
    if dtype == tf.float64:
        key = rank_keys(value)
        return key, key
    # A cast would flush what is denormal; there the key counts the smallest denormal number.
    small = tf.abs(value) < 2.0**-126
    near = tf.cast(tf.where(small, tf.zeros_like(value), value), tf.float32)
    key = rank_keys(near) - tf.cast(tf.cast(near, tf.float64) > value, tf.int32)
    counted = value * 2.0**149
    below = tf.where(small, tf.cast(tf.floor(counted), tf.int32), key)
    exact = tf.where(small, tf.equal(tf.floor(counted), counted), tf.equal(tf.cast(near, tf.float64), value))
    return below, tf.where(exact, below, below + 1)


def values_of_rank_keys(keys: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """The values of type `dtype` that have the `keys`."""
    negative = tf.bitwise.bitwise_or(-keys, keys.dtype.min)
    return tf.bitcast(tf.where(keys < 0, negative, keys), dtype)


def centred_magnitudes(filters: tf.Tensor, mean: tf.Tensor) -> tf.Tensor:
    """``|w - mean|`` in float64, rounded to 24 bits where weights have 32 bits or fewer.

    The authors' float32 arithmetic rounds so: weights which tie there tie here. But nothing overflows or is flushed.
    Of floating-point filters (n, filters), and means (filters) in float64.
    """
    difference = tf.abs(widen(filters) - mean)
    if filters.dtype == tf.float64:
        return difference
    # To the nearest, to even between two: the bits to drop carry if they are more than half, or half of an odd number.
    bits, dropped = tf.bitcast(difference, tf.int64), tf.constant(_DROPPED_BITS, tf.int64)
    odd = tf.bitwise.bitwise_and(tf.bitwise.right_shift(bits, dropped), 1)
    carried = bits + (2 ** (_DROPPED_BITS - 1) - 1) + odd
    return tf.bitcast(tf.bitwise.bitwise_and(carried, -(2**_DROPPED_BITS)), tf.float64)


def magnitude_keys(filters: tf.Tensor, mean: tf.Tensor) -> tf.Tensor:
    """Integers that compare as the `centred_magnitudes`: int32, or int64 for float64 `filters`. NaN is last."""
    magnitudes = centred_magnitudes(filters, mean)
    if filters.dtype == tf.float64:
        return rank_keys(magnitudes)
    bits = tf.bitwise.right_shift(tf.bitcast(magnitudes, tf.int64), tf.constant(_DROPPED_BITS, tf.int64))
    # Of what two weights of 32 bits can differ by, all but 0 and infinity has a key between.
    keys = tf.clip_by_value(bits - _KEY_OF_1, tf.int32.min, tf.int32.max - 1)
    return tf.where(tf.math.is_nan(magnitudes), tf.int32.max, tf.cast(keys, tf.int32))
