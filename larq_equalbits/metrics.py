"""Streaming Keras metrics of codes: the sign of quantized weights or activations (-1, +1, and 0 where pruned)."""

from typing import Any

import tensorflow as tf
from larq.utils import register_alias

from larq_equalbits._bits.counting import signs
from larq_equalbits._errors import InputError, invalid

__all__ = ["BitEntropy", "BitFlips"]
__dir__ = __all__.copy


class _CodeMetric(tf.keras.metrics.Metric):
    """A metric whose sums stay exact: float32, Keras' default, loses count after 2^24 weights."""

    def _add_count(self, name: str) -> tf.Variable:
        return self.add_weight(name, shape=(), initializer="zeros", dtype=tf.int64)


@register_alias("bit_entropy")
@tf.keras.utils.register_keras_serializable("larq_equalbits")
class BitEntropy(_CodeMetric):
    r"""Entropy in bits (0 to 1) of -1 against +1 over all values since the last reset.

    \[H = -p \log_2 p - (1-p) \log_2 (1-p), \quad p = n_+ / (n_+ + n_-)\]

    Values of 0 (pruned weights) and NaN are left out, or make a third symbol with ``zeros=True``, when the
    result reaches log2(3). Any shape; magnitudes do not matter. Counts of all replicas of a distribution
    strategy add up. No value at all gives 0.

    Args:
        zeros: whether 0 is a symbol of its own.
        name: of the metric.
        dtype: of the result.

    Examples:
        >>> metric = BitEntropy()
        >>> metric.update_state([0.01, -0.01, 100.0, -100.0])
        >>> float(metric.result())
        1.0
    """

    def __init__(self, zeros: bool = False, name: str = "bit_entropy", dtype: Any = None):
        super().__init__(name=name, dtype=dtype)
        self.zeros = zeros
        self._positive = self._add_count("positive")
        self._negative = self._add_count("negative")
        self._zero = self._add_count("zero")

    @tf.autograph.experimental.do_not_convert  # errors keep their type
    def update_state(self, values: Any, sample_weight: None = None) -> None:
        """Counts the codes of `values`; `sample_weight` must be None, as codes are counted one by one.

        Raises:
            InputError: with a `sample_weight`.
        """
        _refuse(sample_weight)
        codes = signs(tf.convert_to_tensor(values))
        for variable, code in ((self._positive, 1), (self._negative, -1), (self._zero, 0)):
            variable.assign_add(tf.math.count_nonzero(tf.equal(codes, code)))

    def result(self) -> tf.Tensor:
        """The entropy in bits."""
        counts = [self._positive, self._negative, *([self._zero] if self.zeros else [])]
        share = tf.cast(tf.stack([tf.convert_to_tensor(count) for count in counts]), tf.float64)
        share = tf.math.divide_no_nan(share, tf.reduce_sum(share))
        # log(1/2) / log(2) is exactly -1.
        bits = tf.math.xlogy(share, share) / tf.math.log(tf.constant(2.0, tf.float64))
        return tf.cast(tf.abs(tf.reduce_sum(bits)), self.dtype)

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return {**super().get_config(), "zeros": self.zeros}


@register_alias("bit_flips")
@tf.keras.utils.register_keras_serializable("larq_equalbits")
class BitFlips(_CodeMetric):
    """Share of codes that differ from those of the update before: the mean over all updates since the last reset.

    The first update ever has nothing to compare with and counts nothing. A reset starts the mean again but
    keeps the codes, as Keras resets metrics when an epoch begins: so flips between epochs are counted. Unlike
    Larq's FlipRatio the scale plays no part. Remembers one byte for each value; under a distribution
    strategy every replica compares with its own, and the counts of all add up.

    Args:
        shape: of the values, or None to take that of the first update.
        name: of the metric.
        dtype: of the result.

    Examples:
        >>> metric = BitFlips()
        >>> for values in ([1.0, -1.0], [0.01, 0.01]):
        ...     metric.update_state(values)
        >>> float(metric.result())
        0.5
    """

    def __init__(self, shape: Any = None, name: str = "bit_flips", dtype: Any = None):
        super().__init__(name=name, dtype=dtype)
        self._flips = self._add_count("flips")
        self._compared = self._add_count("compared")
        self._seen = self._memory("seen", ())
        self._previous: tf.Variable | None = None
        if shape is not None:
            self._previous = self._memory("previous", shape)

    def _memory(self, name: str, shape: Any) -> tf.Variable:
        return self.add_weight(
            name,
            shape=shape,
            initializer="zeros",
            dtype=tf.int8,
            aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
        )

    @tf.autograph.experimental.do_not_convert  # errors keep their type
    def update_state(self, values: Any, sample_weight: None = None) -> None:
        """Compares the codes of `values` with the remembered ones and remembers them.

        Raises:
            InputError: for values of another shape than before, or with a `sample_weight`.
        """
        _refuse(sample_weight)
        codes = signs(tf.convert_to_tensor(values))
        if self._previous is None:
            with tf.init_scope():
                self._previous = self._memory("previous", codes.shape)
        if not codes.shape.is_compatible_with(self._previous.shape):
            raise invalid("values", tuple(codes.shape), f"of shape {tuple(self._previous.shape)}")
        seen = tf.cast(tf.convert_to_tensor(self._seen), tf.int64)
        self._flips.assign_add(seen * tf.math.count_nonzero(tf.not_equal(codes, self._previous)))
        self._compared.assign_add(seen * tf.size(codes, tf.int64))
        self._previous.assign(codes)
        self._seen.assign(1)

    def result(self) -> tf.Tensor:
        """The mean share of flips, 0 to 1; 0 before anything was compared."""
        flips, compared = (
            tf.cast(tf.convert_to_tensor(v), tf.float64) for v in (self._flips, self._compared)
        )
        return tf.cast(tf.math.divide_no_nan(flips, compared), self.dtype)

    def reset_state(self) -> None:
        """Starts the mean again; the codes stay remembered."""
        for variable in (self._flips, self._compared):
            variable.assign(tf.zeros_like(variable))

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor; the shape once it is known."""
        shape = None if self._previous is None else tuple(self._previous.shape)
        return {**super().get_config(), "shape": shape}


def _refuse(sample_weight: Any) -> None:
    if sample_weight is not None:
        raise InputError("sample_weight must be None: codes are counted one by one.")
