"""ResNet-18, -20 and -34 with a shortcut around each convolution (Bi-Real), as both papers train them."""

from typing import Any

import tensorflow as tf
from larq_equalbits.zoo.blocks import network
from larq_equalbits.zoo.style import Style

# Images of this size and more are first reduced four times, as ImageNet's are.
_LARGE = 64


def _every_second(x: Any) -> Any:
    """Every second pixel each way, those on which a strided window of an odd size is centred.

    "same" padding centres the window on the odd pixels of an even size, and on the even ones of an odd size.
    """
    rows, columns = (1 - size % 2 for size in x.shape[1:3])
    return x[:, rows::2, columns::2, :]


def _shortcut(x: Any, style: Style, filters: int, name: str, strides: int, plain: bool) -> Any:
    """`x` in the size and with the channels of a block's output, pixel for pixel."""
    channels = x.shape[-1]
    if strides == 1 and channels == filters:
        return x
    x = _every_second(x) if strides == 2 else x
    if plain and filters >= channels:
        before = (filters - channels) // 2
        return tf.pad(x, [[0, 0], [0, 0], [0, 0], [before, filters - channels - before]])
    x = style.float_convolution(x, filters, 1, f"{name}_shortcut")
    return style.normalize(x, f"{name}_shortcut_norm")


def _pair(x: Any, style: Style, filters: int, names: tuple[str, str], strides: int, plain: bool) -> Any:
    """Two blocks: convolution, normalization, addition and activation, in the order of the form.

    Where the activation comes before the normalization, the two share it; `strides` are those of the first.
    """
    shared = None if style.form.adds_first else style.prelu(f"{names[0]}_prelu")
    for name, step in zip(names, (strides, 1), strict=True):
        shortcut = _shortcut(x, style, filters, name, step, plain)
        x = style.convolution(x, filters, 3, name, strides=step)
        x = style.normalize(x if shared is None else shared(x), f"{name}_norm")
        x = tf.keras.layers.Add(name=f"{name}_add")([x, shortcut])
        if shared is None:
            x = style.activate(x, style.form.block_activation, name)
    return x


def _resnet(x: Any, style: Style, pairs: tuple[int, ...], first: int, plain: bool = False) -> Any:
    stem = style.form.stem_activation
    if min(x.shape[1:3]) >= _LARGE:
        x = style.first(x, style.filters(first), 7, "stem", strides=2, activation=stem)
        x = tf.keras.layers.MaxPooling2D(3, strides=2, padding="same", name="stem_pool")(x)
    else:
        x = style.first(x, style.filters(first), 3, "stem", activation=stem)
    for stage, count in enumerate(pairs, 1):
        filters = style.filters(first * 2 ** (stage - 1))
        for pair in range(count):
            names = (f"conv{stage}_{2 * pair + 1}", f"conv{stage}_{2 * pair + 2}")
            strides = 2 if stage > 1 and pair == 0 else 1
            x = _pair(x, style, filters, names, strides, plain and style.form.plain_shortcuts)
    x = tf.keras.layers.GlobalAveragePooling2D(name="mean")(x)
    return style.classify(style.normalize(x, "mean_norm") if style.form.normalizes_mean else x)


@network(least=8)
def resnet18(x: Any, style: Style) -> Any:
    """ResNet-18: four stages of 64 to 512 filters, each of four convolutions with a shortcut around each.

    Images below 64 pixels get a 3x3 stem without stride, larger ones ImageNet's 7x7 stem and a pooling. Each
    block is sign, convolution, PReLU (which two blocks share), normalization, addition; in the forms "siman", "ir-net"
    and "fused" sign, convolution, normalization, addition, PReLU (a hard tanh in "ir-net"). Shortcuts between stages
    are float 1x1 convolutions of the pixels on which the strided windows are centred.
    """
    return _resnet(x, style, (2, 2, 2, 2), 64)


@network(least=8)
def resnet34(x: Any, style: Style) -> Any:
    """ResNet-34: as `resnet18`, with 6, 8, 12 and 6 convolutions in the stages."""
    return _resnet(x, style, (3, 4, 6, 3), 64)


@network(least=8)
def resnet20(x: Any, style: Style) -> Any:
    """ResNet-20 for small images: three stages of 16, 32 and 64 filters, each of six convolutions.

    As `resnet18`; in the forms "siman" and "ir-net" shortcuts between stages have no weights: they take the pixels on
    which the strided windows are centred, and add channels of zeros on both sides.
    """
    return _resnet(x, style, (3, 3, 3), 16, plain=True)
