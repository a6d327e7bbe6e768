"""A normalization keeps the sign of what lies next to 0 through LCE's rounding.

A convolution of signs by a binary kernel yields s * x with an integer x, so after a normalization few values are
possible, and one of them, or the mean of several, may lie so close to 0 that rounding decides its sign: in every image,
wherever that x occurs. LCE computes (n * factor * s + offset) - 2 * factor * s * popcount, whose terms are large where
the sum is not, and where it has no binary operator (transposed, depthwise) it adds floats that hold the factor. So the
offset moves, by no more than this rounding, until the value has the sign that Keras gives it, and the mean that of
exact arithmetic, whichever way LCE rounds.
"""

from collections.abc import Iterator
from typing import Any

import larq
import numpy as np
import tensorflow as tf

from larq_equalbits.export.graph import as_written
from larq_equalbits.export.kernels import split
from larq_equalbits.export.lowering import BINARY_KINDS, Leaf, Lowering
from larq_equalbits.export.rewrites.batch_norm import affine, groups, over_channels
from larq_equalbits.export.rewrites.before_sign import reads_sign
from larq_equalbits.export.rewrites.convolution import whole_kernel

_KERAS = tf.keras.layers
# After these a value has the sign that it had before them.
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
_CONVOLUTIONS = (*BINARY_KINDS, larq.layers.QuantConv2DTranspose, larq.layers.QuantDepthwiseConv2D)
_AVERAGES = (_KERAS.AveragePooling2D, _KERAS.GlobalAveragePooling2D)
# Of the largest term, which is rounded four times, once more where zeros are padded, after a folded normalization.
_ROUNDING = 2.0**-21


def _summed(lowering: Lowering, leaf: Leaf) -> set[int]:
    """How many outputs of `leaf` are averaged before a sign is taken: 1 where none are, nothing without a sign."""
    found: set[int] = set()
    for layer in lowering.graph.consumers(leaf.layer):
        consumer = lowering.leaves.get(id(layer))
        if consumer is None:
            continue
        if reads_sign(layer):
            found.add(1)
        elif type(layer) in _KEEPS_SIGN:
            found |= _summed(lowering, consumer)
        elif type(layer) in _AVERAGES and 1 in _summed(lowering, consumer):
            found |= _window(lowering, layer)
    return found


def _window(lowering: Lowering, layer: Any) -> set[int]:
    """How many values an average is of: fewer at a padded border."""
    if isinstance(layer, _KERAS.GlobalAveragePooling2D):
        return {int(np.prod([size or 1 for size in lowering.graph.input_shape(layer)[1:3]]))}
    height, width = layer.pool_size
    if layer.padding == "valid":
        return {height * width}
    return {rows * columns for rows in range(1, height + 1) for columns in range(1, width + 1)}


def _convolutions_before(lowering: Lowering, norm: Leaf) -> list[Leaf]:
    """The binary layers whose outputs `norm` takes: those of groups, or of one layer, as they are or pooled."""
    found = groups(lowering, norm)
    if not found:
        leaf = lowering.producer(norm)
        while leaf is not None and type(leaf.layer) is _KERAS.MaxPooling2D:
            leaf = lowering.producer(leaf)
        found = [] if leaf is None else [leaf]
    return found if all(map(_adds_signs, found)) else []


def _adds_signs(leaf: Leaf) -> bool:
    layer = leaf.layer
    if not (
        leaf.kernels and leaf.has_binary_input and isinstance(layer, _CONVOLUTIONS) and as_written(layer)
    ):
        return False
    linear = layer.activation in (None, tf.keras.activations.linear)
    return linear and getattr(layer, "data_format", "channels_last") == "channels_last"


def _kernel(leaf: Leaf) -> np.ndarray | None:
    """The constant kernel with its filters last; None where the layer has none."""
    if isinstance(leaf.layer, larq.layers.QuantConv2DTranspose):
        return np.swapaxes(leaf.kernels["kernel"], -1, -2)
    if isinstance(leaf.layer, larq.layers.QuantDepthwiseConv2D):
        kernel = leaf.kernels["depthwise_kernel"]
        return kernel.reshape(*kernel.shape[:2], -1)
    return whole_kernel(leaf)


