"""A normalization keeps the sign of what lies next to 0 through LCE's rounding.

A binary convolution yields s * x with an integer x, so that behind a normalization few values are possible, and one of
them may lie so close to 0 that rounding decides its sign: in every image, wherever that x occurs. LCE computes
(n * factor * s + offset) - 2 * factor * s * popcount, whose terms are large where the sum is not. So the offset moves,
by no more than this rounding, until the value has the sign that Keras gives it whichever way LCE rounds.
"""

from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from larq_equalbits.export.graph import as_written, has_binary_input
from larq_equalbits.export.kernels import split
from larq_equalbits.export.lowering import Leaf, Lowering
from larq_equalbits.export.rewrites.batch_norm import affine, over_channels
from larq_equalbits.export.rewrites.before_sign import reads_sign
from larq_equalbits.export.rewrites.convolution import whole_kernel

_KERAS = tf.keras.layers
# Behind these a value has the sign that it had before them.
_KEEPS_SIGN = (
    _KERAS.Activation,
    _KERAS.Concatenate,
    _KERAS.Dropout,
    _KERAS.Flatten,
    _KERAS.LeakyReLU,
    _KERAS.MaxPooling2D,
    _KERAS.PReLU,
    _KERAS.Reshape,
)
# Of the largest term, which is rounded four times, once more where zeros are padded, behind a folded normalization.
_ROUNDING = 2.0**-21


def _sign_behind(lowering: Lowering, leaf: Leaf) -> bool:
    for layer in lowering.graph.consumers(leaf.layer):
        consumer = lowering.leaves.get(id(layer))
        if consumer is not None and (
            reads_sign(layer) or (type(layer) in _KEEPS_SIGN and _sign_behind(lowering, consumer))
        ):
            return True
    return False


def _convolution_before(lowering: Lowering, norm: Leaf) -> Leaf | None:
    """The binary layer whose outputs `norm` takes, as they are or the largest of several."""
    leaf = lowering.producer(norm)
    while leaf is not None and type(leaf.layer) is _KERAS.MaxPooling2D:
        leaf = lowering.producer(leaf)
    if leaf is None or not (leaf.kernels and as_written(leaf.layer) and has_binary_input(leaf.layer)):
        return None
    linear = leaf.layer.activation in (None, tf.keras.activations.linear)
    return leaf if linear else None


def _shift(lowering: Lowering, leaf: Leaf, norm: Leaf) -> np.ndarray | None:
    """How far the offset of each channel moves; None where the layer's sums are no multiples of a scale."""
    kernel = whole_kernel(leaf)
    if kernel is None or split(kernel) is None:
        return None
    columns = np.abs(kernel).reshape(-1, kernel.shape[-1]).astype(np.float64)
    size, scale = len(columns), columns.max(axis=0)
    bias = leaf.layer.bias.numpy() if leaf.layer.use_bias else np.zeros(1)
    factor, offset = affine(norm.layer)
    step, start = factor * scale, offset + factor * bias
    with np.errstate(divide="ignore", invalid="ignore"):
        crossing = np.nan_to_num(-start / step, posinf=0, neginf=0)
    candidates = np.clip([np.floor(crossing), np.floor(crossing) + 1], -size, size)
    values = (scale * candidates + bias).astype(np.float32)
    rank = len(lowering.graph.output_shape(norm.layer))
    answers = norm.call(tf.constant(values.reshape(2, *[1] * (rank - 2), -1)), training=False)
    signs = np.where(answers.numpy().reshape(values.shape) >= 0, 1.0, -1.0)
    rounding = _ROUNDING * (np.abs(step) * size + np.abs(start))
    exact = step * candidates + start
    near = (np.abs(exact) < rounding) & (np.abs(step) > 4 * rounding)
    shifts = np.where(near, signs * rounding - exact, 0.0)
    return np.where(near[0], shifts[0], shifts[1])


def _norms(lowering: Lowering) -> Iterator[tuple[Leaf, Leaf]]:
    for norm in lowering.leaves.values():
        if type(norm.layer) is _KERAS.BatchNormalization and lowering.producer(norm) is not None:
            leaf = _convolution_before(lowering, norm)
            if leaf is not None and over_channels(lowering, norm) and _sign_behind(lowering, norm):
                yield leaf, norm


def apply(lowering: Lowering) -> None:
    """Moves offsets of the normalizations between a binary layer and a sign, where a possible value is next to 0."""
    for leaf, norm in _norms(lowering):
        shift = _shift(lowering, leaf, norm)
        if shift is None or not shift.any():
            continue
        layer = norm.layer
        if layer.beta is None:
            mean = layer.moving_mean.numpy() - shift / affine(layer)[0]
            lowering.replace(norm, "moving_mean", tf.constant(mean, layer.moving_mean.dtype))
        else:
            lowering.replace(norm, "beta", tf.constant(layer.beta.numpy() + shift, layer.beta.dtype))
        leaf.rewrite.append(
            f"next to zero: {np.count_nonzero(shift)} offsets of {norm.name} moved by a rounding"
        )
