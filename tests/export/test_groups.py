"""A normalization after the convolutions of groups goes into each of them."""

import numpy as np
import pytest
import tensorflow as tf
from stacks import convolution, network_on, without

from larq_equalbits import export

layers = tf.keras.layers
# A rounding or two of the largest answers.
SMALL = 5e-5


def grouped(x, parts, name="norm"):
    halves = tf.split(x, len(parts), axis=-1)
    outputs = [part(half) for part, half in zip(parts, halves, strict=True)]
    return layers.BatchNormalization(name=name)(layers.Concatenate()(outputs))


def ternary(kernel):
    return tf.sign(tf.where(tf.abs(kernel) < 0.01, 0.0, kernel))


@pytest.mark.parametrize(
    ("options", "adds"),
    [({}, 0), ({"use_bias": True, "bias_initializer": "ones"}, 0), ({"kernel_quantizer": ternary}, 2)],
    ids=["plain", "bias", "zeros"],
)
def test_it_costs_no_operator(exact, images, options, adds):
    inputs = tf.keras.Input((8, 8, 32))
    # Of another number of filters each, so that a mistaken order of the factors shows.
    parts = [convolution(filters, name=f"part{filters}", **options) for filters in (8, 24)]
    model = tf.keras.Model(inputs, grouped(inputs, parts))
    report, operators = exact(model, images, atol=SMALL)
    assert operators.get("ADD", 0) == adds and "MUL" not in operators
    assert all("batch normalization folded" in row.rewrite for row in report.layers)
    _, former = exact(model, images, atol=SMALL, rewrites=without("grouped_batch_norm"))
    assert former["MUL"] == 1 and former["ADD"] == adds + 1


def test_signs_after_it_are_those_of_keras():
    """Before a sign its answers of nearly 0 move by LCE's rounding, as those of one convolution do."""
    images = np.random.default_rng(5).normal(size=(4, 10, 8, 96)).astype("float32")
    inputs = tf.keras.Input(images.shape[1:])
    x = grouped(inputs, [convolution(32, (7, 1), name=f"part{i}") for i in range(2)])
    model = tf.keras.Model(inputs, convolution(8, name="second")(x))
    norm = model.get_layer("norm")
    norm.moving_variance.assign(tf.fill([64], 146.2))
    norm.moving_mean.assign(tf.zeros(64))
    norm.beta.assign(np.linspace(-3e-6, 3e-6, 64))
    report = export.convert(model, verify_on=images)
    assert report.verification.max_abs_diff == 0
    assert "MUL" not in export.audit(report.tflite).operators
    moved = [row.rewrite for row in report.layers if "offsets of norm moved by a rounding" in row.rewrite]
    assert len(moved) == 2
    content = export.convert(model, rewrites=without("next_to_zero"), verify_on=False).tflite
    assert export.verify(model, content, images).max_abs_diff > 0


def read_twice(x):
    parts = [convolution(8, name=f"part{i}") for i in range(2)]
    joined = layers.Concatenate()([part(half) for part, half in zip(parts, tf.split(x, 2, -1), strict=True)])
    return layers.Concatenate()([layers.BatchNormalization()(joined), joined])


def shared(x):
    return grouped(x, [convolution(8, name="part")] * 2)


def with_options(**options):
    return lambda x: grouped(x, [convolution(8, name=f"part{i}", **options) for i in range(2)])


@pytest.mark.parametrize(
    "build",
    [read_twice, shared, with_options(input_quantizer=None), with_options(activation="relu")],
    ids=["read twice", "shared", "float input", "activated"],
)
def test_elsewhere_it_stays(exact, images, build):
    report, operators = exact(network_on(8, 8, 32)(build)(), images, atol=SMALL)
    assert operators["CONCATENATION"] and operators["MUL"] == 1
    assert not any("batch normalization folded" in row.rewrite for row in report.layers)