def _sums(leaf: Leaf) -> np.ndarray | None:
    """By filter how many terms a sum has, their scale, and the bias; None where sums are no multiples of a scale."""
    kernel = _kernel(leaf)
    if kernel is None or split(kernel) is None:
        return None
    columns = np.abs(kernel).reshape(-1, kernel.shape[-1]).astype(np.float64)
    scale = columns.max(axis=0)
    bias = leaf.layer.bias.numpy() if leaf.layer.use_bias else np.zeros_like(scale)
    return np.stack([np.full_like(scale, len(columns)), scale, bias])


def _shift(lowering: Lowering, leaves: list[Leaf], norm: Leaf, summed: set[int]) -> np.ndarray | None:
    """How far the offset of each channel moves; None where the layers' sums are no multiples of a scale."""
    found = [_sums(leaf) for leaf in leaves]
    known = [sums for sums in found if sums is not None]
    if len(known) < len(found):
        return None
    size, scale, bias = np.concatenate(known, axis=1)
    factor, offset = affine(norm.layer)
    step, start = factor * scale, offset + factor * bias
    rounding = _ROUNDING * (np.abs(step) * size + np.abs(start))
    with np.errstate(divide="ignore", invalid="ignore"):
        crossing = np.nan_to_num(-start / step, posinf=0, neginf=0)
    shift = np.zeros_like(step)
    for count in sorted(summed):
        # The two possible values, or means of so many, that enclose 0.
        sums = np.clip(
            [np.floor(count * crossing), np.floor(count * crossing) + 1], -count * size, count * size
        )
        exact = step * sums / count + start
        signs = np.where(
            (_answers(lowering, norm, scale * sums + bias) if count == 1 else exact) >= 0, 1.0, -1.0
        )
        near = (np.abs(exact) < rounding) & (np.abs(step) > 4 * count * rounding)
        moves = np.where(near, signs * rounding - exact, 0.0)
        shift = np.where(shift == 0, np.where(near[0], moves[0], moves[1]), shift)
    return shift


def _answers(lowering: Lowering, norm: Leaf, values: np.ndarray) -> np.ndarray:
    """What Keras makes of `values` (n, channels)."""
    rank = len(lowering.graph.output_shape(norm.layer))
    rows = tf.constant(values.reshape(len(values), *[1] * (rank - 2), -1), tf.float32)
    return norm.call(rows, training=False).numpy().reshape(values.shape)


def _norms(lowering: Lowering) -> Iterator[tuple[list[Leaf], Leaf, set[int]]]:
    for norm in lowering.leaves.values():
        leaves = _convolutions_before(lowering, norm)
        if leaves and over_channels(lowering, norm):
            summed = _summed(lowering, norm)
            if summed:
                yield leaves, norm, summed


def apply(lowering: Lowering) -> None:
    """Moves offsets of the normalizations between a binary layer and a sign, where a possible value is next to 0."""
    for leaves, norm, summed in _norms(lowering):
        shift = _shift(lowering, leaves, norm, summed)
        if shift is None or not shift.any():
            continue
        layer = norm.layer
        if layer.beta is None:
            # Where gamma is 0 nothing is near 0, and nothing moves.
            moved_by = np.divide(shift, affine(layer)[0], out=np.zeros_like(shift), where=shift != 0)
            mean = layer.moving_mean.numpy() - moved_by
            lowering.replace(norm, "moving_mean", tf.constant(mean, layer.moving_mean.dtype))
        else:
            lowering.replace(norm, "beta", tf.constant(layer.beta.numpy() + shift, layer.beta.dtype))
        moved = f"next to zero: {np.count_nonzero(shift)} offsets of {norm.name} moved by a rounding"
        for leaf in leaves:
            leaf.rewrite.append(moved)
