"""InceptionV3: parallel convolutions of several sizes, their outputs side by side."""

from typing import Any

import tensorflow as tf
from larq_equalbits.zoo.blocks import network
from larq_equalbits.zoo.style import Style

_LARGE = 75


def _chain(x: Any, style: Style, name: str, *steps: tuple[int, Any] | tuple[int, Any, int]) -> Any:
    """Units one after the other, each (filters, size) or (filters, size, strides)."""
    for position, (filters, size, *strides) in enumerate(steps, 1):
        x = style.unit(
            x, style.filters(filters), size, f"{name}_{position}", strides=strides[0] if strides else 1
        )
    return x


def _join(name: str, *branches: Any) -> Any:
    return tf.keras.layers.Concatenate(name=name)(list(branches))


def _mean(x: Any, name: str) -> Any:
    return tf.keras.layers.AveragePooling2D(3, strides=1, padding="same", name=name)(x)


def _halve(x: Any, name: str) -> Any:
    return tf.keras.layers.MaxPooling2D(3, strides=2, padding="same", name=name)(x)


def _a(x: Any, style: Style, name: str, pooled: int) -> Any:
    return _join(
        name,
        _chain(x, style, f"{name}_1x1", (64, 1)),
        _chain(x, style, f"{name}_5x5", (48, 1), (64, 5)),
        _chain(x, style, f"{name}_3x3", (64, 1), (96, 3), (96, 3)),
        _chain(_mean(x, f"{name}_mean"), style, f"{name}_pool", (pooled, 1)),
    )


def _b(x: Any, style: Style, name: str) -> Any:
    return _join(
        name,
        _chain(x, style, f"{name}_3x3", (384, 3, 2)),
        _chain(x, style, f"{name}_3x3x2", (64, 1), (96, 3), (96, 3, 2)),
        _halve(x, f"{name}_max"),
    )


def _c(x: Any, style: Style, name: str, inner: int) -> Any:
    return _join(
        name,
        _chain(x, style, f"{name}_1x1", (192, 1)),
        _chain(x, style, f"{name}_7x7", (inner, 1), (inner, (1, 7)), (192, (7, 1))),
        _chain(
            x,
            style,
            f"{name}_7x7x2",
            (inner, 1),
            (inner, (7, 1)),
            (inner, (1, 7)),
            (inner, (7, 1)),
            (192, (1, 7)),
        ),
        _chain(_mean(x, f"{name}_mean"), style, f"{name}_pool", (192, 1)),
    )


def _d(x: Any, style: Style, name: str) -> Any:
    return _join(
        name,
        _chain(x, style, f"{name}_3x3", (192, 1), (320, 3, 2)),
        _chain(x, style, f"{name}_7x7", (192, 1), (192, (1, 7)), (192, (7, 1)), (192, 3, 2)),
        _halve(x, f"{name}_max"),
    )


def _e(x: Any, style: Style, name: str) -> Any:
    short = _chain(x, style, f"{name}_3x3", (384, 1))
    long = _chain(x, style, f"{name}_3x3x2", (448, 1), (384, 3))
    return _join(
        name,
        _chain(x, style, f"{name}_1x1", (320, 1)),
        *(_chain(short, style, f"{name}_3x3_{i}", (384, size)) for i, size in enumerate([(1, 3), (3, 1)])),
        *(_chain(long, style, f"{name}_3x3x2_{i}", (384, size)) for i, size in enumerate([(1, 3), (3, 1)])),
        _chain(_mean(x, f"{name}_mean"), style, f"{name}_pool", (192, 1)),
    )


@network(least=16)
def inception_v3(x: Any, style: Style) -> Any:
    """InceptionV3 without its auxiliary classifier.

    Images below 75 pixels pass the stem without a stride, as in the papers' code for CIFAR; larger ones with the
    strides and poolings of the original. All convolutions are padded, so sizes are halved exactly.
    """
    large = min(x.shape[1:3]) >= _LARGE
    x = style.first(x, style.filters(32), 3, "stem1", strides=2 if large else 1)
    x = _chain(x, style, "stem2", (32, 3), (64, 3))
    x = _halve(x, "stem2_max") if large else x
    x = _chain(x, style, "stem3", (80, 1), (192, 3))
    x = _halve(x, "stem3_max") if large else x
    for index, pooled in enumerate((32, 64, 64), 1):
        x = _a(x, style, f"a{index}", pooled)
    x = _b(x, style, "b")
    for index, inner in enumerate((128, 160, 160, 192), 1):
        x = _c(x, style, f"c{index}", inner)
    x = _d(x, style, "d")
    for index in (1, 2):
        x = _e(x, style, f"e{index}")
    return style.classify(tf.keras.layers.GlobalAveragePooling2D(name="mean")(x))
