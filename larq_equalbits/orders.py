"""Orders of the weights in a column, told apart by integers made of bit patterns: by value, and by magnitude.

A value's *place* is an integer of its own width that compares as the value ranks. An order has *keys*,
int64, one for each class of weights that tie; the weights with at least a given key are those whose place is
at or above one bound, or (by magnitude) at or below another. So a pass over the weights only ever compares
integers of their own width: no value is rounded or flushed, and nothing of the kernel's size is stored.

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
_WINDOW = 2


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


def comparable(x: tf.Tensor) -> tf.Tensor:
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

    def __init__(self, dtype: tf.DType, columns: int):
        self.dtype, self.columns = dtype, columns
        zero, infinity, _ = _places_of(dtype)
        self._zero, self._nan = tf.constant(zero, tf.int64), tf.constant(infinity + 1, tf.int64)
        self.lowest, self.end = PLACE_TYPES[dtype.size].min, infinity + 2

    def at(self, indices: tf.Tensor) -> "ByValue":
        """The order of some of the columns."""
        return ByValue(self.dtype, indices.shape[0])

    def bounds(self, key: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """The place from which weights have at least `key`, which is above -inf."""
        return (
            tf.cast(tf.where(tf.equal(key, self._zero + 1), self._zero, key), PLACE_TYPES[self.dtype.size]),
        )

    def bounds_above(self, key: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """The bounds as of `reaches` with ``strict``, beyond which weights have more than `key`."""
        last = tf.where(tf.equal(key, self._zero), self._zero + 1, key)
        highest = PLACE_TYPES[self.dtype.size].max
        return (
            tf.cast(
                tf.where(key >= self._nan, tf.constant(highest, tf.int64), last), PLACE_TYPES[self.dtype.size]
            ),
        )

    @staticmethod
    def reaches(place: tf.Tensor, bounds: tuple[tf.Tensor, ...], strict: bool = False) -> tf.Tensor:
        """Which places lie within the bounds."""
        return place > bounds[0] if strict else place >= bounds[0]

    @staticmethod
    def passes(values: tf.Tensor, edges: tuple[tf.Tensor, ...]) -> tf.Tensor:
        """As `reaches`, for values and those at the bounds."""
        return ~(values < edges[0])

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


class ByMagnitude:
    """Ascending ``|w - mean|``: the difference in float64, rounded to 24 bits where weights have 32 bits or fewer.

    A key is the bit pattern of that magnitude.

    Args:
        dtype: of the weights.
        mean: of every column, float64 and finite, so that no weight is infinite or NaN.
    """

    def __init__(self, dtype: tf.DType, mean: tf.Tensor):
        self.dtype, self.mean, self.columns = dtype, mean, mean.shape[0]
        self._dropped = 0 if dtype == tf.float64 else _DROPPED_BITS
        self.lowest, self.end = 0, (_INFINITY_BITS[tf.float64] >> self._dropped) + 1

    def at(self, indices: tf.Tensor) -> "ByMagnitude":
        """The order of some of the columns."""
        return ByMagnitude(self.dtype, tf.gather(self.mean, indices))

    def _signed_keys(self, values: tf.Tensor) -> tf.Tensor:
        difference = widen(values) - self.mean
        bits = tf.bitcast(difference, tf.int64)
        size = tf.bitwise.bitwise_and(bits, tf.int64.max)
        if self._dropped:
            odd = tf.bitwise.bitwise_and(tf.bitwise.right_shift(size, self._dropped), 1)
            size = tf.bitwise.right_shift(size + ((1 << self._dropped - 1) - 1) + odd, self._dropped)
        return tf.where(bits < 0, -size, size)

    def keys(self, values: tf.Tensor) -> tf.Tensor:
        """The keys of `values`."""
        return tf.abs(self._signed_keys(values))

    def _first_place(self, signed_key: tf.Tensor) -> tf.Tensor:
        """The smallest place whose weight lies at least `signed_key` from the mean, as int64."""
        lowest, infinity = PLACE_TYPES[self.dtype.size].min, _places_of(self.dtype)[1]

        def reached(place: tf.Tensor) -> tf.Tensor:
            return self._signed_keys(at_places(place, self.dtype)) >= signed_key

        half = tf.constant(1 << self._dropped - 1 if self._dropped else 0, tf.int64)
        bits = tf.bitwise.left_shift(tf.abs(signed_key), self._dropped) - tf.where(
            signed_key > 0, half, -half
        )
        size = tf.bitcast(bits, tf.float64)
        edge = tf.where(signed_key > 0, size, -size)
        near = tf.cast(places(tf.cast(self.mean + edge, self.dtype)), tf.int64)
        # Rounding leaves no more than these, but where a weight is tiny beside the mean.
        missed = [
            ~reached(tf.clip_by_value(near + i, lowest, infinity)) for i in range(-_WINDOW, _WINDOW + 1)
        ]
        first = near - _WINDOW + tf.add_n([tf.cast(miss, tf.int64) for miss in missed])
        found = missed[0] & ~missed[-1] & (near - _WINDOW >= lowest) & (near + _WINDOW <= infinity)
        below = tf.where(found, first - 1, tf.constant(lowest, tf.int64))
        above = tf.where(found, first, tf.constant(infinity + 1, tf.int64))

        def halve(below: tf.Tensor, above: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            odd = tf.bitwise.bitwise_and(tf.bitwise.bitwise_and(below, above), 1)
            middle = tf.bitwise.right_shift(below, 1) + tf.bitwise.right_shift(above, 1) + odd
            far = reached(middle)
            going = above > below + 1
            return tf.where(going & ~far, middle, below), tf.where(going & far, middle, above)

        return tf.while_loop(lambda below, above: tf.reduce_any(above - 1 > below), halve, (below, above))[1]

    def bounds(self, key: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """The places from which upward, and up to which, weights have at least `key`."""
        integer = PLACE_TYPES[self.dtype.size]
        first = self._first_place(tf.stack([key, 1 - key]))
        upper, lower = first[0], first[1] - 1
        return tf.cast(upper, integer), tf.cast(lower, integer)

    def bounds_above(self, key: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """The bounds as of `reaches` with ``strict``, beyond which weights have more than `key`."""
        upper, lower = self.bounds(key + 1)
        return upper - 1, lower

    @staticmethod
    def reaches(place: tf.Tensor, bounds: tuple[tf.Tensor, ...], strict: bool = False) -> tf.Tensor:
        """Which places lie within the bounds."""
        upper, lower = bounds
        return (place > upper if strict else place >= upper) | (place <= lower)

    @staticmethod
    def passes(values: tf.Tensor, edges: tuple[tf.Tensor, ...]) -> tf.Tensor:
        """As `reaches`, for values and those at the bounds."""
        return (values >= edges[0]) | (values <= edges[1])

    def guide(self, key: tf.Tensor) -> tf.Tensor:
        """What `key` is about, as a number between which one may interpolate."""
        return tf.bitcast(tf.bitwise.left_shift(key, self._dropped), tf.float64)

    def key(self, guide: tf.Tensor) -> tf.Tensor:
        """A key near `guide`."""
        return tf.bitwise.right_shift(tf.bitcast(tf.maximum(guide, 0), tf.int64), self._dropped)

    def guides(self, values: tf.Tensor) -> tf.Tensor:
        """The guides of a sample of the values."""
        return tf.abs(tf.cast(values, tf.float64) - self.mean)

    def estimate(self, mean: tf.Tensor, deviation: tf.Tensor, share: tf.Tensor) -> tf.Tensor:
        """Where the given share of magnitudes would lie above, were the weights normally distributed."""
        return -tf.sqrt(mean**2 + deviation**2) * tf.math.ndtri(share / 2)


Order = Any
