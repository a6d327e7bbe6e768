"""Codes, ratios, entropies and flips: what there is to see in binary weights, as plain functions.

A code is the sign of a quantized value: -1, +1, or 0 where a weight is pruned. The scale plays no part. A
filter is everything that shares the last index of (height, width, in, out) or (in, out).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from larq_equalbits._bits.entropy import entropy
from larq_equalbits._bits.kernels import QuantizedKernel
from larq_equalbits._ranking.columns import count_rows
from larq_equalbits.quantizers.siman import optimal_counts


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
        """The mean over the filters with a code that is not 0 of each one's entropy of -1 against +1: bits, 0 to 1."""
        negative = self.size - self.zero - self.positive
        base = int(self.size.max()) + 1
        pairs, occurrences = np.unique(negative.astype(np.int64) * base + self.positive, return_counts=True)
        entropies = [entropy(*divmod(pair, base)) for pair in pairs.tolist()]
        filters = np.count_nonzero(self.size - self.zero)
        return float(np.dot(entropies, occurrences) / max(filters, 1))

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
    """
    filters = tf.reshape(tf.abs(latent), [-1, latent.shape[-1]])
    return float(tf.reduce_mean(tf.cast(optimal_counts(filters), tf.float64))) / filters.shape[0]


def signs(values: tf.Tensor) -> tf.Tensor:
    """The signs of `values` as int8: -1, 0 or 1. NaN is taken for 0."""
    return tf.cast(values > 0, tf.int8) - tf.cast(values < 0, tf.int8)


@tf.function(jit_compile=True)
def _counted(values: tf.Tensor, former: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """How many codes of each filter are +1, are 0 and differ from the `former` ones, int32 (3, filters); the codes."""
    codes = signs(values)
    rows, former_rows = (tf.reshape(each, [-1, each.shape[-1]]) for each in (codes, former))
    positive = count_rows(lambda code: code > 0, rows)
    zero = count_rows(lambda code: tf.equal(code, 0), rows)
    return tf.stack([positive, zero, count_rows(tf.not_equal, rows, former_rows)]), codes


def count_codes(values: tf.Tensor) -> BitCounts:
    """The codes of `values` (any shape, filters or channels along the last axis); none counts as changed, NaN as 0."""
    axes, codes = list(range(values.shape.rank - 1)), signs(values)
    counts = [tf.math.count_nonzero(mark, axes).numpy() for mark in (codes > 0, tf.equal(codes, 0))]
    size = np.full(values.shape[-1], math.prod(values.shape[:-1]))
    return BitCounts(counts[0], counts[1], np.zeros_like(size), size)


class CodeMemory:
    """Remembers the codes of kernels on the device, one byte each, and counts what changed.

    Only the counts per filter ever reach the host.

    Args:
        kernels: what to observe. Their codes at this moment are what the first flips count against.
        slots: how many codes to remember independently.
    """

    def __init__(self, kernels: list[QuantizedKernel], slots: int = 1):
        self.kernels = kernels
        codes = [tf.zeros(kernel.variable.shape, tf.int8) for kernel in kernels]
        self._slots = [codes] * slots
        self._sizes = [
            np.full(kernel.variable.shape[-1], math.prod(kernel.variable.shape[:-1])) for kernel in kernels
        ]
        self._step = tf.function(self._observe_all)
        for slot in range(slots):
            self.observe(slot)

    def _observe_all(self, former: list[tf.Tensor]) -> list[tuple[tf.Tensor, tf.Tensor]]:
        pairs = zip(self.kernels, former, strict=True)
        return [_counted(kernel.quantized(), codes) for kernel, codes in pairs]

    def observe(self, slot: int) -> list[BitCounts]:
        """Counts the codes of every kernel now, and those that changed since the last call with this `slot`."""
        observed = self._step(self._slots[slot])
        self._slots[slot] = [codes for _, codes in observed]
        return [
            BitCounts(positive, zero, changed, size)
            for (positive, zero, changed), size in zip(
                (counts.numpy() for counts, _ in observed), self._sizes, strict=True
            )
        ]
