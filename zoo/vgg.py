"""VGG-small of SiMaN and IR-Net, and VGG16 of Equal Bits."""

import dataclasses
from typing import Any

import tensorflow as tf
from larq_equalbits.zoo.blocks import network
from larq_equalbits.zoo.style import Style


def _stages(x: Any, style: Style, stages: tuple[tuple[int, ...], ...]) -> Any:
    activation = style.form.unit_activation
    for stage, sizes in enumerate(stages, 1):
        for position, count in enumerate(sizes, 1):
            filters, name = style.filters(count), f"conv{stage}_{position}"
            if stage == position == 1:
                x = style.first(x, filters, 3, name, activation=activation)
            else:
                pool = f"pool{stage}" if position == len(sizes) else ""
                x = style.unit(x, filters, 3, name, pool=pool, activation=activation)
    return x


def _initialized(style: Style) -> Style:
    """`style` with the initial weights that the form has for a VGG."""
    if style.form.vgg_initializers is None:
        return style
    kernels, classifier = style.form.vgg_initializers
    return dataclasses.replace(
        style, initializer=kernels, classifier_initializer=classifier, classifier_bias="zeros"
    )


@network(least=8)
def vgg_small(x: Any, style: Style) -> Any:
    """Six 3x3 convolutions of 128, 256 and 512 filters, with a pooling after each two, and one dense layer.

    A unit is convolution, pooling, normalization and PReLU (a hard tanh in the form "ir-net"); in the form "fused" it
    is convolution, normalization and pooling.
    """
    style = _initialized(style)
    x = _stages(x, style, ((128, 128), (256, 256), (512, 512)))
    return style.classify(tf.keras.layers.Flatten(name="flatten")(x))


@network(least=32)
def vgg16(x: Any, style: Style) -> Any:
    """The thirteen convolutions of VGG16 in the units of `vgg_small`, a mean over what is left, and one dense layer."""
    style = _initialized(style)
    x = _stages(x, style, ((64, 64), (128, 128), (256,) * 3, (512,) * 3, (512,) * 3))
    return style.classify(tf.keras.layers.GlobalAveragePooling2D(name="mean")(x))
