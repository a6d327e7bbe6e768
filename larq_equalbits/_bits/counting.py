"""Codes, ratios, entropies and flips: what there is to see in binary weights, as plain functions.

A code is the sign of a quantized value: -1, +1, or 0 where a weight is pruned. The scale plays no part. A
filter is everything that shares the last index of (height, width, in, out) or (in, out).
"""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from larq_equalbits._bits.kernels import QuantizedKernel
from larq_equalbits._ranking.columns import SLICES, fold
from larq_equalbits.quantizers.siman import optimal_counts

_BITS_PER_CODE = 2
_CODE_MASK = 3
# The place of the codes that the last observation replaced, behind those of the two slots.
_FORMER = 2
_MOST_PACKED = 1023


def entropy(*counts: float) -> float:
    """The entropy in bits of a distribution over symbols: ``-sum(p * log2(p))`` with ``p = count / total``.

    Two equal counts give exactly 1.0; no observation at all gives 0.0.

    Args:
        counts: how often each symbol occurred, each at least 0.

    >>> entropy(8, 8), entropy(16, 0), round(entropy(4, 12), 4)
    (1.0, 0.0, 0.8113)
    """
    total = sum(counts)
    return abs(sum(n / total * math.log2(total / n) for n in counts if n)) if total else 0.0


@dataclass(frozen=True)
class BitCounts:
    """How often each code occurs in every filter of a kernel, and how many codes changed.

    Attributes:
        positive: the number of +1 in each filter, shape (filters,).
        zero: the number of 0 in each filter, shape (filters,).
        changed: the number of codes in each filter that differ from the previous observation,
            shape (filters,).
        size: the number of weights in each filter, shape (filters,).
    """

    positive: np.ndarray
    zero: np.ndarray
    changed: np.ndarray
    size: np.ndarray

    @property
    def _totals(self) -> tuple[int, int, int]:
        positive, zero = int(self.positive.sum()), int(self.zero.sum())
        return positive, int(self.size.sum()) - zero - positive, zero

    @property
    def positive_ratio(self) -> float:
        """The share of +1 among the codes that are not 0 (0.0 where all are)."""
        positive, negative, _ = self._totals
        return positive / max(positive + negative, 1)

    @property
    def bit_entropy(self) -> float:
        """The entropy of -1 against +1 among the codes that are not 0: bits, 0 to 1."""
        positive, negative, _ = self._totals
        return entropy(negative, positive)

    @property
    def filter_entropy(self) -> float:
        """The mean over the filters of each filter's own entropy of -1 against +1: bits, 0 to 1."""
        negative = self.size - self.zero - self.positive
        base = int(self.size.max()) + 1
        pairs, occurrences = np.unique(negative.astype(np.int64) * base + self.positive, return_counts=True)
        entropies = [entropy(*divmod(pair, base)) for pair in pairs.tolist()]
        return float(np.dot(entropies, occurrences) / len(self.size))

    @property
    def sparsity(self) -> float:
        """The share of 0 among all codes."""
        return self._totals[2] / int(self.size.sum())

    @property
    def symbol_entropy(self) -> float:
        """The entropy of the three symbols -1, 0 and +1: bits, 0 to log2(3)."""
        positive, negative, zero = self._totals
        return entropy(negative, zero, positive)

    @property
    def bit_flips(self) -> float:
        """The share of codes that changed since the previous observation."""
        return int(self.changed.sum()) / int(self.size.sum())


def total(counts: Sequence[BitCounts]) -> BitCounts:
    """The counts of the filters of all of `counts`."""
    fields = zip(*(vars(each).values() for each in counts), strict=True)
    return BitCounts(*(np.concatenate(field) for field in fields))


def optimal_ratio(latent: tf.Tensor) -> float:
    """The mean over the filters of the share k/n of +1 that is best by SiMaN's Corollary 1.

    In each filter of n weights, k maximises ``sum of the k largest magnitudes / sqrt(k)``; the magnitudes
    are taken as they are, not centred. About 0.37 for Laplacian and 0.54 for Gaussian weights.

    Args:
        latent: latent weights, filters along the last axis.
    """
    filters = tf.reshape(tf.abs(latent), [-1, latent.shape[-1]])
    return float(tf.reduce_mean(tf.cast(optimal_counts(filters), tf.float64))) / filters.shape[0]


def _symbols(values: tf.Tensor) -> tf.Tensor:
    """Codes plus one, as uint8: 0, 1 or 2. NaN is taken for 0."""
    positive, negative = tf.cast(values > 0, tf.uint8), tf.cast(values < 0, tf.uint8)
    return tf.constant(1, tf.uint8) + positive - negative


