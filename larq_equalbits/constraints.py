"""Constraints on latent kernels, applied by Keras after every step of the optimizer."""

from typing import Any

import ml_dtypes
import tensorflow as tf

from larq_equalbits._errors import invalid, is_number
from larq_equalbits._ranking import ranking
from larq_equalbits._ranking.compiled import by_xla
from larq_equalbits.quantizers.base import register

__all__ = ["EqualBits", "MagnitudeClip"]
__dir__ = __all__.copy


@register("equal_bits")
class EqualBits(tf.keras.constraints.Constraint):
    r"""Shifts every filter so that plain ``ste_sign`` gives the exact share of +1.

    Of the n weights of a filter, the ``ceil(positive_ratio * n)`` largest become at least 0, the others
    negative: \(w - (l + h) / 2\), where h is the smallest of the largest and l the largest of the others.
    Where that difference would round or flush to the wrong side, as for equal weights, the weight becomes
    0 or the negative number nearest to it that is not denormal. Equal weights rank by position. NaN ranks
    highest and stays NaN, and infinite weights stay infinite or become such a number; a filter is not shifted
    where the middle of l and h is not finite.

    A filter is all weights that share the last index of (height, width, in, out) or (in, out). A layer in
    mixed_float16 rounds negative weights from -2^-25 on to 0, whose code is +1, so equal weights all get +1 there.

    Args:
        positive_ratio: share of +1, a number from 0 to 1.

    Raises:
        InputError: a ratio that is not a number from 0 to 1; when called, a kernel of rank 0 or 1 or with an
            empty filter.

    Reference:
        Li et al., Equal Bits, AAAI 2022: the same codes as `bi_half`, for layers that keep `ste_sign`.

    Examples:
        >>> print(EqualBits()(tf.constant([[1.0], [2.0], [3.0], [4.0]])).numpy().ravel())
        [-1.5 -0.5  0.5  1.5]
    """

    def __init__(self, positive_ratio: float = 0.5) -> None:
        if not (is_number(positive_ratio) and 0 <= positive_ratio <= 1):
            raise invalid("positive_ratio", positive_ratio, "a number from 0 to 1")
        self.positive_ratio = float(positive_ratio)

    def __call__(self, w: tf.Tensor) -> tf.Tensor:
        """The shifted kernel."""
        w = tf.convert_to_tensor(w)
        count = ranking.exact_count(self.positive_ratio, ranking.filter_size(w.shape))
        top = ranking.top_mask(w, count)
        return _shift(w, top)

    def get_config(self) -> dict[str, Any]:
        """The arguments that make an equal constraint."""
        return {"positive_ratio": self.positive_ratio}


@by_xla
def _shift(w: tf.Tensor, top: tf.Tensor) -> tf.Tensor:
    axes = list(range(len(w.shape) - 1))
    infinity = tf.constant(float("inf"), w.dtype)
    lowest_of_top = tf.reduce_min(tf.where(top, w, infinity), axis=axes)
    highest_of_rest = tf.reduce_max(tf.where(top, -infinity, w), axis=axes)
    # One of the two is missing where the ratio rounds to all or nothing.
    low = tf.where(tf.reduce_all(top, axis=axes), lowest_of_top, highest_of_rest)
    high = tf.where(tf.reduce_any(top, axis=axes), lowest_of_top, highest_of_rest)
    middle = low / 2 + high / 2
    shifted = w - tf.where(tf.math.is_finite(middle), middle, tf.zeros_like(middle))
    smallest = tf.constant(ml_dtypes.finfo(w.dtype.as_numpy_dtype).smallest_normal, w.dtype)
    return tf.where(top, tf.maximum(shifted, tf.zeros_like(smallest)), tf.minimum(shifted, -smallest))


@register("magnitude_clip")
class MagnitudeClip(tf.keras.constraints.Constraint):
    r"""Centres every filter and clamps magnitudes to the percentiles [q, 100 - q] of the layer.

    With \(c = w - \operatorname{mean}(w)\) per filter, the weight becomes
    \(\operatorname{sign}(c) \operatorname{clip}(|c|, P_q, P_{100-q})\), where \(P\) are percentiles of \(|c|\)
    over the whole kernel, interpolated linearly between ranks. A zero stays zero.

    `percentile` stands still until `callbacks.PercentileDecay` moves it; a saved model keeps its present value.

    Args:
        percentile: q in percent, from 0 (only centres) to below 50.

    Raises:
        InputError: a percentile that is not a number from 0 to below 50; when called, a kernel of rank 0 or 1
            or with an empty filter.

    Reference:
        The authors' code of SiMaN, with q falling from 15 to 0 over training; the paper leaves this step out.

    Examples:
        >>> print(MagnitudeClip(25.0)(tf.constant([[-4.0], [-1.0], [1.0], [4.0]])).numpy().ravel())
        [-4. -1.  1.  4.]
    """

    def __init__(self, percentile: float = 15.0) -> None:
        if not (is_number(percentile) and 0 <= percentile < 50):
            raise invalid("percentile", percentile, "a number from 0 to below 50")
        self.percentile = tf.Variable(
            float(percentile), trainable=False, dtype=tf.float64, name="magnitude_clip/percentile"
        )

    def __call__(self, w: tf.Tensor) -> tf.Tensor:
        """The centred and clamped kernel."""
        w = tf.convert_to_tensor(w)
        ranking.filter_size(w.shape)
        wide = tf.cast(w, tf.float32) if w.dtype.size < 4 else w
        centred = wide - tf.reduce_mean(wide, axis=list(range(len(w.shape) - 1)))
        share = tf.convert_to_tensor(self.percentile) / 100
        magnitude = tf.abs(centred)
        low, high = tf.unstack(ranking.quantiles(magnitude, tf.stack([share, 1 - share])))
        return tf.cast(tf.sign(centred) * tf.clip_by_value(magnitude, low, high), w.dtype)

    def get_config(self) -> dict[str, Any]:
        """The arguments that make an equal constraint, with the percentile where it is now."""
        return {"percentile": float(self.percentile.numpy())}
