"""IR-Net: sign of standardized weights, with a gradient that sharpens over training."""

import math
from typing import Any

import tensorflow as tf

from larq_equalbits._errors import invalid
from larq_equalbits._ranking import standardization
from larq_equalbits._ranking.columns import fold, widen
from larq_equalbits._ranking.compiled import by_xla
from larq_equalbits.quantizers.base import EstimatorQuantizer, register


@by_xla
def _sign_of_centred(filters: tf.Tensor, mean: tf.Tensor) -> tf.Tensor:
    one = tf.ones([], filters.dtype)
    return tf.where(widen(filters) - mean >= 0, one, -one)


@by_xla
def _sum_of_centred_magnitudes(filters: tf.Tensor, mean: tf.Tensor) -> tf.Tensor:
    return fold(lambda rows: tf.abs(widen(rows) - mean), filters)


def _slope(z: tf.Tensor, t: tf.Tensor, k: tf.Tensor) -> tf.Tensor:
    return k * t * (1 - tf.tanh(t * z) ** 2)


_estimate = standardization.gradient(_slope)


@register("ir_net")
class IRNet(EstimatorQuantizer):
    r"""Sign of the standardized weights times a power of two (Libra parameter binarization).

    With mean m and unbiased deviation s of a filter, \(z = (w - m) / s\); the code is sign(z), +1 at zero, and
    the scale \(2^{\operatorname{round}(\log_2 \operatorname{mean} |z|)}\), which passes no gradient. The number
    of +1 is whatever sign gives.

    Gradient (error decay estimator, EDE): \(\partial q / \partial z = k t (1 - \tanh^2(t z))\), then through
    the standardization. `t` and `k` stand still until `callbacks.ErrorDecay` moves them; a saved model keeps
    their present values.

    A filter is all weights that share the last index of (height, width, in, out) or (in, out). A filter of
    equal weights gets +1, scale 1 and gradient 0, where the authors' code divides by zero.

    Args:
        t: sharpness of the estimator, a positive number.
        k: its height, a positive number; None for max(1 / t, 1).
        scale: "power_of_two", or one of the factors of `BiHalf`: None, a positive number, "fan_in", "mean_abs".
        **kwargs: `metrics` as for Larq's quantizers, and `name`.

    Raises:
        InputError: a `t` or `k` that is no positive number, an unknown scale; when called, a kernel of rank
            0 or 1 or with an empty filter.

    Reference:
        Qin et al., Forward and Backward Information Retention for Accurate Binary Neural Networks, CVPR 2020.

    Examples:
        >>> print(IRNet()(tf.constant([[-4.0], [-2.0], [2.0], [4.0]])).numpy().ravel())
        [-1. -1.  1.  1.]
    """

    def __init__(
        self,
        t: float = 0.1,
        k: float | None = None,
        scale: float | str | None = "power_of_two",
        **kwargs: Any,
    ) -> None:
        powers = isinstance(scale, str) and scale == "power_of_two"
        if isinstance(scale, str) and scale not in ("power_of_two", "fan_in", "mean_abs"):
            raise invalid(
                "scale", scale, "None, a positive number, or one of ('power_of_two', 'fan_in', 'mean_abs')"
            )
        super().__init__(t=t, k=k, scale=None if powers else scale, **kwargs)
        if powers:
            self.scale = "power_of_two"

    def codes(self, kernel: tf.Tensor) -> tf.Tensor:
        """Sign of the standardized weights."""
        t, k = tf.convert_to_tensor(self.t), tf.convert_to_tensor(self.k)

        @tf.custom_gradient
        def encode(filters: tf.Tensor) -> Any:
            moments = standardization.moments(filters, 0.0)
            codes = _sign_of_centred(filters, moments.mean)
            return codes, lambda upstream: _estimate(filters, upstream, *moments, t, k)

        return tf.reshape(encode(tf.reshape(kernel, [-1, kernel.shape[-1]])), kernel.shape)

    def kernel_scale(self, kernel: tf.Tensor) -> tf.Tensor | None:
        """The power of two nearest to the mean standardized magnitude of every filter."""
        if self.scale != "power_of_two":
            return super().kernel_scale(kernel)
        filters = tf.reshape(kernel, [-1, kernel.shape[-1]])
        mean, deviation = standardization.moments(filters, 0.0)
        size = _sum_of_centred_magnitudes(filters, mean) / filters.shape[0]
        share = tf.math.divide_no_nan(size, deviation)
        exponent = tf.where(share > 0, tf.round(tf.math.log(share) / math.log(2.0)), tf.zeros_like(share))
        return tf.cast(tf.pow(tf.constant(2.0, tf.float64), exponent), filters.dtype)
