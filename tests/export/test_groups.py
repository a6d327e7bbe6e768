"""A normalization after the convolutions of groups goes into each of them."""

import functools

import numpy as np
import tensorflow as tf
from stacks import beside, convolution, ternary, without

from larq_equalbits import export

layers = tf.keras.layers
# A rounding or two of the largest answers.
SMALL = 5e-5


def grouped(x, parts, name=None):
    halves = tf.split(x, len(parts), axis=-1)
    outputs = [part(half) for part, half in zip(parts, halves, strict=True)]
    return layers.BatchNormalization(name=name)(layers.Concatenate()(outputs))


def test_it_costs_no_operator(exact, images):
    plain, biased, of_zeros = (
        # Of another number of filters each, so that a mistaken order of the factors shows.
        functools.partial(grouped, parts=[convolution(filters, **options) for filters in (8, 24)])
        for options in ({}, {"use_bias": True, "bias_initializer": "ones"}, {"kernel_quantizer": ternary})
    )
    model = beside([plain, biased, of_zeros])
    report, operators = exact(model, images, atol=SMALL)
    # The two halves of a kernel with zeros are added.
    assert operators["ADD"] == 2 and "MUL" not in operators
    assert all("batch normalization folded" in row.rewrite for row in report.layers)
    _, former = exact(model, images, atol=SMALL, rewrites=without("grouped_batch_norm"))
    assert former["MUL"] == 3 and former["ADD"] == 2 + 3


def test_signs_after_it_are_those_of_keras():
    """Before a sign its answers of nearly 0 move by LCE's rounding, as those of one convolution do."""
    images = np.random.default_rng(5).normal(size=(4, 10, 8, 96)).astype("float32")
    inputs = tf.keras.Input(images.shape[1:])
    x = grouped(inputs, [convolution(32, (7, 1), name=f"part{i}") for i in range(2)], "norm")
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


def test_elsewhere_it_stays(exact, images):
    shared, of_floats, activated = (
        functools.partial(grouped, parts=parts)
        for parts in (
            [convolution(8)] * 2,
            [convolution(8, input_quantizer=None) for _ in range(2)],
            [convolution(8, activation="relu") for _ in range(2)],
        )
    )
    report, operators = exact(beside([read_twice, shared, of_floats, activated]), images, atol=SMALL)
    assert operators["CONCATENATION"] and operators["MUL"] == 4
    assert not any("batch normalization folded" in row.rewrite for row in report.layers)
