"""Which weights are among the largest of their filter: selection without a sort, exact with ties.

A filter is all weights that share the last index, flattened row by row; with ``granularity="layer"`` the
whole kernel is one filter. Weights rank as in ``numpy.argsort(kind="stable")``: ascending, equal values
by position with the earlier one lower, -0.0 equal to +0.0, NaN last. Everything here is a pure function
of tensors of type float16, bfloat16, float32 or float64, and never rounds or flushes a weight, because
it compares bit patterns.
"""

from decimal import Decimal
from fractions import Fraction
from typing import Any

import tensorflow as tf

from larq_equalbits.errors import InputError, invalid

GRANULARITIES = ("filter", "layer")

_KEY_TYPES = {2: tf.int16, 4: tf.int32, 8: tf.int64}
_INFINITY_BITS = {
    tf.float16: 0x7C00,
    tf.bfloat16: 0x7F80,
    tf.float32: 0x7F800000,
    tf.float64: 0x7FF0000000000000,
}


def exact_count(ratio: float, size: int) -> int:
    """ceil(ratio * size), the product taken exactly in decimal: 0.3 of 10 is 3, although 0.3 is not a double.

    Args:
        ratio: share in [0, 1], understood as its shortest decimal notation.
        size: how many there are.
    """
    return -int(-Fraction(Decimal(repr(float(ratio)))) * size // 1)


def filter_size(shape: tf.TensorShape | tuple[int, ...], granularity: str = "filter") -> int:
    """How many weights are ranked together in a kernel of `shape`.

    Raises:
        InputError: for rank 0 or 1, unknown dimensions, a filter without weights, an unknown granularity.
    """
    if granularity not in GRANULARITIES:
        raise invalid("granularity", granularity, f"one of {GRANULARITIES}")
    dimensions = tf.TensorShape(shape)
    if not dimensions.is_fully_defined():
        raise invalid("kernel", str(dimensions), "of a fully known shape")
    if dimensions.rank < 2:
        raise InputError(
            f"kernel must have rank 2 or more, (..., inputs, outputs), but got shape {dimensions.as_list()}."
        )
    size = (dimensions[:-1] if granularity == "filter" else dimensions).num_elements()
    if size == 0:
        raise InputError(f"kernel must have weights in every filter, but got shape {dimensions.as_list()}.")
    return size


def order_keys(x: tf.Tensor) -> tf.Tensor:
    """Signed integers of the width of `x` that compare as its values rank."""
    integer = _KEY_TYPES[x.dtype.size]
    bits = tf.bitcast(x, integer)
    keys = tf.where(bits < 0, tf.constant(integer.min, integer) - bits, bits)
    infinity = tf.constant(_INFINITY_BITS[x.dtype], integer)
    return tf.where((keys > infinity) | (keys < -infinity), tf.constant(integer.max, integer), keys)


def magnitude(x: tf.Tensor) -> tf.Tensor:
    """|x| by its bit pattern, so that denormal values stay what they are."""
    integer = _KEY_TYPES[x.dtype.size]
    return tf.bitcast(tf.bitwise.bitwise_and(tf.bitcast(x, integer), integer.max), x.dtype)


def _count(mask: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(tf.cast(mask, tf.int32), axis=0)


def _kth_largest(keys: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
    """The largest T of every column with at least `count` keys >= T, bit by bit from the highest."""
    integer = keys.dtype
    threshold = tf.fill(tf.shape(count), tf.constant(integer.min, integer))
    for bit in reversed(range(8 * integer.size)):
        step = integer.min if bit == 8 * integer.size - 1 else 1 << bit
        candidate = threshold + tf.constant(step, integer)
        threshold = tf.where(_count(keys >= candidate) >= count, candidate, threshold)
    return threshold


def _latest(mask: tf.Tensor, wanted: tf.Tensor) -> tf.Tensor:
    """The last `wanted` rows of `mask` in every column."""
    rows = mask.shape[0]
    position = tf.range(rows)[:, tf.newaxis]
    first = tf.zeros(tf.shape(mask)[1:], tf.int32)
    for bit in reversed(range(rows.bit_length())):
        candidate = first + (1 << bit)
        first = tf.where(_count(mask & (position >= candidate)) >= wanted, candidate, first)
    return mask & (position >= first) & (wanted > 0)


@tf.function(jit_compile=True)
def _select(values: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
    keys = order_keys(values)
    threshold = _kth_largest(keys, count)
    above = keys > threshold
    equal = keys == threshold
    wanted = count - _count(above)
    ties = tf.cond(tf.reduce_all(_count(equal) == wanted), lambda: equal, lambda: _latest(equal, wanted))
    return above | ties


def top_mask(x: Any, count: Any, granularity: str = "filter") -> tf.Tensor:
    """True for the `count` highest ranks of every filter, exactly that many.

    Args:
        x: floating-point kernel, its filters along the last axis.
        count: an integer from 0 to the size of a filter, or an int32 tensor with one for every filter.
        granularity: "filter", or "layer" to rank over the whole kernel.

    Returns:
        A boolean tensor of the shape of `x`.

    Raises:
        InputError: for rank 0 or 1, a filter without weights, an unknown granularity.
    """
    x = tf.convert_to_tensor(x)
    size = filter_size(x.shape, granularity)
    columns = x.shape[-1] if granularity == "filter" else 1
    counts = tf.broadcast_to(tf.cast(count, tf.int32), [columns])
    return tf.reshape(_select(tf.reshape(x, [size, columns]), counts), x.shape)


def top_codes(x: Any, count: Any, granularity: str = "filter") -> tf.Tensor:
    """+1 for the `count` highest ranks of every filter, -1 for the others, in the type of `x`.

    Arguments and errors are those of `top_mask`.
    """
    x = tf.convert_to_tensor(x)
    one = tf.ones([], x.dtype)
    return tf.where(top_mask(x, count, granularity), one, -one)


def split_codes(x: Any, low: Any, high: Any, granularity: str = "filter") -> tf.Tensor:
    """-1 for the `low` lowest ranks of every filter, +1 for the `high` highest, 0 between; type of `x`.

    Equal Bits prunes with ``low = int((1 - s) / 2 * n)`` and ``high = n - int((1 + s) / 2 * n)``.

    Args:
        x: floating-point kernel, its filters along the last axis.
        low: how many get -1; an integer or an int32 tensor with one for every filter.
        high: how many get +1; ``low + high`` at most the size of a filter.
        granularity: "filter", or "layer" to rank over the whole kernel.

    Raises:
        InputError: for rank 0 or 1, a filter without weights, an unknown granularity.
    """
    x = tf.convert_to_tensor(x)
    size = filter_size(x.shape, granularity)
    one = tf.ones([], x.dtype)
    above_low = tf.where(top_mask(x, size - tf.cast(low, tf.int32), granularity), tf.zeros_like(one), -one)
    return tf.where(top_mask(x, high, granularity), one, above_low)


@tf.function(jit_compile=True)
def quantiles(x: tf.Tensor, shares: tf.Tensor) -> tf.Tensor:
    """Values of `x`, all of it together, below which the given shares lie, interpolated linearly.

    Args:
        x: floating-point tensor of any shape, not empty.
        shares: float64 tensor of rank 1, each share in [0, 1].

    Returns:
        A tensor of rank 1 and the type of `x`, one value for every share.
    """
    size = x.shape.num_elements()
    place = shares * (size - 1)
    below = tf.floor(place)
    ranks = tf.cast(tf.concat([below, tf.minimum(below + 1, size - 1)], 0), tf.int32)
    keys = _kth_largest(order_keys(tf.reshape(x, [size, 1])), size - ranks)
    lower, upper = tf.split(_values(keys, x.dtype), 2)
    return lower + (upper - lower) * tf.cast(place - below, x.dtype)


def _values(keys: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    bits = tf.where(keys < 0, tf.constant(keys.dtype.min, keys.dtype) - keys, keys)
    return tf.bitcast(bits, dtype)
