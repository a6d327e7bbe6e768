"""Networks written in plain Larq, in the style of QuickNet and Bi-Real Net: shortcuts, PReLU, pooling that blurs."""

import larq
import numpy as np
import pytest
import tensorflow as tf
from stacks import as_if_trained, conv, convolution, head, network_on, normalized, quant, stack

from larq_equalbits import export, zoo

layers = tf.keras.layers


def block(x, filters, strides, input_quantizer, kernel_quantizer):
    shortcut = x
    if strides > 1:
        shortcut = normalized(conv(filters, 1), layers.AvgPool2D(strides)(x))
    quantizers = {"input_quantizer": input_quantizer, "kernel_quantizer": kernel_quantizer}
    x = normalized(convolution(filters, strides=strides, padding="same", pad_values=1.0, **quantizers), x)
    x = layers.PReLU(shared_axes=[1, 2], alpha_initializer="random_uniform")(x)
    return layers.Add()([shortcut, x])


@network_on(8, 8, 3)
def untrained(image, quantizers):
    """A block of each of four pairs of an input's and a kernel's quantizer."""
    x = block(normalized(conv(32), image), 32, 1, *quantizers[0])
    # QuickNet's transition: a maximum at every position, then a blur that halves the size.
    x = layers.MaxPool2D(2, 1)(x)
    x = layers.DepthwiseConv2D(3, 2, padding="same", use_bias=False)(x)
    x = block(block(x, 32, 1, *quantizers[1]), 64, 2, *quantizers[2])
    return head(block(x, 64, 1, *quantizers[3]), 10)


def network(*quantizers):
    return as_if_trained(untrained(quantizers), negative=False)


@pytest.fixture
def photographs():
    return np.random.default_rng(1).normal(size=(32, 8, 8, 3)).astype("float32")


def test_every_binary_convolution_stays_binary(photographs):
    model = network(
        ("ste_sign", "magnitude_aware_sign"),
        ("approx_sign", "bi_half"),
        (larq.quantizers.SteSign(clip_value=0.5), "approx_sign"),
        ("swish_sign", "ste_sign"),
    )
    report = export.convert(model, verify_on=photographs)
    assert report.verification.argmax_agreement == 1
    assert [layer.operator for layer in report.layers if layer.expected] == ["LceBconv2d"] * 4
    assert export.audit(report.tflite).operators["LceBconv2d"] == 4


def test_inputs_of_several_bits_stay_float_and_say_why(photographs):
    model = network(*((larq.quantizers.DoReFa(2), "ste_sign") for _ in range(4)))
    report = export.convert(model, verify_on=photographs, tolerance=0.1)
    several = [layer for layer in report.layers if "quant_conv2d" in layer.name]
    assert len(several) == 4
    for layer in several:
        assert (layer.operator, layer.binary, layer.expected) == ("CONV_2D", False, False)
        quantizer = model.get_layer(layer.name).input_quantizer
        assert layer.reason == f"input not binary: {quantizer.name} gives 2 bits"


def test_zeros_are_not_split_for_inputs_of_several_bits():
    dense = quant("Dense", 4, input_quantizer=larq.quantizers.DoReFa(2), kernel_quantizer="ste_tern")
    model = stack(layers.Flatten(), dense, shape=(8, 8, 3))
    report = export.convert(model, verify_on=False)
    assert report.layers[0].operator == "FULLY_CONNECTED"
    assert report.layers[0].rewrite == ""


@pytest.mark.parametrize(("name", "width"), [("conv2", 0.25), ("vgg_small", 0.125)])
def test_a_file_is_hardly_larger_than_its_bits(name, width):
    """Ideal: 1 bit a binary weight, 32 a float one, as Larq counts them."""
    model = zoo.get(name)(input_shape=(16, 16, 3), num_classes=10, width=width, quantizer="ste_sign")
    ideal = larq.models.ModelProfile(model).memory / 8
    assert len(export.convert(model, verify_on=False).tflite) <= 1.05 * ideal + 20_000
