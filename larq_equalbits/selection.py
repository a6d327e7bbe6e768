"""The k-th largest of every column without a sort: counting passes, steered by estimates that are never trusted.

Columns are compared by integer keys made of the bit patterns, so that no value is rounded or flushed. A pass
reads the values once and counts, for every column, the keys at or above two pivots. Pivots come from an
estimate of where the k-th value lies: first from the moments of a sample of rows, then by interpolating
between values whose ranks are known. A poor estimate costs passes, never exactness, and every fourth pass
splits the range of keys in three, which bounds the number of passes.

The functions are made to be traced into one XLA-compiled function.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

KEY_TYPES = {2: tf.int16, 4: tf.int32, 8: tf.int64}

_INFINITY_BITS = {
    tf.float16: 0x7C00,
    tf.bfloat16: 0x7F80,
    tf.float32: 0x7F800000,
    tf.float64: 0x7FF0000000000000,
}
# Rows of so many slices are added elementwise before columns are: XLA vectorizes that, but no column sum
# whose terms it computes.
_SLICES = 16
_SAMPLE_ROWS = 256
_FIRST_REACH = 0.2
# So few columns that are not settled yet are gathered, and the passes over them cost little.
_STRAGGLERS = 32


class _Bracket(NamedTuple):
    """Keys from `low` to below `high` hold the k-th largest; so many keys are >= `low` and >= `high`."""

    low: tf.Tensor
    high: tf.Tensor
    count_low: tf.Tensor
    count_high: tf.Tensor


def order_keys(x: tf.Tensor) -> tf.Tensor:
    """Signed integers of the width of `x` that compare as its values rank: -0.0 equals 0.0, NaN is last."""
    integer = KEY_TYPES[x.dtype.size]
    bits = tf.bitcast(x, integer)
    keys = tf.where(bits < 0, tf.constant(integer.min, integer) - bits, bits)
    infinity = tf.constant(_INFINITY_BITS[x.dtype], integer)
    return tf.where((keys > infinity) | (keys < -infinity), infinity + 1, keys)


def key_values(keys: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """The values of type `dtype` whose `order_keys` are `keys`."""
    return tf.bitcast(tf.where(keys < 0, tf.constant(keys.dtype.min, keys.dtype) - keys, keys), dtype)


def _fold(
    values: tf.Tensor,
    term: Callable[[tf.Tensor], tf.Tensor],
    combine: Callable[[tf.Tensor, tf.Tensor], tf.Tensor],
    reduce: Callable[..., tf.Tensor],
) -> tf.Tensor:
    rows = values.shape[0]
    height = rows // _SLICES
    if height == 0:
        return reduce(term(values), axis=0)
    partial = term(values[:height])
    for start in range(height, _SLICES * height, height):
        partial = combine(partial, term(values[start : start + height]))
    total = reduce(partial, axis=0)
    if rows % _SLICES:
        total = combine(total, reduce(term(values[_SLICES * height :]), axis=0))
    return total


def count_at_least(values: tf.Tensor, key: tf.Tensor) -> tf.Tensor:
    """How many keys of every column are >= `key`."""

    def term(rows: tf.Tensor) -> tf.Tensor:
        return tf.cast(order_keys(rows) >= key, tf.int32)

    return _fold(values, term, tf.add, tf.reduce_sum)


def _count_at_least_two(
    values: tf.Tensor, first: tf.Tensor, second: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Counts for two pivots in one pass, as the two halves of one integer."""
    integer, half = (tf.int32, 16) if values.shape[0] < 1 << 15 else (tf.int64, 32)

    def term(rows: tf.Tensor) -> tf.Tensor:
        keys = order_keys(rows)
        return tf.cast(keys >= first, integer) + tf.cast(keys >= second, integer) * (1 << half)

    both = _fold(values, term, tf.add, tf.reduce_sum)
    high = tf.bitwise.right_shift(both, half)
    return tf.cast(both - tf.bitwise.left_shift(high, half), tf.int32), tf.cast(high, tf.int32)


def _largest_below(values: tf.Tensor, key: tf.Tensor) -> tf.Tensor:
    def term(rows: tf.Tensor) -> tf.Tensor:
        keys = order_keys(rows)
        return tf.where(keys < key, keys, keys.dtype.min)

    return _fold(values, term, tf.maximum, tf.reduce_max)


def least_at_least(values: tf.Tensor, key: tf.Tensor) -> tf.Tensor:
    """The smallest key of every column that is >= `key`."""

    def term(rows: tf.Tensor) -> tf.Tensor:
        keys = order_keys(rows)
        return tf.where(keys >= key, keys, keys.dtype.max)

    return _fold(values, term, tf.minimum, tf.reduce_min)


def _settled(bracket: _Bracket, count: tf.Tensor) -> tf.Tensor:
    """Where the k-th largest is the first or last of its bracket, or all keys of the bracket are equal."""
    first_or_last = (bracket.count_low == count) | (bracket.count_high + 1 == count)
    return first_or_last | (bracket.low + 1 == bracket.high) | (count == 0)


def _shrunk(
    bracket: _Bracket,
    count: tf.Tensor,
    first: tf.Tensor,
    second: tf.Tensor,
    counts: tuple[tf.Tensor, tf.Tensor],
) -> _Bracket:
    """The part of the bracket, cut at the pivots first <= second, that holds the k-th largest."""
    for pivot, at_least in zip((first, second), counts, strict=True):
        raised = (at_least >= count) & (pivot > bracket.low)
        lowered = (at_least < count) & (pivot < bracket.high)
        bracket = _Bracket(
            tf.where(raised, pivot, bracket.low),
            tf.where(lowered, pivot, bracket.high),
            tf.where(raised, at_least, bracket.count_low),
            tf.where(lowered, at_least, bracket.count_high),
        )
    return bracket


