"""Which layers have a binary twin, and how it is made."""

from typing import Any

import tensorflow as tf
from larq.layers_base import QuantizerBaseConv
from larq.quantized_variable import QuantizedVariable

from larq_equalbits._keras.layers import KERNELS, TWINS, kernel_arguments, quantizer_arguments
from larq_equalbits._keras.quantizers import copied

_LARQ = frozenset(TWINS.values())
# Kernels of layers, Keras' and ours; a PReLU's slopes and a normalization's factors are none.
ALL_KERNELS = (*(kernel for kernel, _ in KERNELS.values()), "recurrent_kernel", "embeddings")


def has_twin(layer: tf.keras.layers.Layer) -> bool:
    """Whether `layer` is of a class that can be binary (a subclass may compute something else, so none is)."""
    return type(layer) in TWINS or type(layer) in _LARQ


def is_binary(layer: tf.keras.layers.Layer) -> bool:
    """Whether `layer` is a Larq layer that quantizes its kernels."""
    return type(layer) in _LARQ and bool(quantizer_arguments(layer))


def kernel_size(layer: tf.keras.layers.Layer) -> int:
    """The number of weights in the kernels of `layer`."""
    kernels = [getattr(layer, name, None) for name in ALL_KERNELS]
    variables = [kernel for kernel in kernels if isinstance(kernel, tf.Variable | QuantizedVariable)]
    return sum(variable.shape.num_elements() for variable in variables)


def twin(
    layer: tf.keras.layers.Layer,
    quantizer: Any,
    input_quantizer: Any,
    pad_values: float,
    clipped: bool,
    **changes: Any,
) -> tf.keras.layers.Layer:
    """An unbuilt Larq layer like `layer`, which `has_twin`, with these quantizers and `changes` of its configuration.

    The `pad_values` are for a convolution that pads, where it was not a Larq layer and gets an input quantizer. With
    `clipped`, kernels without a constraint get Larq's weight_clip.
    """
    made: Any = TWINS.get(type(layer), type(layer))
    config = layer.get_config()
    # A quantizer computes in the layer's precision.
    dtype = config["dtype"]
    config.update(input_quantizer=copied(input_quantizer, dtype=dtype), **changes)
    for argument in kernel_arguments(made):
        config[argument] = copied(quantizer, dtype=dtype)
        constraint = KERNELS[argument][1]
        if clipped and config.get(constraint) is None:
            config[constraint] = "weight_clip"
    pads = issubclass(made, QuantizerBaseConv) and config.get("padding") == "same"
    if pads and type(layer) in TWINS and input_quantizer is not None:
        config["pad_values"] = pad_values
    return made.from_config(config)
