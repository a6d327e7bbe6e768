"""What all quantizers share: a scale per filter, flips counted on codes, and how they register."""

import math
from collections.abc import Callable
from numbers import Real
from typing import Any

import tensorflow as tf
from larq import utils
from larq.quantizers import NoOp

from larq_equalbits._errors import invalid, is_positive
from larq_equalbits._ranking.ranking import filter_size

Scale = float | str | None

SCALES = ("fan_in", "mean_abs")


def register(alias: str) -> Callable[[type], type]:
    """Registers a class under Larq's string `alias` and under the names that saved models carry.

    Keras writes the name with the package in front, and reads HDF5 files by the bare name of the class.
    """

    def decorate(cls: type) -> type:
        tf.keras.utils.register_keras_serializable("larq_equalbits")(cls)
        return utils.register_alias(alias)(utils.register_keras_custom_object(cls))

    return decorate


@tf.custom_gradient
def straight_through(kernel: tf.Tensor, codes: tf.Tensor) -> Any:
    """`codes`, whose gradient goes to `kernel` as it is."""
    return tf.identity(codes), lambda upstream: (upstream, None)


class BinaryQuantizer(NoOp):
    """Codes in {-1, +1} times one scale per filter (all weights that share the last index).

    A subclass answers `codes(kernel)`, which carries the gradient.

    It is a `NoOp` of precision 1 because that is what Larq exempts from its warning about starved weights:
    no gradient here is cut off by the size of a latent weight, so no constraint is needed.

    Examples:
        >>> class Sign(BinaryQuantizer):
        ...     def codes(self, kernel):
        ...         return lq.math.sign(kernel)
        >>> print(Sign(scale=0.5)(tf.constant([[-2.0], [3.0]])).numpy().ravel())
        [-0.5  0.5]
    """

    def __init__(self, scale: Scale = None, **kwargs: Any) -> None:
        if isinstance(scale, Real) and is_positive(scale):
            scale = float(scale)
        elif not (scale is None or (isinstance(scale, str) and scale in SCALES)):
            raise invalid("scale", scale, f"None, a positive number, or one of {SCALES}")
        # Keras would cast a float64 or bfloat16 kernel to the quantizer's own type.
        kwargs.setdefault("autocast", False)
        super().__init__(precision=1, **kwargs)
        self.scale = scale

    @property
    def non_trainable_weights(self) -> list[tf.Variable]:
        """What was learned, once it is frozen: Larq's own hide it with their metrics, and files would lose it."""
        return [] if self.trainable else list(self._trainable_weights)

    def codes(self, kernel: tf.Tensor) -> tf.Tensor:
        """-1 or +1 for every weight, differentiable as the class says."""
        raise NotImplementedError(f"{type(self).__name__}.codes")

    def kernel_scale(self, kernel: tf.Tensor) -> tf.Tensor | None:
        """The positive scale of every filter that multiplies the codes; None for 1. No gradient passes."""
        if self.scale is None:
            return None
        if self.scale == "fan_in":
            return tf.constant(math.sqrt(2.0 / filter_size(kernel.shape)), kernel.dtype)
        if self.scale == "mean_abs":
            wide = tf.cast(kernel, tf.float32) if kernel.dtype.size < 4 else kernel
            mean = tf.reduce_mean(tf.abs(wide), axis=list(range(len(kernel.shape) - 1)))
            return tf.stop_gradient(tf.cast(mean, kernel.dtype))
        return tf.constant(self.scale, kernel.dtype)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """The quantized kernel, in the shape and type of `inputs`."""
        return self._quantized(inputs)

    # Nothing here is Python control flow over tensors; converting it takes longer than tracing it.
    @tf.autograph.experimental.do_not_convert
    def _quantized(self, inputs: tf.Tensor) -> tf.Tensor:
        filter_size(inputs.shape)
        if not inputs.dtype.is_floating:
            raise invalid("kernel", f"numbers of the type {inputs.dtype.name}", "of a floating type")
        codes = self.codes(inputs)
        # Larq's own call would count flips of the values, which its metric casts to int8.
        if hasattr(self, "flip_ratio"):
            self.add_metric(self.flip_ratio(codes))
        scale = self.kernel_scale(inputs)
        return codes if scale is None else codes * scale

    def get_config(self) -> dict[str, Any]:
        """The arguments that make an equal quantizer."""
        config = {**super().get_config(), "scale": self.scale}
        del config["precision"]
        return config


class EstimatorQuantizer(BinaryQuantizer):
    """A binary quantizer whose gradient has a sharpness `t` and a height `k`, moved by a schedule.

    They are variables, so a compiled training step sees them move, and belong to the configuration,
    so that every file format keeps them; they are no weights of the layer.

    Examples:
        >>> quantizer = lqe.quantizers.IRNet(t=0.5)
        >>> isinstance(quantizer, EstimatorQuantizer), float(quantizer.t)
        (True, 0.5)
    """

    def __init__(self, t: float, k: float | None = None, **kwargs: Any) -> None:
        for name, value in (("t", t), ("k", 1.0 if k is None else k)):
            if not is_positive(value):
                raise invalid(name, value, "a positive number")
        super().__init__(**kwargs)
        self.t = tf.Variable(float(t), trainable=False, dtype=tf.float64, name="t")
        height = max(1 / t, 1.0) if k is None else float(k)
        self.k = tf.Variable(height, trainable=False, dtype=tf.float64, name="k")

    def set_estimator(self, t: float, k: float) -> None:
        """Moves the estimator to sharpness `t` and height `k`."""
        self.t.assign(t)
        self.k.assign(k)

    def get_config(self) -> dict[str, Any]:
        """The arguments that make an equal quantizer, with t and k where they are now."""
        return {**super().get_config(), "t": float(self.t.numpy()), "k": float(self.k.numpy())}
