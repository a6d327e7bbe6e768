"""The scale of a binary kernel disappears where nothing but the sign of its sums is read.

A scale is positive, so no sign depends on it. With it a sum that is 0 is rounding noise in Keras, which adds
floats, and 0 in LCE, which counts bits: their signs differ. Without it both add whole numbers. So Keras, too, is
compared without it, see `reference`.
"""

from typing import Any

import larq
import numpy as np
import tensorflow as tf

from larq_equalbits.export.graph import as_written
from larq_equalbits.export.kernels import split
from larq_equalbits.export.lowering import Leaf, Lowering
from larq_equalbits.export.rewrites.batch_norm import affine, over_channels
from larq_equalbits.export.rewrites.before_sign import keeps_sign, reads_sign

_KERAS = tf.keras.layers
_AVERAGES = (
    _KERAS.AveragePooling1D,
    _KERAS.AveragePooling2D,
    _KERAS.GlobalAveragePooling1D,
    _KERAS.GlobalAveragePooling2D,
)
_MAXIMA = (
    _KERAS.GlobalMaxPooling1D,
    _KERAS.GlobalMaxPooling2D,
    _KERAS.MaxPooling1D,
    _KERAS.MaxPooling2D,
)
# Twice as large an input of these is twice as large an output.
_PROPORTIONAL = (
    *_AVERAGES,
    *_MAXIMA,
    _KERAS.Concatenate,
    _KERAS.Cropping2D,
    _KERAS.Dropout,
    _KERAS.Flatten,
    _KERAS.LeakyReLU,
    _KERAS.PReLU,
    _KERAS.Permute,
    _KERAS.ReLU,
    _KERAS.Reshape,
    _KERAS.ZeroPadding2D,
)


def _free(
    lowering: Lowering, leaf: Leaf, filters: int, scaled: bool = True, apart: bool = True
) -> np.ndarray:
    """Of which filters of a layer, whose outputs `leaf` yields, nothing but the sign is read: (filters,) of bool.

    Args:
        lowering: the model.
        leaf: the layer itself, or one after it.
        filters: of the layer.
        scaled: whether the scales of the layer are factors of what `leaf` yields; its sign alone is known otherwise.
        apart: whether the last dimension of what `leaf` yields counts channels of one filter each.
    """
    consumers = lowering.graph.consumers(leaf.layer)
    free = np.full(filters, bool(consumers))
    for layer in consumers:
        consumer = lowering.leaves.get(id(layer))
        if consumer is None:
            return np.zeros(filters, bool)
        if reads_sign(layer):
            continue
        if over_channels(lowering, consumer):
            centred = affine(layer)[1] == 0
            # Where positions were flattened, a filter has several channels.
            free &= centred if apart and centred.size == filters else centred.all()
        elif not (_is_proportional(layer) or keeps_sign(lowering, consumer)):
            return np.zeros(filters, bool)
        mixes = isinstance(layer, _AVERAGES + _MAXIMA) and not (
            apart and getattr(layer, "data_format", "channels_last") == "channels_last"
        )
        # The sign of an average depends on how large its terms are beside each other.
        if isinstance(layer, _AVERAGES) and (mixes or not scaled):
            return np.zeros(filters, bool)
        free &= _free(
            lowering,
            consumer,
            filters,
            scaled and not mixes and getattr(layer, "activation", None) is not larq.activations.hard_tanh,
            apart and _leaves_channels_last(lowering, layer),
        )
    return free


def _leaves_channels_last(lowering: Lowering, layer: Any) -> bool:
    """Whether each channel in the last dimension of what `layer` yields comes from one of what it takes."""
    if isinstance(layer, _KERAS.Concatenate):
        return layer.axis in (-1, len(lowering.graph.output_shape(layer)) - 1)
    if isinstance(layer, _KERAS.Permute):
        return layer.dims[-1] == len(layer.dims)
    if isinstance(layer, _KERAS.Flatten | _KERAS.Reshape):
        return lowering.graph.input_shape(layer)[-1] == lowering.graph.output_shape(layer)[-1]
    return True


def _is_proportional(layer: Any) -> bool:
    if type(layer) is _KERAS.ReLU:
        return layer.max_value is None and not layer.threshold
    if type(layer) is _KERAS.Activation:
        return layer.activation in (tf.keras.activations.linear, tf.keras.activations.relu)
    return type(layer) in _PROPORTIONAL


def scale_of(leaf: Leaf) -> np.ndarray | None:
    """The one scale of each filter of a binary layer, 1 for a filter of zeros; None for any other layer.

    None for channels first, too: LCE computes them in floats.
    """
    kernel = leaf.kernels.get("kernel")
    if kernel is None or not (leaf.expected and as_written(leaf.layer)) or split(kernel) is None:
        return None
    if getattr(leaf.layer, "data_format", "channels_last") != "channels_last":
        return None
    magnitudes = np.abs(kernel).reshape(-1, kernel.shape[-1])
    scale = magnitudes.max(axis=0)
    # What LCE snaps to one magnitude is no matter of rounding.
    return np.where(scale > 0, scale, 1) if ((magnitudes == 0) | (magnitudes == scale)).all() else None


def apply(lowering: Lowering) -> None:
    """Divides kernels, and biases, by the scale of each filter of which nothing but the sign is read."""
    for leaf in lowering.leaves.values():
        scale = scale_of(leaf)
        linear = getattr(leaf.layer, "activation", None) in (None, tf.keras.activations.linear)
        if scale is None or (scale == 1).all() or not linear:
            continue
        factor = np.where(_free(lowering, leaf, scale.size), scale, 1).astype(scale.dtype)
        if (factor == 1).all():
            continue
        kernel = leaf.kernels["kernel"]
        lowering.replace_kernel(leaf, np.where(factor == 1, kernel, np.sign(kernel)).astype(kernel.dtype))
        if leaf.layer.use_bias:
            lowering.replace(leaf, "bias", tf.constant(leaf.layer.bias.numpy() / factor))
        leaf.moved = True
        leaf.rewrite.append("scale taken out before a sign")
