"""The standardization of each sample's activations, which SiMaN's authors apply before every sign."""

import functools
import math
from collections.abc import Callable
from typing import Any

import tensorflow as tf


@tf.keras.utils.register_keras_serializable("larq_equalbits")
class SampleStandardization(tf.keras.layers.Layer):
    r"""\((x - \operatorname{mean}(x)) / \sqrt{\operatorname{var}(x) + \epsilon}\), over each sample by itself.

    The variance is the unbiased one. Statistics are taken in float32 for 16-bit activations. Nothing is learned, and
    training and inference compute the same.

    Args:
        epsilon: what is added to the variance, above 0.
        **kwargs: those of a Keras layer.

    Reference:
        The authors' code of SiMaN (Lin et al., TPAMI 2022); the paper leaves this step out.
    """

    def __init__(self, epsilon: float = 1e-5, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.epsilon = float(epsilon)

    def call(self, inputs: tf.Tensor, training: Any = None) -> tf.Tensor:
        """The standardized activations, in the shape and type of `inputs`."""
        wide = tf.cast(inputs, tf.float32) if inputs.dtype.size < 4 else inputs
        # A converter takes no function that XLA must compile; training is where time counts.
        functions = _of_shape(tuple(wide.shape), wide.dtype, self.epsilon, training is True)
        return tf.cast(_differentiable(wide, *functions), inputs.dtype)

    def get_config(self) -> dict[str, Any]:
        """The arguments that make an equal layer."""
        return {**super().get_config(), "epsilon": self.epsilon}


@functools.cache
def _of_shape(
    shape: tuple[int | None, ...], dtype: tf.DType, epsilon: float, compiles: bool
) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """The standardization of x, with what its gradient needs, and the gradient, compiled by XLA where it is to be.

    One function of all shapes would be traced again and again, of which TensorFlow warns.
    """
    axes = list(range(1, len(shape)))
    known = [size for size in shape[1:] if size is not None]

    def count(x: tf.Tensor) -> Any:
        if len(known) == len(axes):
            return max(math.prod(known) - 1, 1)
        return tf.cast(tf.maximum(tf.reduce_prod(tf.shape(x)[1:]) - 1, 1), dtype)

    def forward(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        mean = tf.reduce_mean(x, axes, keepdims=True)
        centred = x - mean
        factor = tf.math.rsqrt(tf.reduce_sum(centred * centred, axes, keepdims=True) / count(x) + epsilon)
        return centred * factor, mean, factor

    def backward(x: tf.Tensor, mean: tf.Tensor, factor: tf.Tensor, upstream: tf.Tensor) -> tf.Tensor:
        y = (x - mean) * factor
        along = tf.reduce_sum(upstream * y, axes, keepdims=True) / count(x)
        return factor * (upstream - tf.reduce_mean(upstream, axes, keepdims=True) - y * along)

    if not compiles:
        return forward, backward
    return tuple(tf.function(each, jit_compile=True, autograph=False) for each in (forward, backward))


def _differentiable(x: tf.Tensor, forward: Callable[..., Any], backward: Callable[..., Any]) -> tf.Tensor:
    @tf.custom_gradient
    def standardize(x: tf.Tensor) -> Any:
        y, mean, factor = forward(x)
        return y, lambda upstream: backward(x, mean, factor, upstream)

    return standardize(x)
