"""The table of Larq's layers: Keras' layer of each, its kernels, and the quantizer and constraint of every kernel."""

from collections.abc import Callable
from typing import Any

import larq
import tensorflow as tf
from larq.layers_base import BaseLayer, QuantizerDepthwiseBase, QuantizerSeparableBase

from larq_equalbits._keras.cloning import input_shape_of
from larq_equalbits._keras.quantizers import copied

_KINDS = (
    "Conv1D",
    "Conv2D",
    "Conv3D",
    "Conv2DTranspose",
    "Conv3DTranspose",
    "Dense",
    "DepthwiseConv2D",
    "LocallyConnected1D",
    "LocallyConnected2D",
    "SeparableConv1D",
    "SeparableConv2D",
)
# Larq's layer for each of Keras'.
TWINS: dict[type, Any] = {
    getattr(tf.keras.layers, kind): getattr(larq.layers, f"Quant{kind}") for kind in _KINDS
}
# Larq's quantizer arguments, and the kernel and the constraint argument that belong to each.
KERNELS = {
    "kernel_quantizer": ("kernel", "kernel_constraint"),
    "depthwise_quantizer": ("depthwise_kernel", "depthwise_constraint"),
    "pointwise_quantizer": ("pointwise_kernel", "pointwise_constraint"),
}


def kernel_arguments(kind: type) -> list[str]:
    """The quantizer arguments of a class of Keras' or Larq's layers, whether they are used or not."""
    made = TWINS.get(kind, kind)
    if issubclass(made, QuantizerSeparableBase):
        return ["depthwise_quantizer", "pointwise_quantizer"]
    return ["depthwise_quantizer" if issubclass(made, QuantizerDepthwiseBase) else "kernel_quantizer"]


def quantizer_arguments(layer: Any) -> list[str]:
    """The arguments under which the Larq layer `layer` carries quantizers of kernels; of other layers none."""
    if not isinstance(layer, BaseLayer):
        return []
    return [name for name in KERNELS if getattr(layer, name, None) is not None]


def rebuilt(layer: tf.keras.layers.Layer, replace: Callable[[str, Any], Any]) -> tf.keras.layers.Layer:
    """An unbuilt layer of the configuration of `layer`, its quantizers replaced by ``replace(argument, quantizer)``."""
    config = layer.get_config()
    for name in quantizer_arguments(layer):
        config[name] = replace(name, getattr(layer, name))
    if isinstance(layer.activation, tf.keras.layers.Layer):
        config["activation"] = activation = copied(layer.activation)
        if layer.activation.weights:
            # They are the layer's, such as a PReLU's, and made by a call, which there is none of yet.
            activation.build(input_shape_of(layer.activation))
    return type(layer).from_config(config)


def filter_axes(layer: tf.keras.layers.Layer, kernel: str) -> tuple[int, ...]:
    """The axes of `kernel` that tell its filters apart."""
    if kernel == "depthwise_kernel":
        return (-2, -1)
    transposed = (tf.keras.layers.Conv2DTranspose, tf.keras.layers.Conv3DTranspose)
    return (-2,) if isinstance(layer, transposed) else (-1,)
