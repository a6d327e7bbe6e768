"""Orders of the weights in a column, told apart by integers made of bit patterns: by value, and by magnitude.

A value's *place* is an integer of its own width that compares as the value ranks. An order has *keys*,
int64, one for each class of weights that tie, and a bound for each key: the weights with at least that key are
those whose place is not below it. So no value is rounded or flushed.

The functions are made to be traced into one XLA-compiled function.
"""

from typing import Any

import tensorflow as tf

PLACE_TYPES = {2: tf.int16, 4: tf.int32, 8: tf.int64}

_INFINITY_BITS = {
    tf.float16: 0x7C00,
    tf.bfloat16: 0x7F80,
    tf.float32: 0x7F800000,
    tf.float64: 0x7FF0000000000000,
}
# Magnitudes of kernels of up to 32 bits are rounded to the 24 bits of float32.
_DROPPED_BITS = 29
# Keys of 32 bits hold the magnitudes from 2^-255 to 2^256.
_KEY_OF_ONE = 1023 << 23
_KEY_OF_ONE_BY_QUARTERS = 125 << 23


def _places_of(dtype: tf.DType) -> tuple[int, int, int]:
    """The places of -0.0 and of infinity, and how far places are shifted from the bits of positive values."""
    infinity, lowest = _INFINITY_BITS[dtype], PLACE_TYPES[dtype.size].min
    shift = lowest + infinity + 1
    return shift - 1, shift + infinity, shift


def places(x: tf.Tensor) -> tf.Tensor:
    """Signed integers of the width of `x` that compare as its values rank.

    The lowest is that of -inf. NaN of either sign lies above +inf; -0.0 is next to 0.0, where no bound parts them.
    """
    integer = PLACE_TYPES[x.dtype.size]
    bits = tf.bitcast(x, integer)
    sign = tf.bitwise.right_shift(bits, 8 * integer.size - 1)
    ascending = tf.bitwise.bitwise_xor(bits, tf.bitwise.bitwise_and(sign, integer.max))
    # The difference wraps around, which takes negative NaN from the bottom to the top.
    return ascending + tf.constant(_places_of(x.dtype)[2], integer)


