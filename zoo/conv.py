"""Conv2: the small VGG-like network of the lottery-ticket and multi-prize-ticket papers."""

from typing import Any

import tensorflow as tf

from larq_equalbits.zoo.blocks import Style, check_arguments

_STAGES = (64, 128, 256, 512)
_HIDDEN = 256


def _conv(
    stages: int,
    *,
    input_shape: tuple[int, int, int],
    num_classes: int,
    quantizer: Any,
    binarize_activations: bool,
    input_quantizer: Any,
    kernel_regularizer: Any,
    width: float,
) -> tf.keras.Model:
    shape = check_arguments(input_shape, num_classes, width, least=2**stages)
    style = Style.of(quantizer, binarize_activations, input_quantizer, kernel_regularizer, width)
    x = inputs = tf.keras.Input(shape, name="image")
    for stage, filters in enumerate(_STAGES[:stages], 1):
        for position in (1, 2):
            name = f"conv{stage}_{position}"
            first = stage == position == 1
            make = style.float_convolution if first else style.convolution
            x = make(style.filters(filters), 3, name=name)(x)
            x = tf.keras.layers.BatchNormalization(name=f"{name}_norm")(x)
            if not binarize_activations:
                x = tf.keras.layers.ReLU(name=f"{name}_relu")(x)
        x = tf.keras.layers.MaxPooling2D(name=f"pool{stage}")(x)
    x = tf.keras.layers.Flatten(name="flatten")(x)
    for position in (1, 2):
        name = f"dense{position}"
        x = style.dense(style.filters(_HIDDEN), name=name)(x)
        x = tf.keras.layers.BatchNormalization(name=f"{name}_norm")(x)
        if not binarize_activations:
            x = tf.keras.layers.ReLU(name=f"{name}_relu")(x)
    for layer in style.classifier(num_classes):
        x = layer(x)
    return tf.keras.Model(inputs, x, name=f"conv{2 * stages}")


def conv2(
    *,
    input_shape: tuple[int, int, int],
    num_classes: int,
    quantizer: Any = "bi_half",
    binarize_activations: bool = True,
    input_quantizer: Any = "ste_sign",
    kernel_regularizer: Any = None,
    width: float = 1.0,
) -> tf.keras.Model:
    """Two 3x3 convolutions of 64 filters, a pooling, and dense layers of 256, 256 and `num_classes`.

    The first convolution and the classifier are float. Batch normalization comes before pooling, where LCE
    fuses it, and not after it as in the papers' code; a maximum commutes with it wherever gamma is positive.
    """
    return _conv(
        1,
        input_shape=input_shape,
        num_classes=num_classes,
        quantizer=quantizer,
        binarize_activations=binarize_activations,
        input_quantizer=input_quantizer,
        kernel_regularizer=kernel_regularizer,
        width=width,
    )
