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

# Differences of float32 weights span more binades than float32 has. Those below 1 are multiplied by the first power
# of two, the others by the second, before they are rounded to float32; the two ranges of bits then meet at 1.
_SCALE_BELOW_1 = 2.0**120
_SCALE_FROM_1 = 2.0**-4
_LOWERED_BELOW_1 = 124 << 23
_KEY_OF_1 = 123 << 23


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

    Args:
        value: float64.
        dtype: float32 or float64.
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


def magnitude_keys(filters: tf.Tensor, mean: tf.Tensor) -> tf.Tensor:
    """Integers that compare as ``|w - mean|`` ranks: int32, or int64 for float64 `filters`. NaN is last.

    The difference is taken in float64, then rounded to 24 bits where weights have 32 bits or fewer, as the
    authors' float32 arithmetic rounds: weights which tie there tie here. But nothing overflows or is flushed.

    Args:
        filters: floating-point (n, filters).
        mean: float64 (filters).
    """
    difference = tf.abs(widen(filters) - mean)
    if filters.dtype == tf.float64:
        return rank_keys(difference)
    below_1 = difference < 1
    scale = tf.where(below_1, tf.constant(_SCALE_BELOW_1, tf.float64), _SCALE_FROM_1)
    rounded = tf.cast(difference * scale, tf.float32)
    return rank_keys(rounded) - tf.where(below_1, _LOWERED_BELOW_1, 0)


def magnitudes_of_keys(keys: tf.Tensor) -> tf.Tensor:
    """The magnitudes, in float64, that have the `keys` of `magnitude_keys`."""
    if keys.dtype == tf.int64:
        return values_of_rank_keys(keys, tf.float64)
    below_1 = keys < _KEY_OF_1
    rounded = tf.bitcast(keys + tf.where(below_1, _LOWERED_BELOW_1, 0), tf.float32)
    wide = tf.cast(rounded, tf.float64)
    return tf.where(below_1, wide / _SCALE_BELOW_1, wide / _SCALE_FROM_1)
