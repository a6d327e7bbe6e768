"""What a file is compared with: a Keras model in whose signs no rounding decides."""

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from larq_equalbits._keras.building import eagerly
from larq_equalbits.export.lowering import Call, Leaf, Lowering, lower
from larq_equalbits.export.rewrites import scale_before_sign, sign_of_input


@contextlib.contextmanager
def exact_signs(model: tf.keras.Model) -> Iterator[None]:
    """Within the block, `model` takes the signs of whole numbers where it would take those of their products.

    A binary kernel with a scale adds floats in Keras: a sum that is 0 becomes rounding noise, whose sign means nothing.
    Here it adds whole numbers, which are multiplied by the scale where more than their sign is read, as LCE does.
    Models without such a kernel stay as they are, and so does what is no built model. See `rewrites.scale_before_sign`.
    """
    with contextlib.ExitStack() as stack:
        if not (isinstance(model, tf.keras.Model) and model.built):
            yield
            return
        rewrites = [sign_of_input.apply, scale_before_sign.apply, _scale_after_sum]
        lowering = stack.enter_context(lower(model, rewrites))
        if any(leaf.rewrite for leaf in lowering.leaves.values()):
            stack.enter_context(eagerly())
        else:
            stack.close()
        yield


def _scale_after_sum(lowering: Lowering) -> None:
    for leaf in lowering.leaves.values():
        scale = scale_before_sign.scale_of(leaf)
        if scale is not None and (scale != 1).any():
            leaf.call = _scaled(lowering, leaf, scale)
            leaf.rewrite.append("scale after the sum")


def _scaled(lowering: Lowering, leaf: Leaf, scale: np.ndarray) -> Call:
    sums, layer = leaf.call, leaf.layer
    bias, activation = layer.bias if layer.use_bias else 0.0, layer.activation
    kernel = leaf.kernels["kernel"]
    lowering.replace_kernel(leaf, np.sign(kernel).astype(kernel.dtype))
    lowering.replace(leaf, "use_bias", False)
    lowering.replace(leaf, "activation", None)

    def call(inputs: tf.Tensor, *args: Any, **kwargs: Any) -> tf.Tensor:
        outputs = sums(inputs, *args, **kwargs) * scale + bias
        return outputs if activation is None else activation(outputs)

    return call
