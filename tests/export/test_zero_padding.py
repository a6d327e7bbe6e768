"""Zeros around an image that is smaller than the window: LCE's fast kernels alone get them wrong."""

import larq
import numpy as np
import pytest
import tensorflow as tf
from stacks import convolution, quant, stack, without

from larq_equalbits import export, pruning

layers = tf.keras.layers
SLOW = pytest.mark.slow


def images(height, width):
    return np.random.default_rng(0).normal(size=(8, height, width, 64)).astype("float32")


def model_of(height, width, *layers):
    tf.keras.utils.set_random_seed(1)
    return stack(*layers, shape=(height, width, 64))


CASES = [
    ((1, 1), 3, {}),
    ((4, 4), 5, {}),
    ((4, 4), 3, {"dilation_rate": 2}),
    pytest.param((1, 4), 3, {}, marks=SLOW),
    pytest.param((2, 2), 3, {"strides": 2}, marks=SLOW),
    pytest.param((4, 4), 7, {"strides": 2}, marks=SLOW),
]


@pytest.mark.parametrize(("size", "window", "options"), CASES)
def test_small_images_equal_keras(size, window, options):
    def make():
        return model_of(*size, convolution(16, window, padding="same", **options))

    report = export.convert(make(), verify_on=images(*size))
    assert report.verification.max_abs_diff == 0
    assert report.layers[0].operator == "LceBconv2d" and "zero padding" in report.layers[0].rewrite
    with pytest.raises(export.ConversionError, match="deviations of Keras' values"):
        export.convert(make(), rewrites=without("zero_padding"))


def test_images_of_the_windows_size_are_let_alone():
    model = model_of(3, 3, convolution(16, 3, padding="same"))
    report = export.convert(model, verify_on=images(3, 3))
    assert report.verification.max_abs_diff == 0 and not report.layers[0].rewrite


@pytest.mark.parametrize("pool", [1, 2])
def test_a_shared_layer_on_images_of_one_size_and_of_two(pool):
    inputs = tf.keras.Input((2 * pool, 2 * pool, 64))
    shared = convolution(64, 3, padding="same", name="shared")
    x = layers.BatchNormalization()(layers.MaxPooling2D(pool)(shared(inputs)))
    report = export.convert(tf.keras.Model(inputs, shared(x)), verify_on=images(2 * pool, 2 * pool))
    assert report.verification.max_abs_diff == 0
    (row,) = report.layers
    assert row.binary and "zero padding" in row.rewrite


class SmallFirst(tf.keras.Model):
    def __init__(self):
        super().__init__()
        self.head, self.flat = convolution(8, 3, padding="same"), layers.Flatten()

    def call(self, image):
        return tf.concat([self.flat(self.head(each)) for each in (image[:, :2, :2], image)], -1)


def a_head_of_any_size():
    head = stack(convolution(8, 3, padding="same"), convolution(4, 1), shape=(None, None, 64))
    image = tf.keras.Input((8, 8, 64))
    small = layers.AveragePooling2D(4)(image)
    model = tf.keras.Model(image, [layers.Flatten()(head(each)) for each in (image, small)])
    return pruning.prune(model, 0.5, granularity="filter")


@pytest.mark.parametrize("make", [SmallFirst, a_head_of_any_size])
def test_sizes_are_those_of_all_calls(make):
    model = make()
    model(images(8, 8))
    report = export.convert(model, verify_on=images(8, 8))
    assert report.verification.max_abs_diff == 0
    assert "zero padding" in report.layers[0].rewrite


def test_padding_that_stays_is_told():
    shared = convolution(padding="same", strides=2)
    image = tf.keras.Input((2, 2, 64))
    (row,) = export.convert(
        tf.keras.Model(image, [shared(image), shared(image[:, :1])]), verify_on=False
    ).layers
    assert row.rewrite.startswith("zero padding stays")


@pytest.mark.parametrize("pruned", [False, True])
def test_what_follows_the_convolution_follows_the_constant(exact, pruned):
    """Bias, activation, normalization, and a binary layer that takes the sign of it."""
    model = model_of(
        2,
        2,
        convolution(16, 3, padding="same", use_bias=True, activation="relu", name="first"),
        layers.BatchNormalization(),
        convolution(8, 3, padding="same", name="second"),
        layers.BatchNormalization(),
        layers.Flatten(),
    )
    model.get_layer("first").bias.assign(np.linspace(-20, 20, 16))
    report, operators = exact(pruning.prune(model, 0.5) if pruned else model, images(2, 2), atol=1e-4)
    assert operators["LceBconv2d"] == (4 if pruned else 2)
    assert all("zero padding" in row.rewrite for row in report.layers)


def test_a_row_of_one_dimension(exact):
    ternary = larq.quantizers.SteTern(20.0)
    model = stack(
        quant("Conv1D", 32, 5, padding="same", activation=ternary),
        quant("Conv1D", 8, 1, input_quantizer=None),
        shape=(3, 64),
    )
    exact(model, np.random.default_rng(0).normal(size=(8, 3, 64)).astype("float32"))
