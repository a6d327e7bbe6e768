"""A layer that is called several times is no layer's only consumer: nothing moves across the edges to it."""

import numpy as np
import pytest
import tensorflow as tf
from stacks import as_if_trained, convolution, network_on, quant, stack

from larq_equalbits import export, pruning
from larq_equalbits.export import interpreter

layers = tf.keras.layers
on_image = network_on(8, 8, 32)


def padded(filters=8):
    return convolution(filters, padding="same", pad_values=1)


@on_image
def two_poolings(image, norm):
    return layers.Concatenate()([norm(layers.MaxPooling2D()(padded()(image))) for _ in range(2)])


@on_image
def two_models(image, norm):
    """The shared layer belongs to two models, each of which calls it once."""
    return layers.Concatenate()([stack(padded(), layers.MaxPooling2D(), norm)(image) for _ in range(2)])


def a_model_and_a_class(norm):
    """The shared layer belongs to a functional model, and a subclassed one calls it too."""

    class Outer(tf.keras.Model):
        def __init__(self):
            super().__init__()
            self.norm = norm
            self.inner = stack(padded(32), layers.MaxPooling2D(), norm)

        def call(self, inputs):
            return self.inner(self.norm(inputs))

    model = Outer()
    model(np.zeros((1, 8, 8, 32), "float32"))
    return model


@on_image
def two_kernels(image, norm):
    return layers.Concatenate()([norm(convolution(8, name=name)(image)) for name in ("a", "b")])


@on_image
def a_head(image):
    head = convolution(8, 1, name="head")
    return layers.Add()([head(convolution(32)(image)), head(image[:, 1:7, 1:7])])


@on_image
def a_head_at_several_sizes(image, first):
    norm = layers.BatchNormalization()
    sizes = [norm(layer(image)) for layer in (first, layers.Conv2D(8, 5))]
    return layers.Concatenate()([layers.Flatten()(x) for x in sizes])


@on_image
def a_flatten_of_several_sizes(image):
    """What the dense layer's window would be is then unknown, and a 1x1 kernel serves."""
    flatten = layers.Flatten()
    sizes = (image, layers.MaxPooling2D()(image))
    return layers.Add()([quant("Dense", 4, use_bias=True)(flatten(x)) for x in sizes])


def one_by_one(network, inputs):
    first = network.get_layer("first")(inputs)
    return tf.concat([tf.reduce_mean(x, (1, 2)) for x in (first, network.get_layer("second")(first))], -1)


class Features(tf.keras.Model):
    """A functional model, of which only the layers are called."""

    call = one_by_one


class Around(tf.keras.Model):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def call(self, inputs):
        return one_by_one(self.inner, inputs)


def converted(model, images):
    report = export.convert(model, verify_on=images)
    assert report.verification.max_abs_diff < 1e-4
    return report.layers


@pytest.mark.parametrize("make", [two_poolings, two_models, a_model_and_a_class])
def test_a_shared_normalization_stays_after_its_poolings(images, make):
    model = as_if_trained(make(layers.BatchNormalization()), negative=False)
    assert not any(layer.rewrite for layer in converted(model, images))


@pytest.mark.parametrize("holder", [lambda inner: Features(inner.inputs, inner.outputs), Around])
def test_a_scale_stays_where_a_class_takes_the_layers_of_a_model_one_by_one(images, holder):
    inner = stack(convolution(16, name="first"), convolution(name="second"))
    inner.get_layer("first").kernel_quantizer.scale = 0.5
    model = holder(inner)
    expected = model.predict(images, verbose=0)
    runner = interpreter.load(export.convert(model, verify_on=images).tflite)
    (found,) = runner.predict({runner.inputs[0].key: images}).values()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)


def test_a_shared_normalization_stays_after_two_ternary_kernels(images):
    model = pruning.prune(as_if_trained(two_kernels(layers.BatchNormalization()), negative=False), 0.5)
    assert {layer.rewrite for layer in converted(model, images)} == {"convolution of two binary kernels"}


def test_a_shared_head_keeps_the_inputs_from_zero_filters(images):
    pruned = pruning.prune(a_head(), 0.5, granularity="filter", skip=("head",))
    assert not any("dropped" in layer.rewrite for layer in converted(pruned, images))


def test_a_ternary_head_may_be_shared_at_several_sizes(images):
    model = as_if_trained(a_head_at_several_sizes(convolution(8)), negative=False)
    assert converted(pruning.prune(model, 0.5), images)


def test_an_int8_head_may_be_shared_at_several_sizes(images):
    model = as_if_trained(a_head_at_several_sizes(layers.Conv2D(8, 3)), negative=False)
    report = export.convert(model, float_layers="int8", calibrate_on=images)
    assert {layer.weights for layer in report.layers} == {"int8"}


def test_a_flatten_of_several_sizes(images):
    assert all(layer.binary for layer in converted(a_flatten_of_several_sizes(), images))


@pytest.mark.parametrize(
    "first", [lambda shared: layers.Dense(2, name="head")(shared), lambda shared: shared]
)
def test_a_float_layer_whose_outputs_are_the_models_has_one_row(first):
    dense = layers.Dense(4, name="shared")
    inputs = layers.Input((4,))
    answer = dense(inputs)
    model = tf.keras.Model(inputs, [answer, first(dense(answer))])
    rows = {row.name: row for row in export.convert(model, verify_on=False).layers}
    assert rows.keys() <= {"shared", "head"}
    assert rows["shared"].bytes == 4 * 4 * 4 and rows["shared"].operator.count("FULLY_CONNECTED") == 2
