"""Conv2, Conv4, Conv6, Conv8: the VGG-like networks of the lottery-ticket and multi-prize-ticket papers."""

from typing import Any

import tensorflow as tf
from larq_equalbits.zoo.blocks import network
from larq_equalbits.zoo.style import Style

_STAGES = (64, 128, 256, 512)
_HIDDEN = 256


def _conv(x: Any, style: Style, stages: int) -> Any:
    for stage, filters in enumerate(_STAGES[:stages], 1):
        count = style.filters(filters)
        name = f"conv{stage}_1"
        x = style.first(x, count, 3, name) if stage == 1 else style.unit(x, count, 3, name)
        x = style.unit(x, count, 3, f"conv{stage}_2", pool=f"pool{stage}")
    x = tf.keras.layers.Flatten(name="flatten")(x)
    for position in (1, 2):
        x = style.dense_unit(x, style.filters(_HIDDEN), f"dense{position}")
    return style.classify(x)


@network(least=2)
def conv2(x: Any, style: Style) -> Any:
    """Two 3x3 convolutions of 64 filters, a pooling, and dense layers of 256, 256 and the number of classes.

    Pooling comes before normalization; in the form "fused" after it, where LCE pools bits.

    Examples:
        >>> conv2(input_shape=(8, 8, 1), num_classes=3, width=0.25).output_shape
        (None, 3)
    """
    return _conv(x, style, 1)


@network(least=4)
def conv4(x: Any, style: Style) -> Any:
    """`conv2` with two more convolutions of 128 filters and a pooling."""
    return _conv(x, style, 2)


@network(least=8)
def conv6(x: Any, style: Style) -> Any:
    """`conv4` with two more convolutions of 256 filters and a pooling."""
    return _conv(x, style, 3)


@network(least=16)
def conv8(x: Any, style: Style) -> Any:
    """`conv6` with two more convolutions of 512 filters and a pooling."""
    return _conv(x, style, 4)