def at_places(place: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """The values of type `dtype` whose `places` are `place`."""
    integer = PLACE_TYPES[dtype.size]
    ascending = tf.cast(place, integer) - tf.constant(_places_of(dtype)[2], integer)
    sign = tf.bitwise.right_shift(ascending, 8 * integer.size - 1)
    return tf.bitcast(tf.bitwise.bitwise_xor(ascending, tf.bitwise.bitwise_and(sign, integer.max)), dtype)


def rank_keys(x: tf.Tensor) -> tf.Tensor:
    """The places, where -0.0 and 0.0 share one and all NaN share one."""
    zero, infinity, _ = _places_of(x.dtype)
    place = places(x)
    return tf.minimum(
        tf.where(tf.equal(place, zero + 1), tf.constant(zero, place.dtype), place), infinity + 1
    )


def widen(kernel: tf.Tensor) -> tf.Tensor:
    """The exact values in float64; a plain cast would flush the denormal ones to zero."""
    if kernel.dtype == tf.float64:
        return kernel
    single = tf.cast(kernel, tf.float32)
    bits = tf.bitcast(single, tf.int32)
    mantissa = tf.cast(tf.bitwise.bitwise_and(bits, 0x007FFFFF), tf.float64) * 2.0**-149
    denormal = tf.equal(tf.bitwise.bitwise_and(bits, 0x7F800000), 0)
    return tf.where(denormal, tf.where(bits < 0, -mantissa, mantissa), tf.cast(single, tf.float64))


def _comparable(x: tf.Tensor) -> tf.Tensor:
    """`x` in a type that processors compare; denormal values of bfloat16, float32 and float64 compare as 0."""
    return tf.cast(x, tf.float32) if x.dtype.size < 4 else x


def is_normal(place: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """Whether comparing values with the one at `place` parts them as their places are parted."""
    zero, infinity, shift = _places_of(dtype)
    smallest = 0 if dtype == tf.float16 else 1 << {tf.bfloat16: 7, tf.float32: 23, tf.float64: 52}[dtype]
    above, below = place >= shift + smallest, place <= zero - smallest
    return (above | below) & (place <= infinity)


class ByValue:
    """Ascending values: -0.0 ties with 0.0, and all NaN tie above +inf. A key is a place.

    Attributes:
        lowest: the smallest key.
        end: one more than the largest key.
        dtype: of the values.
    """

    def __init__(self, dtype: tf.DType):
        self.dtype = dtype
        zero, infinity, _ = _places_of(dtype)
        self._zero, self._nan = tf.constant(zero, tf.int64), tf.constant(infinity + 1, tf.int64)
        self.lowest, self.end = PLACE_TYPES[dtype.size].min, infinity + 2

    def bound(self, key: tf.Tensor) -> tf.Tensor:
        """The place from which on weights have at least `key`, which is above -inf."""
        place = tf.where(tf.equal(key, self._zero + 1), self._zero, key)
        return tf.cast(place, PLACE_TYPES[self.dtype.size])

    def bound_above(self, key: tf.Tensor) -> tf.Tensor:
        """The place beyond which weights have more than `key`."""
        last = tf.where(tf.equal(key, self._zero), self._zero + 1, key)
        highest = tf.constant(PLACE_TYPES[self.dtype.size].max, tf.int64)
        return tf.cast(tf.where(key >= self._nan, highest, last), PLACE_TYPES[self.dtype.size])

    def places(self, values: tf.Tensor) -> tf.Tensor:
        """What is compared with a bound."""
        return places(values)

    def quick(self, bound: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The values at the bound, for `passes`, and where that is right: not near 0, nor beyond infinity."""
        return _comparable(at_places(bound, self.dtype)), is_normal(bound, self.dtype)

    @staticmethod
    def passes(values: tf.Tensor, edge: tf.Tensor) -> tf.Tensor:
        """Which values reach the bound, by comparing the values themselves."""
        return ~(_comparable(values) < edge)

    def keys(self, values: tf.Tensor) -> tf.Tensor:
        """The keys of `values`."""
        return tf.cast(rank_keys(values), tf.int64)

    def guide(self, key: tf.Tensor) -> tf.Tensor:
        """What `key` is about, as a number between which one may interpolate."""
        return widen(at_places(key, self.dtype))

    def key(self, guide: tf.Tensor) -> tf.Tensor:
        """A key near `guide`."""
        return self.keys(tf.cast(guide, self.dtype))

    def guides(self, values: tf.Tensor) -> tf.Tensor:
        """The guides of a sample of the values."""
        return tf.cast(values, tf.float64)

    def estimate(self, mean: tf.Tensor, deviation: tf.Tensor, share: tf.Tensor) -> tf.Tensor:
        """Where the given share of weights would lie above, were they normally distributed."""
        return mean - deviation * tf.math.ndtri(share)


def drowns_denormals(mean: tf.Tensor) -> tf.Tensor:
    """Whether float64 differences of float32 weights from these finite means are the same with denormals as zero.

    A weight within a factor of two of such a mean is exactly it, or a multiple of 2^-112 away.
    """
    return tf.reduce_all((tf.abs(mean) > 2.0**-60) & (tf.abs(mean) <= tf.float32.max))


def _rounded_by_processor(filters: tf.Tensor, mean: tf.Tensor) -> tf.Tensor:
    """The keys where no difference, after a quarter of it is taken, overflows float32 or is denormal in it."""
    quarter = tf.cast(tf.abs(tf.cast(filters, tf.float64) - mean) * 0.25, tf.float32)
    return tf.bitcast(quarter, tf.int32) - _KEY_OF_ONE_BY_QUARTERS


def _rounded_by_bits(bits: tf.Tensor) -> tf.Tensor:
    """The keys of float64 differences, none too large or small, and NaN last."""
    odd = tf.bitwise.bitwise_and(tf.bitwise.right_shift(bits, _DROPPED_BITS), 1)
    key = tf.bitwise.right_shift(bits + ((1 << _DROPPED_BITS - 1) - 1) + odd, _DROPPED_BITS) - _KEY_OF_ONE
    key = tf.clip_by_value(key, tf.int32.min, tf.int32.max - 1)
    nan = bits > _INFINITY_BITS[tf.float64]
    return tf.cast(tf.where(nan, tf.constant(tf.int32.max, tf.int64), key), tf.int32)


def magnitude_keys(filters: tf.Tensor, mean: tf.Tensor) -> tf.Tensor:
    """Integers that compare as ``|w - mean|`` ranks: int32, or int64 for float64 `filters`. NaN is last.

    The difference is taken in float64, then rounded to 24 bits where weights have 32 bits or fewer, as the
    authors' float32 arithmetic rounds, so that weights which tie there tie here; but nothing overflows or is
    flushed, because the keys are made of bits.
    """

    def bits() -> tf.Tensor:
        return tf.bitwise.bitwise_and(tf.bitcast(widen(filters) - mean, tf.int64), tf.int64.max)

    if filters.dtype == tf.float64:
        return tf.minimum(bits(), _INFINITY_BITS[tf.float64] + 1)
    return tf.cond(
        drowns_denormals(mean), lambda: _rounded_by_processor(filters, mean), lambda: _rounded_by_bits(bits())
    )


class ByKey:
    """Ascending integers as `magnitude_keys` makes them. A key is the integer.

    Attributes:
        lowest: the smallest key.
        end: one more than the largest key.
        dtype: of the integers.
    """

    def __init__(self, dtype: tf.DType):
        self.dtype = dtype
        wide = dtype == tf.int64
        self._offset, self._dropped = (0, 0) if wide else (_KEY_OF_ONE, _DROPPED_BITS)
        self.lowest: int
        self.end: int
        self.lowest, self.end = (0, _INFINITY_BITS[tf.float64] + 2) if wide else (dtype.min, dtype.max + 1)

    def bound(self, key: tf.Tensor) -> tf.Tensor:
        """The integer from which on they have at least `key`."""
        return tf.cast(tf.clip_by_value(key, self.dtype.min, self.dtype.max), self.dtype)

    def bound_above(self, key: tf.Tensor) -> tf.Tensor:
        """The integer beyond which they have more than `key`."""
        return self.bound(key)

    def places(self, values: tf.Tensor) -> tf.Tensor:
        """What is compared with a bound: the integers themselves."""
        return values

    def quick(self, bound: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """What `passes` compares with, and where that is right: everywhere."""
        return bound, tf.ones(bound.shape, tf.bool)

    @staticmethod
    def passes(values: tf.Tensor, edge: tf.Tensor) -> tf.Tensor:
        """Which integers reach the bound."""
        return values >= edge

    def guide(self, key: tf.Tensor) -> tf.Tensor:
        """The magnitude that `key` stands for."""
        bits = tf.bitwise.left_shift(tf.cast(key, tf.int64) + self._offset, self._dropped)
        return tf.bitcast(tf.minimum(bits, _INFINITY_BITS[tf.float64]), tf.float64)

    def key(self, guide: tf.Tensor) -> tf.Tensor:
        """A key near the magnitude `guide`."""
        return (
            tf.bitwise.right_shift(tf.bitcast(tf.maximum(guide, 0), tf.int64), self._dropped) - self._offset
        )

    def guides(self, values: tf.Tensor) -> tf.Tensor:
        """The magnitudes of a sample."""
        return self.guide(values)

    def estimate(self, mean: tf.Tensor, deviation: tf.Tensor, share: tf.Tensor) -> tf.Tensor:
        """Where the given share of magnitudes would lie above, were the weights normally distributed."""
        return -tf.sqrt(mean**2 + deviation**2) * tf.math.ndtri(share / 2)


Order = Any