def _unpacked_sums(packed: tf.Tensor, axis: int) -> tf.Tensor:
    """The sums over the rows of three fields of ten bits, none above SLICES: int32 of shape (3, columns).

    The rows are first summed in groups that cannot overflow the fields.
    """
    rows, columns = packed.shape
    group = max(size for size in range(1, _MOST_PACKED // SLICES + 1) if rows % size == 0)
    sums = tf.reduce_sum(tf.reshape(packed, [rows // group, group, columns]), axis=1)
    fields = [tf.bitwise.bitwise_and(tf.bitwise.right_shift(sums, 10 * i), _MOST_PACKED) for i in range(3)]
    return tf.stack([tf.reduce_sum(field, axis=axis) for field in fields])


def _shift(place: int) -> tf.Tensor:
    return tf.constant(_BITS_PER_CODE * place, tf.uint8)


def _at(memory: tf.Tensor, place: int) -> tf.Tensor:
    return tf.bitwise.bitwise_and(
        tf.bitwise.right_shift(memory, _shift(place)), tf.constant(_CODE_MASK, tf.uint8)
    )


@tf.function(jit_compile=True)
def _stored(values: tf.Tensor, memory: tf.Tensor, slot: int) -> tf.Tensor:
    """`memory` with the codes of `values` in `slot`, and those that were there in the place for former ones."""
    others = 0xFF
    for place in (slot, _FORMER):
        others ^= _CODE_MASK << _BITS_PER_CODE * place
    parts = [
        tf.bitwise.bitwise_and(memory, tf.constant(others, tf.uint8)),
        tf.bitwise.left_shift(_at(memory, slot), _shift(_FORMER)),
        tf.bitwise.left_shift(_symbols(values), _shift(slot)),
    ]
    return functools.reduce(tf.bitwise.bitwise_or, parts)


@tf.function(jit_compile=True)
def _counted(memory: tf.Tensor, slot: int) -> tf.Tensor:
    """How many codes of `slot` are +1, are 0 and differ from the former ones, in every filter: int32 (3, filters).

    A function of its own, so that it reads bytes: XLA would read the values once more for every result.
    """

    def packed(rows: tf.Tensor) -> tf.Tensor:
        symbols, former = _at(rows, slot), _at(rows, _FORMER)
        marks = (symbols > 1, tf.equal(symbols, 1), tf.not_equal(symbols, former))
        return sum(tf.cast(mark, tf.int32) * (1 << 10 * field) for field, mark in enumerate(marks))

    return fold((tf.reshape(memory, [-1, memory.shape[-1]]),), packed, reduce=_unpacked_sums)


def count_codes(values: tf.Tensor) -> BitCounts:
    """The codes of `values` (any shape, filters or channels along the last axis); none counts as changed, NaN as 0."""
    axes, symbols = list(range(values.shape.rank - 1)), _symbols(values)
    counts = [tf.math.count_nonzero(mark, axes).numpy() for mark in (symbols > 1, tf.equal(symbols, 1))]
    size = np.full(values.shape[-1], math.prod(values.shape[:-1]))
    return BitCounts(counts[0], counts[1], np.zeros_like(size), size)


class CodeMemory:
    """Remembers the codes of kernels on the device and counts what changed.

    Costs one byte per observed weight, which holds a remembered code of two bits for each of two slots, and the one
    before the last observation. Only the counts per filter ever reach the host.

    Args:
        kernels: what to observe. Their codes at this moment are what the first flips count against.
        slots: how many codes to remember independently, 1 or 2.
    """

    def __init__(self, kernels: list[QuantizedKernel], slots: int = 1):
        self.kernels = kernels
        self._memories = [tf.zeros(kernel.variable.shape, tf.uint8) for kernel in kernels]
        self._sizes = [
            np.full(kernel.variable.shape[-1], math.prod(kernel.variable.shape[:-1])) for kernel in kernels
        ]
        self._step = tf.function(self._observe_all)
        for slot in range(slots):
            self.observe(slot)

    def _observe_all(self, memories: list[tf.Tensor], slot: int) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
        stored = [
            _stored(kernel.signs(), memory, slot)
            for kernel, memory in zip(self.kernels, memories, strict=True)
        ]
        return [_counted(memory, slot) for memory in stored], stored

    def observe(self, slot: int) -> list[BitCounts]:
        """Counts the codes of every kernel now, and those that changed since the last call with this `slot`.

        Args:
            slot: which of the remembered codes to compare with and to replace, from 0.
        """
        counts, self._memories = self._step(self._memories, slot)
        return [
            BitCounts(positive, zero, changed, size)
            for (positive, zero, changed), size in zip(map(np.asarray, counts), self._sizes, strict=True)
        ]
