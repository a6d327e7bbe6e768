"""Padding with zeros becomes padding with ones, less what the ones add, where the image is smaller than the window.

LCE's fast kernels, those of ARM, compute zero padding wrongly there, and padding with ones rightly. What the ones add
at a position is a constant: the sum of the weights that lie outside the image.
"""

from typing import Any

import larq
import numpy as np
import tensorflow as tf

from larq_equalbits.export.graph import as_written
from larq_equalbits.export.lowering import Leaf, Lowering
from larq_equalbits.export.rewrites.convolution import whole_kernel
from larq_equalbits.export.rewrites.not_binary import values

_KINDS = (larq.layers.QuantConv2D, larq.layers.QuantConv1D, larq.layers.QuantSeparableConv2D)


def _images(lowering: Lowering, leaf: Leaf) -> list[list[int]]:
    """The sizes of what `leaf` takes in its calls, each (height, width) or (width,); none where they are unknown."""
    shapes = lowering.graph.shapes.get(id(leaf.layer), ())
    sizes = [[size or 0 for size in shape[1:-1]] for shape in shapes]
    return sizes if all(size and all(size) for size in sizes) else []


def _pads_zeros(layer: Any) -> bool:
    zero = layer.padding == "same" and float(tf.keras.backend.get_value(layer.pad_values)) == 0.0
    return zero and layer.data_format == "channels_last" and layer.groups == 1


def _ones_add(kernel: np.ndarray, image: list[int], layer: Any) -> np.ndarray:
    """What ones around an image of size `image` add to the outputs, (1, height, width, out) or (1, width, out)."""
    inside = tf.nn.convolution(
        tf.ones((1, *image, kernel.shape[-2]), tf.float64),
        tf.constant(kernel, tf.float64),
        strides=layer.strides,
        padding="SAME",
        dilations=layer.dilation_rate,
    )
    return kernel.sum(axis=tuple(range(kernel.ndim - 1)), dtype=np.float64) - inside.numpy()


def _rewrite(lowering: Lowering, leaf: Leaf, images: list[list[int]], kernel: np.ndarray) -> None:
    amounts = [_ones_add(kernel, image, leaf.layer) for image in images]
    # Of a shared layer, the shape of the outputs tells which image they are of.
    by_shape = {amount.shape[1:]: amount for amount in amounts}
    if not all(np.array_equal(by_shape[amount.shape[1:]], amount) for amount in amounts):
        leaf.rewrite.append(
            "zero padding stays, which LCE's fast kernels compute wrongly: images of several sizes below the window's "
            "have outputs of one size"
        )
        return
    activation = leaf.layer.activation or tf.keras.activations.linear
    activation = values(activation) or activation

    def less_ones(outputs: tf.Tensor) -> tf.Tensor:
        # In one row: LCE's converter takes a constant of more dimensions for a bias too, and then cannot run it.
        added = tf.constant(by_shape[tuple(outputs.shape[1:])].reshape(-1), outputs.dtype)
        return activation(
            tf.reshape(tf.reshape(outputs, (-1, added.shape[0])) - added, (-1, *outputs.shape[1:]))
        )

    lowering.replace(leaf, "pad_values", 1.0)
    lowering.replace(leaf, "_is_native_padding", False)
    lowering.replace(leaf, "activation", less_ones)
    leaf.rewrite.append("zero padding as padding with ones and a constant")


def apply(lowering: Lowering) -> None:
    """Each binary convolution that pads with zeros an image smaller than its dilated window."""
    for leaf in lowering.leaves.values():
        layer = leaf.layer
        if not (leaf.expected and isinstance(layer, _KINDS) and as_written(layer) and _pads_zeros(layer)):
            continue
        images, kernel = _images(lowering, leaf), whole_kernel(leaf)
        if kernel is None:
            continue
        windows = [
            (size - 1) * rate + 1 for size, rate in zip(layer.kernel_size, layer.dilation_rate, strict=True)
        ]
        if any(size < window for image in images for size, window in zip(image, windows, strict=True)):
            _rewrite(lowering, leaf, images, kernel)