def _narrowing(
    values: tf.Tensor, count: tf.Tensor
) -> Callable[[tf.Tensor, _Bracket], tuple[tf.Tensor, _Bracket]]:
    """The step that shrinks the brackets by one pass over `values`."""
    rows = values.shape[0]
    real = tf.float64 if values.dtype == tf.float64 else tf.float32
    sample = tf.cast(values[:: max(rows // _SAMPLE_ROWS, 1)], real)
    mean = tf.reduce_mean(sample, axis=0)
    deviation = tf.sqrt(tf.reduce_mean((sample - mean) ** 2, axis=0))
    share = tf.cast(count, real) / rows
    start = mean - deviation * tf.math.ndtri(tf.clip_by_value(share, 1e-3, 1 - 1e-3))

    def interpolated(bracket: _Bracket) -> tuple[tf.Tensor, tf.Tensor]:
        low = tf.maximum(tf.cast(key_values(bracket.low, values.dtype), real), mean - 6 * deviation)
        high = tf.minimum(tf.cast(key_values(bracket.high, values.dtype), real), mean + 6 * deviation)
        inside = tf.cast(bracket.count_low - bracket.count_high, real)
        part = (tf.cast(bracket.count_low - count, real) + 0.5) / inside
        # Ranks scatter about the interpolated one like a binomial count. Among many, to miss costs more than
        # to keep a few too many.
        scatter = tf.sqrt(part * (1 - part) / inside)
        reach = tf.where(inside > 32, 1.5 * scatter, 0.5 * scatter)
        return low + (part - reach) * (high - low), low + (part + reach) * (high - low)

    def pivots(step: tf.Tensor, bracket: _Bracket) -> tuple[tf.Tensor, tf.Tensor]:
        first, second = interpolated(bracket)
        reach = _FIRST_REACH * deviation
        first, second = tf.where(step == 0, start - reach, first), tf.where(step == 0, start + reach, second)
        by_thirds = step % 4 == 3
        third = bracket.high // 3 - bracket.low // 3
        first = tf.where(by_thirds, bracket.low + third, order_keys(tf.cast(first, values.dtype)))
        second = tf.where(by_thirds, bracket.high - third, order_keys(tf.cast(second, values.dtype)))
        first = tf.clip_by_value(first, bracket.low + 1, bracket.high - 1)
        return first, tf.clip_by_value(second, first, bracket.high - 1)

    def narrow(step: tf.Tensor, bracket: _Bracket) -> tuple[tf.Tensor, _Bracket]:
        first, second = pivots(step, bracket)
        smaller = _shrunk(bracket, count, first, second, _count_at_least_two(values, first, second))
        done = _settled(bracket, count)
        return step + 1, _Bracket(*(tf.where(done, *pair) for pair in zip(bracket, smaller, strict=True)))

    return narrow


def _gather(columns: tf.Tensor, indices: tf.Tensor) -> tf.Tensor:
    return tf.gather(columns, indices, axis=-1)


def cut_key(values: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
    """The key of the `count`-th largest, or one between it and the next smaller; above all keys for 0.

    Args:
        values: floating-point (n, columns).
        count: int32 (columns), each from 0 to n.
    """
    rows, columns = values.shape
    infinity = tf.constant(_INFINITY_BITS[values.dtype], KEY_TYPES[values.dtype.size])
    bracket = _Bracket(
        tf.fill([columns], -infinity),
        tf.fill([columns], infinity + 2),
        tf.fill([columns], rows),
        tf.zeros([columns], tf.int32),
    )

    def passes(values: tf.Tensor, count: tf.Tensor, step: tf.Tensor, bracket: _Bracket, leave: int) -> Any:
        return tf.while_loop(
            lambda _, now: tf.reduce_sum(tf.cast(~_settled(now, count), tf.int32)) > leave,
            _narrowing(values, count),
            (step, bracket),
        )

    step = tf.constant(0)
    if columns > 2 * _STRAGGLERS:
        step, bracket = passes(values, count, step, bracket, _STRAGGLERS)
        unsettled = tf.cast(~_settled(bracket, count), tf.int32)
        indices = tf.math.top_k(unsettled, _STRAGGLERS).indices
        few = _Bracket(*(_gather(part, indices) for part in bracket))
        _, few = passes(_gather(values, indices), _gather(count, indices), step, few, 0)
        where = indices[:, tf.newaxis]
        bracket = _Bracket(
            *(tf.tensor_scatter_nd_update(*pair) for pair in zip(bracket, [where] * 4, few, strict=True))
        )
    else:
        _, bracket = passes(values, count, step, bracket, 0)
    top = tf.where(bracket.count_high + 1 == count, _largest_below(values, bracket.high), bracket.low)
    cut = tf.where(bracket.count_low == count, bracket.low, top)
    return tf.where(count == 0, infinity + 2, cut)


def latest(mask: tf.Tensor, wanted: tf.Tensor) -> tf.Tensor:
    """The last `wanted` rows of `mask` in every column."""
    rows = mask.shape[0]
    position = tf.range(rows)[:, tf.newaxis]

    def narrow(step: tf.Tensor, first: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        candidate = first + step
        enough = tf.reduce_sum(tf.cast(mask & (position >= candidate), tf.int32), axis=0) >= wanted
        return step // 2, tf.where(enough, candidate, first)

    highest = tf.constant(1 << (rows.bit_length() - 1))
    _, first = tf.while_loop(lambda step, _: step > 0, narrow, (highest, tf.zeros(wanted.shape, tf.int32)))
    return mask & (position >= first) & (wanted > 0)
