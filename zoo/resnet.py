"""ResNet-18, -20 and -34 with a shortcut around each convolution (Bi-Real), as both papers train them."""

from typing import Any

import tensorflow as tf
from larq_equalbits.zoo.blocks import Style, network

# Images of this size and more are first reduced four times, as ImageNet's are.
_LARGE = 64


def _prelu(x: Any, name: str) -> Any:
    # Keras starts the slope at 0: behind the stem no sign would then be negative, and nothing before the second
    # stage would get a gradient. 0.25 is where its authors, and the papers' code, start.
    slope = tf.keras.initializers.Constant(0.25)
    return tf.keras.layers.PReLU(slope, shared_axes=[1, 2], name=name)(x)


def _block(x: Any, style: Style, filters: int, name: str, strides: int) -> Any:
    """convolution, PReLU, normalization, and the input added (through a float 1x1 convolution where sizes differ)."""
    shortcut = x
    if strides != 1 or x.shape[-1] != filters:
        shortcut = style.float_convolution(x, filters, 1, f"{name}_shortcut", strides=strides)
        shortcut = style.normalize(shortcut, f"{name}_shortcut_norm")
    x = style.convolution(x, filters, 3, name, strides=strides)
    x = _prelu(x, f"{name}_prelu")
    x = style.normalize(x, f"{name}_norm")
    return tf.keras.layers.Add(name=f"{name}_add")([x, shortcut])


def _resnet(x: Any, style: Style, blocks: tuple[int, ...], first: int) -> Any:
    if min(x.shape[1:3]) >= _LARGE:
        x = style.first(x, style.filters(first), 7, "stem", strides=2)
        x = tf.keras.layers.MaxPooling2D(3, strides=2, padding="same", name="stem_pool")(x)
    else:
        x = style.first(x, style.filters(first), 3, "stem")
        x = _prelu(x, "stem_prelu")
    for stage, count in enumerate(blocks, 1):
        for position in range(1, 2 * count + 1):
            strides = 2 if stage > 1 and position == 1 else 1
            filters = style.filters(first * 2 ** (stage - 1))
            x = _block(x, style, filters, f"conv{stage}_{position}", strides)
    return style.classify(tf.keras.layers.GlobalAveragePooling2D(name="mean")(x))


@network(least=8)
def resnet18(x: Any, style: Style) -> Any:
    """ResNet-18: four stages of 64 to 512 filters, each of four convolutions with a shortcut around each.

    Images below 64 pixels get a 3x3 stem without stride, larger ones ImageNet's 7x7 stem and a pooling. Each
    block is sign, convolution, PReLU, normalization, addition; shortcuts between stages are float.
    """
    return _resnet(x, style, (2, 2, 2, 2), 64)


@network(least=8)
def resnet34(x: Any, style: Style) -> Any:
    """ResNet-34: as `resnet18`, with 6, 8, 12 and 6 convolutions in the stages."""
    return _resnet(x, style, (3, 4, 6, 3), 64)


@network(least=8)
def resnet20(x: Any, style: Style) -> Any:
    """ResNet-20 for small images: three stages of 16, 32 and 64 filters, each of six convolutions."""
    return _resnet(x, style, (3, 3, 3), 16)
