"""Larq's two signs of activations with the gradient in fewer passes: the same codes, the same numbers, less time."""

from typing import Any

import larq
import tensorflow as tf

from larq_equalbits._ranking.compiled import in_one_pass
from larq_equalbits.quantizers.base import register


def _within(x: tf.Tensor, upstream: tf.Tensor, clip: tf.Tensor) -> tf.Tensor:
    return tf.where(tf.abs(x) <= clip, upstream, tf.zeros([], upstream.dtype))


def _triangle(x: tf.Tensor, upstream: tf.Tensor) -> tf.Tensor:
    return upstream * tf.maximum(2 - 2 * tf.abs(x), 0)


@register("fast_ste_sign")
class FastSteSign(larq.quantizers.SteSign):
    r"""Larq's ``ste_sign``: +1 where x is at least 0, else -1.

    The gradient passes where \(|x|\) is at most `clip_value`, everywhere if that is None. XLA makes one pass
    over the activations of it.

    Takes the arguments of Larq's quantizer:

    - clip_value: where the gradient ends, a positive number, or None.
    - **kwargs: those of a Larq quantizer.

    Examples:
        >>> x = tf.Variable([-0.5, 0.0, 2.0])
        >>> with tf.GradientTape() as tape:
        ...     y = FastSteSign()(x)
        >>> print(y.numpy(), tape.gradient(y, x).numpy())
        [-1.  1.  1.] [1. 1. 0.]
    """

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """The signs, in the shape and type of `inputs`."""
        clip = self.clip_value

        @tf.custom_gradient
        def sign(x: tf.Tensor) -> Any:
            def gradient(upstream: tf.Tensor) -> tf.Tensor:
                return (
                    upstream
                    if clip is None
                    else in_one_pass(_within, x, upstream, tf.constant(clip, x.dtype))
                )

            return larq.math.sign(x), gradient

        return super(larq.quantizers.SteSign, self).call(sign(inputs))


@register("fast_approx_sign")
class FastApproxSign(larq.quantizers.ApproxSign):
    r"""Larq's ``approx_sign``: +1 where x is at least 0, else -1.

    The gradient is \(2 - 2|x|\) where that is positive, else 0 (Bi-Real Net). XLA makes one pass over the activations
    of it.

    Takes the arguments of Larq's quantizer:

    - **kwargs: those of a Larq quantizer.

    Examples:
        >>> print(FastApproxSign()(tf.constant([-0.5, 0.0, 2.0])).numpy())
        [-1.  1.  1.]
    """

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """The signs, in the shape and type of `inputs`."""

        @tf.custom_gradient
        def sign(x: tf.Tensor) -> Any:
            return larq.math.sign(x), lambda upstream: in_one_pass(_triangle, x, upstream)

        return super(larq.quantizers.ApproxSign, self).call(sign(inputs))


def fast(quantizer: Any) -> Any:
    """The fast twin of Larq's own `SteSign` or `ApproxSign`; any other quantizer, and a subclass, as it is."""
    twins: dict[type, Any] = {
        larq.quantizers.SteSign: FastSteSign,
        larq.quantizers.ApproxSign: FastApproxSign,
    }
    twin = twins.get(type(quantizer))
    return quantizer if twin is None else twin.from_config(quantizer.get_config())
