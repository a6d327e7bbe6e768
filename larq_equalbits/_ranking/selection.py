"""The k highest of every column without a sort: counting passes, steered by estimates that are never trusted.

A pass reads the values once and counts, for every column, those at or above two pivots. The pivots enclose
where the k-th highest is estimated to lie: from a sample of rows first, then by interpolating between pivots
whose counts are known. A poor estimate costs passes, never exactness, and every fourth pass splits the range
of keys in three, which bounds the number of passes. The last few columns are gathered.

The functions are made to be traced into one XLA-compiled function.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from larq_equalbits._ranking.columns import computed_once, fold
from larq_equalbits._ranking.orders import ByValue, Order, at_places, places

_SAMPLE_ROWS = 512
_FIRST_REACH = 0.2
# How many deviations of a rank the pivots' range reaches to either side.
_SPREAD = 1.5
# Passes over all columns; those that cannot be settled by them, because their pivots are denormal, are gathered.
_MOST_PASSES = 14
# So few columns that are not settled yet are gathered: then passes over them cost little, but to gather more would not.
_STRAGGLERS = 8
# So few columns are gathered to find the rows from which on equal weights belong to the highest.
_FEW = 32


class Cut(NamedTuple):
    """What parts the k highest of every column: all beyond `above`, and of those from `tied` on the last rows.

    Attributes:
        above: a bound of an order, beyond which all belong to the k highest.
        tied: a bound of an order, from which on all but those beyond `above` tie.
        position: the row from which on those that tie belong to the k highest.
        clean: whether, in all columns, those from `tied` on are the k highest.
    """

    above: tf.Tensor
    tied: tf.Tensor
    position: tf.Tensor
    clean: tf.Tensor


class _Bracket(NamedTuple):
    """Keys from `low` to below `high` hold the k-th highest; so many weights have keys >= `low` and >= `high`."""

    low: tf.Tensor
    high: tf.Tensor
    count_low: tf.Tensor
    count_high: tf.Tensor


def _packed_sums(
    values: tf.Tensor, first: Callable[[tf.Tensor], tf.Tensor], second: Callable[[tf.Tensor], tf.Tensor]
) -> tf.Tensor:
    """How many rows of every column are `first` and `second`: int32 (2, columns), as halves of one integer."""
    integer, half = (tf.int32, 16) if values.shape[0] < 1 << 15 else (tf.int64, 32)
    one, shifted = tf.constant(1, integer), tf.constant(1 << half, integer)
    none = tf.zeros_like(one)

    def term(rows: tf.Tensor) -> tf.Tensor:
        return tf.where(first(rows), one, none) + tf.where(second(rows), shifted, none)

    both = fold((values,), term)
    high = tf.bitwise.right_shift(both, half)
    return tf.stack([tf.cast(both - tf.bitwise.left_shift(high, half), tf.int32), tf.cast(high, tf.int32)])


def _counts(values: tf.Tensor, order: Order, pivots: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """How many weights of every column have at least each of two keys (2, columns), and where that is right."""
    (bounds,) = computed_once((order.bound(pivots),))
    marks = [lambda rows, own=bounds[i]: order.places(rows) >= own for i in range(2)]
    return _packed_sums(values, *marks), tf.ones(pivots.shape, tf.bool)


def _quick_counts(values: tf.Tensor, order: Order, pivots: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """As `_counts`, by comparing the values themselves, which is right where no bound is near 0 or beyond infinity."""
    edges, right = order.quick(order.bound(pivots))
    (edges,) = computed_once((edges,))
    marks = [lambda rows, own=edges[i]: order.passes(rows, own) for i in range(2)]
    return _packed_sums(values, *marks), right


def _settled(bracket: _Bracket, count: tf.Tensor) -> tf.Tensor:
    """Where the weights with the lower key or more are the k highest, or all between the pivots tie."""
    return tf.equal(bracket.count_low, count) | tf.equal(bracket.low + 1, bracket.high) | tf.equal(count, 0)


def _shrunk(
    bracket: _Bracket, count: tf.Tensor, pivots: tf.Tensor, counts: tf.Tensor, right: tf.Tensor
) -> _Bracket:
    """The part of the bracket, cut at the pivots whose counts are right, that holds the k-th highest."""
    done = _settled(bracket, count)
    low, high, count_low, count_high = bracket
    for i in range(2):
        raised = (counts[i] >= count) & (pivots[i] > low) & ~done & right[i]
        low, count_low = tf.where(raised, pivots[i], low), tf.where(raised, counts[i], count_low)
        lowered = (counts[i] < count) & (pivots[i] < high) & ~done & right[i]
        high, count_high = tf.where(lowered, pivots[i], high), tf.where(lowered, counts[i], count_high)
    return _Bracket(low, high, count_low, count_high)


class _Search:
    """The passes over the columns of one order, steered by a sample of the rows."""

    def __init__(self, values: tf.Tensor, order: Order, count: tf.Tensor):
        self.values, self.order, self.count = values, order, count
        rows = values.shape[0]
        sample = values[:: max(rows // _SAMPLE_ROWS, 1)]
        mean = fold((sample,), order.guides) / sample.shape[0]
        squares = fold((sample,), lambda part: (order.guides(part) - mean) ** 2)
        deviation = tf.sqrt(squares / sample.shape[0])
        self.floor, self.ceiling = mean - 6 * deviation, mean + 6 * deviation
        share = tf.cast(count, tf.float64) / rows
        start = order.estimate(mean, deviation, tf.clip_by_value(share, 1e-3, 1 - 1e-3))
        self.start, self.reach = start, _FIRST_REACH * deviation
        if sample.shape[0] < rows:
            self._refine_start(sample, share)

    def _refine_start(self, sample: tf.Tensor, share: tf.Tensor) -> None:
        rows = sample.shape[0]
        count = tf.clip_by_value(tf.cast(tf.round(share * rows), tf.int32), 1, rows)
        bracket = self.whole(rows)
        for step in range(2):
            pivots = self.pivots(tf.constant(step), bracket, count)
            bracket = _shrunk(bracket, count, pivots, *_quick_counts(sample, self.order, pivots))
        low, high = self.limits(bracket)
        inside = tf.cast(bracket.count_low - bracket.count_high, tf.float64)
        part = (tf.cast(bracket.count_low - count, tf.float64) + 0.5) / inside
        scatter = _SPREAD * tf.sqrt(rows * share * (1 - share)) + 1
        self.start, self.reach = low + part * (high - low), scatter / inside * (high - low)

    def at(self, indices: tf.Tensor, values: tf.Tensor) -> "_Search":
        """The search among some of the columns."""
        few = object.__new__(_Search)
        few.values, few.order, few.count = values, self.order, tf.gather(self.count, indices)
        few.floor, few.ceiling, few.start, few.reach = (
            tf.gather(part, indices) for part in (self.floor, self.ceiling, self.start, self.reach)
        )
        return few

    def whole(self, rows: int) -> _Bracket:
        """The bracket of all keys."""
        columns = self.count.shape[0]
        return _Bracket(
            tf.fill([columns], tf.constant(self.order.lowest, tf.int64)),
            tf.fill([columns], tf.constant(self.order.end, tf.int64)),
            tf.fill([columns], rows),
            tf.zeros([columns], tf.int32),
        )

    def limits(self, bracket: _Bracket) -> tuple[tf.Tensor, tf.Tensor]:
        """The guides between which to interpolate."""
        low, high = self.order.guide(bracket.low), self.order.guide(bracket.high)
        return tf.maximum(low, self.floor), tf.minimum(high, self.ceiling)

    def pivots(self, step: tf.Tensor, bracket: _Bracket, count: tf.Tensor) -> tf.Tensor:
        """Two keys inside the bracket that enclose where the k-th highest is estimated to lie."""
        low, high = self.limits(bracket)
        gaps = tf.cast(bracket.count_low - bracket.count_high + 1, tf.float64)
        part = (tf.cast(bracket.count_low - count, tf.float64) + 0.5) / gaps
        # Ranks scatter about the interpolated one like a binomial count.
        scatter = _SPREAD * tf.sqrt(part * (1 - part) / gaps)
        least, most = tf.maximum(part - scatter, 0), tf.minimum(part + scatter, 1)
        # Among many weights, to miss costs more than to keep a few too many.
        inner = tf.where(gaps > 32, tf.zeros_like(gaps), 0.25) * (most - least)
        estimates = low + tf.stack([least + inner, most - inner]) * (high - low)
        sampled = tf.stack([self.start - self.reach, self.start + self.reach])
        estimates = tf.where(step == 0, sampled, estimates)
        third = bracket.high // 3 - bracket.low // 3
        thirds = tf.stack([bracket.low + third, bracket.high - third])
        usable = tf.reduce_all(tf.math.is_finite(estimates), axis=0) & (step % 4 < 3)
        pivots = tf.where(usable, self.order.key(estimates), thirds)
        return computed_once((tf.clip_by_value(pivots, bracket.low + 1, bracket.high - 1),))[0]

    def unsettled(self, bracket: _Bracket) -> tf.Tensor:
        """Which columns are not settled."""
        return ~_settled(bracket, self.count)

    def passes(
        self, bracket: _Bracket, counts: Callable[..., Any], first: int, most: int, leave: int
    ) -> _Bracket:
        """Passes until no more than `leave` columns are unsettled, from step `first` to `most`."""

        def going(step: tf.Tensor, now: _Bracket) -> tf.Tensor:
            return (tf.reduce_sum(tf.cast(self.unsettled(now), tf.int32)) > leave) & (step < most)

        def narrow(step: tf.Tensor, now: _Bracket) -> tuple[tf.Tensor, _Bracket]:
            pivots = self.pivots(step, now, self.count)
            counted = counts(self.values, self.order, pivots)
            return step + 1, _shrunk(now, self.count, pivots, *counted)

        return tf.while_loop(going, narrow, (tf.constant(first), bracket))[1]

    def among_stragglers(self, bracket: _Bracket) -> _Bracket:
        """Settles the columns that are left, a few at a time, in passes over those alone."""

        def settle_few(bracket: _Bracket) -> tuple[_Bracket]:
            number = min(_STRAGGLERS, self.count.shape[0])
            indices = tf.math.top_k(tf.cast(self.unsettled(bracket), tf.int32), number).indices
            few = self.at(indices, tf.gather(self.values, indices, axis=1))
            theirs = _Bracket(*(tf.gather(part, indices) for part in bracket))
            settled = few.passes(theirs, _counts, 1, tf.int32.max, 0)
            where = [indices[:, tf.newaxis]] * 4
            pairs = zip(bracket, where, settled, strict=True)
            return (_Bracket(*(tf.tensor_scatter_nd_update(*pair) for pair in pairs)),)

        def left(bracket: _Bracket) -> tf.Tensor:
            return tf.reduce_any(self.unsettled(bracket))

        return tf.while_loop(left, settle_few, (bracket,))[0]

    def settle(self) -> _Bracket:
        """The brackets, all settled."""
        rows, columns = self.values.shape
        leave = _STRAGGLERS if columns > 2 * _FEW else 0
        return self.among_stragglers(self.passes(self.whole(rows), _quick_counts, 0, _MOST_PASSES, leave))


def _last_rows(values: tf.Tensor, order: Order, cut: Cut, wanted: tf.Tensor, among: tf.Tensor) -> tf.Tensor:
    """The row from which on so many weights as `wanted` tie at the cut, in the columns of `among`; 0 elsewhere."""
    rows = values.shape[0]

    def enough(candidate: tf.Tensor) -> tf.Tensor:
        place = order.places(values)
        tied = (place >= cut.tied) & ~(place > cut.above)
        later = tied & (tf.range(rows)[:, tf.newaxis] >= candidate)
        return tf.reduce_sum(tf.cast(later, tf.int32), axis=0) >= wanted

    def narrow(step: tf.Tensor, first: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        candidate = first + step
        return step // 2, tf.where(among & enough(candidate), candidate, first)

    step = tf.where(tf.reduce_any(among), 1 << (rows.bit_length() - 1), 0)
    return tf.while_loop(lambda step, _: step > 0, narrow, (step, tf.zeros_like(wanted)))[1]


def _positions(values: tf.Tensor, order: Order, cut: Cut, wanted: tf.Tensor, among: tf.Tensor) -> tf.Tensor:
    """`_last_rows`, of the columns that need it alone where they are few."""
    if values.shape[1] <= 2 * _FEW:
        return _last_rows(values, order, cut, wanted, among)

    def of_few() -> tf.Tensor:
        indices = tf.math.top_k(tf.cast(among, tf.int32), _FEW).indices
        above, tied, position = (tf.gather(part, indices) for part in (cut.above, cut.tied, cut.position))
        few = Cut(above, tied, position, cut.clean)
        columns = (tf.gather(values, indices, axis=1), order, few)
        found = _last_rows(*columns, tf.gather(wanted, indices), tf.gather(among, indices))
        return tf.tensor_scatter_nd_update(tf.zeros_like(wanted), indices[:, tf.newaxis], found)

    number = tf.reduce_sum(tf.cast(among, tf.int32))
    return tf.cond(
        tf.equal(number, 0),
        lambda: tf.zeros_like(wanted),
        lambda: tf.cond(number <= _FEW, of_few, lambda: _last_rows(values, order, cut, wanted, among)),
    )


def cut_of(values: tf.Tensor, count: tf.Tensor, order: Order) -> Cut:
    """What parts the `count` highest of every column from the others, equal weights by row, later ones higher.

    Args:
        values: (n, columns), floating-point or the integers of `magnitude_keys`.
        count: int32 (columns), each from 0 to n.
        order: of `values`.
    """
    bracket = _Search(values, order, count).settle()
    none = tf.equal(count, 0)
    key = tf.where(none, tf.constant(order.end, tf.int64), bracket.low)
    above, tied = computed_once((order.bound_above(key), order.bound(key)))
    among = ~none & tf.not_equal(bracket.count_low, count)
    cut = Cut(above, tied, tf.where(none, values.shape[0], 0), ~tf.reduce_any(none | among))
    position = _positions(values, order, cut, count - bracket.count_high, among)
    return cut._replace(position=computed_once((tf.maximum(cut.position, position),))[0])


def chosen_among(
    values: tf.Tensor, cut: Cut, order: Order, chosen: tf.Tensor, others: tf.Tensor
) -> tf.Tensor:
    """`chosen` for the highest that `cut` parts from the others, `others` for those."""

    def with_ties() -> tf.Tensor:
        place = order.places(values)
        late = tf.range(values.shape[0])[:, tf.newaxis] >= cut.position
        among = (place > cut.above) | ((place >= cut.tied) & late)
        return tf.where(among, chosen, others)

    return tf.cond(cut.clean, lambda: tf.where(order.places(values) >= cut.tied, chosen, others), with_ties)


def kth_highest(values: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
    """The value of the `count`-th highest of every column, for counts from 1."""
    order = ByValue(values.dtype)
    # The key may lie below that value itself, which is the least that is not below it.
    bound = order.bound(_Search(values, order, count).settle().low)

    def term(rows: tf.Tensor) -> tf.Tensor:
        place = places(rows)
        return tf.where(place >= bound, place, place.dtype.max)

    return at_places(fold((values,), term, tf.minimum, tf.reduce_min), values.dtype)
