"""A batch normalization that LCE does not fuse goes into the convolutions before it.

After two binary kernels it goes into both, so one Add remains: scale * (a + b) + offset = scale * a + (scale * b +
offset). After the Concatenate of a convolution in groups it goes into each group. LCE folds a factor and a bias into
one convolution, but not through the Add or the Concatenate of several.
"""

from typing import Any

import larq
import numpy as np
import tensorflow as tf

from larq_equalbits.export.graph import as_written
from larq_equalbits.export.kernels import SMALLEST_SCALE, Parts
from larq_equalbits.export.lowering import Call, Leaf, Lowering, identity


def affine(layer: tf.keras.layers.BatchNormalization) -> tuple[np.ndarray, np.ndarray]:
    """The factor and the offset per channel that `layer` applies at inference."""
    deviation = np.sqrt(layer.moving_variance.numpy().astype(np.float64) + layer.epsilon)
    factor = (1.0 if layer.gamma is None else layer.gamma.numpy().astype(np.float64)) / deviation
    offset = (0.0 if layer.beta is None else layer.beta.numpy()) - layer.moving_mean.numpy() * factor
    return factor, offset


def over_channels(lowering: Lowering, leaf: Leaf) -> bool:
    """Whether `leaf`, whose consumer or producer is known, is a batch normalization over the last dimension."""
    if type(leaf.layer) is not tf.keras.layers.BatchNormalization:
        return False
    return list(leaf.layer.axis) in ([len(lowering.graph.output_shape(leaf.layer)) - 1], [-1])


def fold(leaf: Leaf, factor: np.ndarray, offset: np.ndarray) -> bool:
    """Gives `leaf` a factor and an offset where it became two binary kernels; False, and nothing done, elsewhere."""
    layer, parts = leaf.layer, leaf.parts
    if leaf.remake is None or parts is None or len(parts.kernels) != 2 or not _linear(layer):
        return False
    scales = np.abs(factor) * np.abs(parts.kernels[0]).reshape(-1, factor.size).max(axis=0)
    if (scales < SMALLEST_SCALE).any():
        return False
    if layer.use_bias:
        offset = offset + layer.bias.numpy() * factor
    kernels = [(kernel * factor).astype(kernel.dtype) for kernel in parts.kernels]
    folded = Parts(kernels, None, parts.form, bias=offset.astype(kernels[0].dtype))
    leaf.call, leaf.parts = leaf.remake(folded), folded
    return True


def groups(lowering: Lowering, norm: Leaf) -> list[Leaf]:
    """The binary convolutions whose outputs beside each other are what `norm` takes, in their order; none elsewhere."""
    joined = lowering.producer(norm)
    if joined is None or type(joined.layer) is not tf.keras.layers.Concatenate:
        return []
    shape = lowering.graph.output_shape(joined.layer)
    if joined.layer.axis not in (-1, len(shape) - 1) or not over_channels(lowering, norm):
        return []
    found = [lowering.leaves.get(id(layer)) for layer in lowering.graph.sources(joined.layer)]
    parts = [
        part
        for part in found
        if part is not None and _is_convolution(part) and lowering.consumer(part) is joined
    ]
    whole = sum(part.layer.filters for part in parts) == shape[-1] and lowering.consumer(joined) is norm
    return parts if whole else []


def _is_convolution(leaf: Leaf) -> bool:
    layer = leaf.layer
    convolves = isinstance(layer, larq.layers.QuantConv2D) and layer.data_format == "channels_last"
    return convolves and leaf.expected and as_written(layer) and _linear(layer)


def _linear(layer: Any) -> bool:
    return getattr(layer, "activation", None) in (None, tf.keras.activations.linear)


def _then(call: Call, factor: np.ndarray, offset: np.ndarray) -> Call:
    def scaled(*args: Any, **kwargs: Any) -> tf.Tensor:
        outputs = call(*args, **kwargs)
        return outputs * tf.constant(factor, outputs.dtype) + tf.constant(offset, outputs.dtype)

    return scaled


def apply(lowering: Lowering) -> None:
    """Folds the normalization after each layer that became two binary kernels."""
    for leaf in lowering.leaves.values():
        norm = lowering.consumer(leaf)
        if norm is not None and over_channels(lowering, norm) and fold(leaf, *affine(norm.layer)):
            norm.call, leaf.moved = identity, True
            leaf.rewrite.append("batch normalization folded")
            norm.rewrite.append(f"folded into {leaf.name}")


def apply_groups(lowering: Lowering) -> None:
    """Folds the normalization after each convolution in groups."""
    for norm in lowering.leaves.values():
        start = 0
        for part in groups(lowering, norm):
            filters = slice(start, start + part.layer.filters)
            start = filters.stop
            factor, offset = (values[filters] for values in affine(norm.layer))
            if not fold(part, factor, offset):
                part.call = _then(part.call, factor, offset)
            part.moved = True
            part.rewrite.append("batch normalization folded")
        if start:
            joined = lowering.producer(norm)
            assert joined is not None
            norm.call, joined.moved = identity, True
            norm.rewrite.append(f"folded into the groups of {joined.name}")
