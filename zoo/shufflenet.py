"""ShuffleNet (version 1, three groups), with every grouped convolution split into one convolution a group.

LCE has no grouped binary convolution that runs. The depthwise convolutions stay float: LCE has no binary operator for
them, and they hold less than 1 % of the weights.
"""

from typing import Any

import tensorflow as tf
from larq_equalbits.zoo.blocks import network
from larq_equalbits.zoo.style import Style

_GROUPS = 3
_STAGES = ((4, 240), (8, 480), (4, 960))
_LARGE = 64


def _grouped(x: Any, style: Style, filters: int, name: str, groups: int) -> Any:
    """A 1x1 convolution in groups, with normalization."""
    parts = [x] if groups == 1 else tf.split(x, groups, axis=-1)
    outputs = [
        style.convolution(part, filters // groups, 1, f"{name}_{i}") for i, part in enumerate(parts, 1)
    ]
    x = outputs[0] if groups == 1 else tf.keras.layers.Concatenate(name=f"{name}_groups")(outputs)
    return style.normalize(x, f"{name}_norm")


def _shuffle(x: Any, name: str) -> Any:
    """The channels of each group spread over all groups."""
    height, width, channels = x.shape[1:]
    x = tf.keras.layers.Reshape((height, width, _GROUPS, channels // _GROUPS), name=f"{name}_apart")(x)
    x = tf.keras.layers.Permute((1, 2, 4, 3), name=f"{name}_shuffle")(x)
    return tf.keras.layers.Reshape((height, width, channels), name=f"{name}_together")(x)


def _relu(x: Any, style: Style, name: str) -> Any:
    return x if style.input_quantizer is not None else tf.keras.layers.ReLU(name=f"{name}_relu")(x)


def _unit(x: Any, style: Style, filters: int, name: str, strides: int) -> Any:
    inner = _multiple(filters // 4)
    outer = filters - x.shape[-1] if strides == 2 else filters
    # The first unit's input is too narrow to be divided.
    groups = _GROUPS if x.shape[-1] % _GROUPS == 0 and x.shape[-1] >= 8 * _GROUPS else 1
    y = _relu(_grouped(x, style, inner, f"{name}_reduce", groups), style, f"{name}_reduce")
    y = _shuffle(y, name)
    y = tf.keras.layers.DepthwiseConv2D(
        3,
        strides=strides,
        padding="same",
        use_bias=False,
        # Of PyTorch: 1/sqrt(fan_in), where Keras counts all channels as the fan-in of each.
        depthwise_initializer=tf.keras.initializers.RandomUniform(-1 / 3, 1 / 3),
        name=f"{name}_depthwise",
    )(y)
    y = style.normalize(y, f"{name}_depthwise_norm")
    y = _grouped(y, style, outer, f"{name}_expand", _GROUPS)
    if strides == 2:
        x = tf.keras.layers.AveragePooling2D(3, strides=2, padding="same", name=f"{name}_pool")(x)
        x = tf.keras.layers.Concatenate(name=f"{name}_concatenate")([x, y])
    else:
        x = tf.keras.layers.Add(name=f"{name}_add")([x, y])
    return _relu(x, style, name)


def _multiple(count: int) -> int:
    """The nearest number of channels, above 0, that the groups divide."""
    return max(1, round(count / _GROUPS)) * _GROUPS


@network(least=8)
def shufflenet(x: Any, style: Style) -> Any:
    """ShuffleNet with three groups: 4, 8 and 4 units of 240, 480 and 960 channels, the shortcuts included.

    A unit is a grouped 1x1 convolution, a shuffle of the channels, a float depthwise 3x3 convolution and a grouped
    1x1 convolution. The binary convolutions hold 1/4 of the channels in the middle.
    """
    large = min(x.shape[1:3]) >= _LARGE
    x = style.first(x, _multiple(style.filters(24)), 3, "stem", strides=2 if large else 1)
    if large:
        x = tf.keras.layers.MaxPooling2D(3, strides=2, padding="same", name="stem_pool")(x)
    for stage, (count, filters) in enumerate(_STAGES, 2):
        for position in range(1, count + 1):
            name = f"stage{stage}_{position}"
            x = _unit(x, style, _multiple(style.filters(filters)), name, 2 if position == 1 else 1)
    return style.classify(tf.keras.layers.GlobalAveragePooling2D(name="mean")(x))
