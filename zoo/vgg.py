"""VGG-small of SiMaN and IR-Net, and VGG16 of Equal Bits."""

from typing import Any

import tensorflow as tf
from larq_equalbits.zoo.blocks import Style, network


def _stages(x: Any, style: Style, stages: tuple[tuple[int, ...], ...]) -> Any:
    for stage, sizes in enumerate(stages, 1):
        for position, filters in enumerate(sizes, 1):
            unit = style.first if stage == position == 1 else style.unit
            x = unit(x, style.filters(filters), 3, f"conv{stage}_{position}")
        x = tf.keras.layers.MaxPooling2D(name=f"pool{stage}")(x)
    return x


@network(least=8)
def vgg_small(x: Any, style: Style) -> Any:
    """Six 3x3 convolutions of 128, 256 and 512 filters, with a pooling behind each two, and one dense layer."""
    x = _stages(x, style, ((128, 128), (256, 256), (512, 512)))
    return style.classify(tf.keras.layers.Flatten(name="flatten")(x))


@network(least=32)
def vgg16(x: Any, style: Style) -> Any:
    """The thirteen convolutions of VGG16 with normalization, a mean over what is left, and one dense layer."""
    x = _stages(x, style, ((64, 64), (128, 128), (256,) * 3, (512,) * 3, (512,) * 3))
    return style.classify(tf.keras.layers.GlobalAveragePooling2D(name="mean")(x))
