"""A batch normalization after two binary kernels goes into both of them, so one Add remains.

scale * (a + b) + offset = scale * a + (scale * b + offset): LCE folds a factor and a bias into one convolution, but
not through the Add of two.
"""

import numpy as np
import tensorflow as tf

from larq_equalbits.export.kernels import SMALLEST_SCALE, Parts
from larq_equalbits.export.lowering import Leaf, Lowering, identity


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


def fold(lowering: Lowering, leaf: Leaf, norm: Leaf) -> bool:
    """Gives `leaf` the work of `norm` where it became two binary kernels; False, and nothing done, elsewhere."""
    layer, parts = leaf.layer, leaf.parts
    linear = getattr(layer, "activation", None) in (None, tf.keras.activations.linear)
    if leaf.remake is None or parts is None or len(parts.kernels) != 2 or not linear:
        return False
    if not over_channels(lowering, norm):
        return False
    factor, offset = affine(norm.layer)
    scales = np.abs(factor) * np.abs(parts.kernels[0]).reshape(-1, factor.size).max(axis=0)
    if (scales < SMALLEST_SCALE).any():
        return False
    if layer.use_bias:
        offset = offset + layer.bias.numpy() * factor
    kernels = [(kernel * factor).astype(kernel.dtype) for kernel in parts.kernels]
    folded = Parts(kernels, None, parts.form, bias=offset.astype(kernels[0].dtype))
    leaf.call, leaf.parts = leaf.remake(folded), folded
    return True


def apply(lowering: Lowering) -> None:
    """Folds the normalization after each layer that became two binary kernels."""
    for leaf in lowering.leaves.values():
        norm = lowering.consumer(leaf)
        if norm is not None and fold(lowering, leaf, norm):
            norm.call, leaf.moved = identity, True
            leaf.rewrite.append("batch normalization folded")
            norm.rewrite.append(f"folded into {leaf.name}")
