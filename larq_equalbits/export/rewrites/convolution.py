"""Convolutions and dense layers by binary or ternary kernels become binary convolutions.

A dense layer is a convolution over one position: by an HxW kernel where its input was flattened from (H, W, C) and C
fills LCE's words of 32 bits, which leaves the input's packed bits as they are, and by a 1x1 kernel elsewhere. A Conv1D
is a convolution of height 1. A separable convolution is the convolution by the products of its two kernels, which are
-1 and +1 again.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import larq
import numpy as np
import tensorflow as tf

from larq_equalbits.export.graph import as_written
from larq_equalbits.export.kernels import Parts, convolve, split
from larq_equalbits.export.lowering import Call, Leaf, Lowering

# How many times as many words a dense kernel may take to keep its input packed.
_WIDER = 1.25

Make = Callable[[Parts], Call]


def _finish(layer: Any, outputs: tf.Tensor, parts: Parts) -> tf.Tensor:
    # A folded normalization holds the layer's bias already.
    if layer.use_bias and parts.bias is None:
        outputs = tf.nn.bias_add(outputs, layer.bias)
    return outputs if layer.activation is None else layer.activation(outputs)


def _own_kernel(leaf: Leaf) -> np.ndarray | None:
    return leaf.kernels.get("kernel")


def _composed_kernel(leaf: Leaf) -> np.ndarray | None:
    """The one kernel of a separable convolution, between whose halves nothing happens."""
    if not {"depthwise_kernel", "pointwise_kernel"} <= set(leaf.kernels):
        return None
    depthwise, pointwise = leaf.kernels["depthwise_kernel"], leaf.kernels["pointwise_kernel"]
    channels, multiplier = depthwise.shape[2:]
    return np.einsum("hwcm,cmo->hwco", depthwise, pointwise.reshape(channels, multiplier, -1))


def whole_kernel(leaf: Leaf) -> np.ndarray | None:
    """The constant kernel of which the layer's outputs are sums; None where it has none."""
    own = _own_kernel(leaf)
    return _composed_kernel(leaf) if own is None else own


def _apply(
    lowering: Lowering,
    kind: Any,
    maker: Callable[[Lowering, Leaf], Make | None],
    name: str,
    kernel_of: Callable[[Leaf], np.ndarray | None] = _own_kernel,
) -> None:
    for leaf in lowering.leaves.values():
        layer = leaf.layer
        if not (
            isinstance(layer, kind) and as_written(layer) and layer.input_quantizer and leaf.has_binary_input
        ):
            continue
        kernel = kernel_of(leaf)
        parts = None if kernel is None else split(kernel)
        # A plain binary convolution needs no rewrite: its own call is what LCE knows.
        if parts is None or (kind is larq.layers.QuantConv2D and parts.form == "binary"):
            continue
        make = maker(lowering, leaf)
        if make is not None:
            leaf.call, leaf.remake, leaf.parts = make(parts), make, parts
            leaf.rewrite.append(name if parts.form == "binary" else f"{name} of {parts.form}")


def _convolution(lowering: Lowering, leaf: Leaf) -> Make | None:
    layer = leaf.layer
    if layer.data_format != "channels_last" or getattr(layer, "groups", 1) != 1:
        return None

    def make(parts: Parts) -> Call:
        def call(inputs: tf.Tensor, *args: Any, **kwargs: Any) -> tf.Tensor:
            inputs = layer.input_quantizer(inputs)
            padding = layer.padding
            if not layer._is_native_padding:
                inputs = tf.pad(inputs, layer._get_padding_same(inputs), constant_values=layer.pad_values)
                padding = "valid"
            return _finish(layer, convolve(inputs, parts, layer.strides, padding, layer.dilation_rate), parts)

        return call

    return make


