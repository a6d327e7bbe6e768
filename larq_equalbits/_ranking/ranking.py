"""Which weights are among the largest of their filter, exact with ties: by bisection, or a sort where they are few.

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

from larq_equalbits._errors import InputError, invalid
from larq_equalbits._ranking import bisection
from larq_equalbits._ranking.compiled import FEW_WEIGHTS, by_xla
from larq_equalbits._ranking.keys import magnitude_keys, rank_keys, values_of_rank_keys

GRANULARITIES = ("filter", "layer")


def exact_count(ratio: float, size: int) -> int:
    """ceil(ratio * size), `ratio` taken as its shortest decimal: 0.3 of 10 is 3, although 0.3 is not a double."""
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


def _highest_by_sort(keys: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
    # `argsort` puts the earlier of equal keys first: the rows are reversed.
    descending = tf.argsort(tf.transpose(keys[::-1]), axis=1, direction="DESCENDING", stable=True)
    return tf.transpose(tf.argsort(descending, axis=1, stable=True))[::-1] < count


def _highest(keys: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
    few = keys.shape.num_elements() <= FEW_WEIGHTS
    return _highest_by_sort(keys, count) if few else bisection.highest(keys, count)


def _codes(highest: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    one = tf.ones([], dtype)
    return tf.where(highest, one, -one)


@by_xla
def _top_codes(values: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
    return _codes(_highest(rank_keys(values), count), values.dtype)


@by_xla
def _top_magnitude_codes(filters: tf.Tensor, mean: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
    return _codes(_highest(magnitude_keys(filters, mean), count), filters.dtype)


def top_magnitude_codes(filters: tf.Tensor, mean: tf.Tensor, count: Any) -> tf.Tensor:
    """+1 for the `count` largest ``|w - mean|`` of every filter, -1 for the others.

    The differences are rounded to the 24 bits of float32 in kernels of up to 32 bits, as the authors'
    arithmetic rounds; equal ones rank by position.

    Args:
        filters: floating-point (n, filters).
        mean: float64 (filters), as of `standardization.moments`.
        count: an integer from 0 to n, or an int32 tensor with one for every filter.
    """
    filters, count = _columns(filters, count, "filter")
    return _top_magnitude_codes(filters, mean, count)


def _columns(x: tf.Tensor, count: Any, granularity: str) -> tuple[tf.Tensor, tf.Tensor]:
    size = filter_size(x.shape, granularity)
    columns = x.shape[-1] if granularity == "filter" else 1
    return tf.reshape(x, [size, columns]), tf.broadcast_to(tf.cast(count, tf.int32), [columns])


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
    return top_codes(x, count, granularity) > 0


def top_codes(x: Any, count: Any, granularity: str = "filter") -> tf.Tensor:
    """+1 for the `count` highest ranks of every filter, -1 for the others, in the shape and type of `x`.

    The arguments and errors are those of `top_mask`.
    """
    x = tf.convert_to_tensor(x)
    return tf.reshape(_top_codes(*_columns(x, count, granularity)), x.shape)


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


@by_xla
def _kth_highest(values: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
    return values_of_rank_keys(bisection.kth_highest(rank_keys(values), count), values.dtype)


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
    both = _kth_highest(tf.reshape(x, [size, 1]), size - ranks)
    lower, upper = tf.split(both, 2)
    return lower + (upper - lower) * tf.cast(place - below, x.dtype)
