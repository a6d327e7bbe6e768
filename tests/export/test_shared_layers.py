"""A layer that is called several times is no layer's only consumer: nothing moves across the edges to it."""

import larq
import numpy as np
import pytest
import tensorflow as tf
from stacks import stack

from larq_equalbits import export, pruning

layers = tf.keras.layers


def normalized(model):
    generator = np.random.default_rng(3)
    for layer in model._flatten_layers():
        if isinstance(layer, layers.BatchNormalization):
            layer.set_weights([generator.uniform(0.5, 2, size=w.shape) for w in layer.get_weights()])
    return model


def two_poolings(convolution, norm):
    inputs = tf.keras.Input((8, 8, 32))
    branches = [
        norm(layers.MaxPooling2D()(convolution(8, padding="same", pad_values=1, name=name)(inputs)))
        for name in ("a", "b")
    ]
    return tf.keras.Model(inputs, layers.Concatenate()(branches))


def two_models(convolution, norm):
    """The shared layer belongs to two models, each of which calls it once."""
    inputs = tf.keras.Input((8, 8, 32))
    branches = [
        tf.keras.Sequential(
            [
                tf.keras.Input((8, 8, 32)),
                convolution(8, padding="same", pad_values=1),
                layers.MaxPooling2D(),
                norm,
            ],
            name=name,
        )
        for name in ("a", "b")
    ]
    return tf.keras.Model(inputs, layers.Concatenate()([branch(inputs) for branch in branches]))


def a_model_and_a_class(convolution, norm):
    """The shared layer belongs to a functional model, and a subclassed one calls it too."""

    class Outer(tf.keras.Model):
        def __init__(self):
            super().__init__()
            self.norm = norm
            self.inner = stack(convolution(32, padding="same", pad_values=1), layers.MaxPooling2D(), norm)

        def call(self, inputs):
            return self.inner(self.norm(inputs))

    model = Outer()
    model(np.zeros((1, 8, 8, 32), "float32"))
    return model


@pytest.mark.parametrize("make", [two_poolings, two_models, a_model_and_a_class])
def test_a_shared_normalization_stays_after_its_poolings(convolution, images, make):
    model = normalized(make(convolution, layers.BatchNormalization()))
    report = export.convert(model, verify_on=images)
    assert report.verification.max_abs_diff < 1e-4
    assert not any(layer.rewrite for layer in report.layers)


def test_a_shared_normalization_stays_after_two_ternary_kernels(convolution, images):
    norm = layers.BatchNormalization()
    inputs = tf.keras.Input((8, 8, 32))
    branches = [norm(convolution(8, name=name)(inputs)) for name in ("a", "b")]
    model = pruning.prune(normalized(tf.keras.Model(inputs, layers.Concatenate()(branches))), 0.5)
    report = export.convert(model, verify_on=images)
    assert report.verification.max_abs_diff < 1e-4
    assert {layer.rewrite for layer in report.layers} == {"convolution of two binary kernels"}


def test_a_shared_head_keeps_the_inputs_from_zero_filters(convolution, images):
    inputs = tf.keras.Input((8, 8, 32))
    head = larq.layers.QuantConv2D(
        8, 1, input_quantizer="ste_sign", kernel_quantizer="bi_half", use_bias=False, name="head"
    )
    model = tf.keras.Model(inputs, layers.Add()([head(convolution(32)(inputs)), head(inputs[:, 1:7, 1:7])]))
    pruned = pruning.prune(model, 0.5, granularity="filter", skip=("head",))
    report = export.convert(pruned, verify_on=images)
    assert report.verification.max_abs_diff < 1e-4
    assert not any("dropped" in layer.rewrite for layer in report.layers)


@pytest.mark.parametrize("kind", ["ternary", "int8"])
def test_a_head_may_be_shared_at_several_sizes(convolution, images, kind):
    norm = layers.BatchNormalization()
    inputs = tf.keras.Input((8, 8, 32))
    first = convolution(8) if kind == "ternary" else layers.Conv2D(8, 3)
    outputs = layers.Concatenate()(
        [layers.Flatten()(norm(x)) for x in (first(inputs), layers.Conv2D(8, 5)(inputs))]
    )
    model = normalized(tf.keras.Model(inputs, outputs))
    if kind == "ternary":
        report = export.convert(pruning.prune(model, 0.5), verify_on=images)
        assert report.verification.max_abs_diff < 1e-4
    else:
        report = export.convert(model, float_layers="int8", calibrate_on=images)
        assert {layer.weights for layer in report.layers} == {"int8"}


def test_a_flatten_of_several_sizes(images):
    """What the dense layer's window would be is then unknown, and a 1x1 kernel serves."""
    flatten = layers.Flatten()
    inputs = tf.keras.Input((8, 8, 32))
    heads = [
        larq.layers.QuantDense(4, input_quantizer="ste_sign", kernel_quantizer="bi_half")(flatten(x))
        for x in (inputs, layers.MaxPooling2D()(inputs))
    ]
    report = export.convert(tf.keras.Model(inputs, layers.Add()(heads)), verify_on=images)
    assert report.verification.max_abs_diff < 1e-4
    assert all(layer.binary for layer in report.layers)