def _dense(lowering: Lowering, leaf: Leaf) -> Make | None:
    layer = leaf.layer
    producer = lowering.producer(leaf)
    size = leaf.kernels["kernel"].shape[0]
    window: tuple[int, ...] = (1, 1, size)
    if producer is not None and isinstance(producer.layer, tf.keras.layers.Flatten | tf.keras.layers.Reshape):
        shape = [size or 0 for size in lowering.graph.input_shape(producer.layer)[1:]]
        positions = int(np.prod(shape[:2])) if len(shape) == 3 else 0
        # The channels are those that are left once zero filters were dropped. Each position begins a word.
        if positions and size % positions == 0:
            words = positions * -(-size // positions // 32)
            if words <= _WIDER * -(-size // 32):
                window = (*shape[:2], size // positions)

    def make(parts: Parts) -> Call:
        shaped = dataclasses.replace(parts, kernels=[part.reshape(*window, -1) for part in parts.kernels])

        def call(inputs: tf.Tensor, *args: Any, **kwargs: Any) -> tf.Tensor:
            # Quantizing after the reshape keeps the quantizer next to the convolution, where LCE looks for it.
            image = layer.input_quantizer(tf.reshape(inputs, (-1, *window)))
            outputs = _finish(layer, convolve(image, shaped, (1, 1), "valid", (1, 1)), parts)
            return tf.reshape(outputs, (*_leading(inputs), layer.units))

        return call

    return make


def _leading(inputs: tf.Tensor) -> tuple[int, ...]:
    """All dimensions but the last, of which one may be unknown."""
    return tuple(-1 if size is None else size for size in inputs.shape[:-1])


def _conv1d(lowering: Lowering, leaf: Leaf) -> Make | None:
    layer = leaf.layer
    if layer.data_format != "channels_last" or layer.groups != 1:
        return None
    if layer.padding == "causal":
        return lambda parts: _causal(layer, parts)

    def make(parts: Parts) -> Call:
        shaped = dataclasses.replace(parts, kernels=[part[None] for part in parts.kernels])

        def call(inputs: tf.Tensor, *args: Any, **kwargs: Any) -> tf.Tensor:
            image = layer.input_quantizer(tf.expand_dims(inputs, 1))
            padding = layer.padding
            if not layer._is_native_padding:
                around = layer._get_padding_same(inputs)
                image = tf.pad(image, [[0, 0], [0, 0], *around[1:]], constant_values=layer.pad_values)
                padding = "valid"
            outputs = convolve(image, shaped, (1, *layer.strides), padding, (1, *layer.dilation_rate))
            return _finish(layer, tf.squeeze(outputs, 1), parts)

        return call

    return make


def _causal(layer: Any, parts: Parts) -> Call:
    """A convolution of what lies before, padded with ones for zeros; of the first outputs their share is taken."""
    shaped = dataclasses.replace(parts, kernels=[part[None] for part in parts.kernels])
    kernel = np.sum(parts.kernels, axis=0) * (1 if parts.mask is None else parts.mask)
    (stride,), (dilation,) = layer.strides, layer.dilation_rate
    before = (len(kernel) - 1) * dilation
    positions = np.arange(0, before, stride)
    padded = positions[:, None] + dilation * np.arange(len(kernel)) < before
    share = (padded @ kernel.sum(axis=1)).astype(kernel.dtype)

    def call(inputs: tf.Tensor, *args: Any, **kwargs: Any) -> tf.Tensor:
        around = [[0, 0], [0, 0], [before, 0], [0, 0]]
        image = layer.input_quantizer(tf.pad(tf.expand_dims(inputs, 1), around, constant_values=1))
        outputs = tf.squeeze(convolve(image, shaped, (1, stride), "valid", (1, dilation)), 1)
        first = outputs[:, : len(share)]
        first -= tf.constant(share[: first.shape[1]])
        return _finish(layer, tf.concat([first, outputs[:, len(share) :]], 1), parts)

    return call


def apply_convolution(lowering: Lowering) -> None:
    """QuantConv2D with zeros in its kernel: two binary kernels, or a mask of the filters."""
    _apply(lowering, larq.layers.QuantConv2D, _convolution, "convolution")


def apply_dense(lowering: Lowering) -> None:
    """QuantDense: a convolution over one position."""
    _apply(lowering, larq.layers.QuantDense, _dense, "dense as convolution")


def apply_conv1d(lowering: Lowering) -> None:
    """QuantConv1D: a convolution of height 1."""
    _apply(lowering, larq.layers.QuantConv1D, _conv1d, "conv1d as convolution")


def apply_separable(lowering: Lowering) -> None:
    """QuantSeparableConv2D: the one convolution that its two halves make, which has the pointwise half's bits."""
    name = "separable as one convolution"
    _apply(lowering, larq.layers.QuantSeparableConv2D, _convolution, name, _composed_kernel)
