import types

import larq as lq
import numpy as np
import pytest
import tensorflow as tf

from larq_equalbits import pruning, training
from larq_equalbits._bits.kernels import quantized_kernels
from larq_equalbits._errors import InputError
from larq_equalbits.constraints import MagnitudeClip
from larq_equalbits.training import building

IMAGES = types.SimpleNamespace(name="digits", input_shape=(8, 8, 1), num_classes=10)
SIMAN = training.Settings(recipe="siman")


def functional(quantizer):
    image = tf.keras.Input((8, 8, 1))
    x = tf.keras.layers.Flatten()(image)
    inner = tf.keras.Sequential(
        [tf.keras.Input((64,)), lq.layers.QuantDense(8, kernel_quantizer=quantizer, name="binary")],
        name="inner",
    )
    x = tf.keras.layers.BatchNormalization()(inner(x))
    return tf.keras.Model(image, tf.keras.layers.Dense(10, activation="softmax")(x))


@tf.keras.utils.register_keras_serializable("test_assembly")
class Subclassed(tf.keras.Model):
    def __init__(self, quantizer, **kwargs):
        super().__init__(**kwargs)
        self.quantizer = quantizer
        self.flatten = tf.keras.layers.Flatten()
        self.binary = lq.layers.QuantDense(8, kernel_quantizer=quantizer, name="binary")
        self.classifier = tf.keras.layers.Dense(10, activation="softmax")

    def call(self, inputs):
        return self.classifier(self.binary(self.flatten(inputs)))

    def get_config(self):
        return {"quantizer": self.quantizer, "name": self.name}


class Closed(Subclassed):
    def get_config(self):
        raise NotImplementedError("it has no configuration")


def called(kind):
    model = kind("siman")
    model(tf.keras.Input((8, 8, 1)))
    return model


def trained(model):
    model.set_weights([np.random.default_rng(0).normal(size=w.shape) for w in model.get_weights()])
    return model


@pytest.mark.parametrize("make", [lambda: functional("siman"), lambda: called(Subclassed)])
def test_a_constraint_keeps_the_weights_of_a_trained_network(tmp_path, make):
    model = trained(make())
    weights = model.get_weights()
    built = building.build(SIMAN, SIMAN.plan(), IMAGES, lambda **_: model)
    np.testing.assert_equal(built.get_weights(), weights)
    [kernel] = quantized_kernels(built)
    assert isinstance(kernel.variable.constraint, MagnitudeClip)
    assert kernel.name.endswith("binary")
    inputs = np.random.default_rng(1).normal(size=(4, 8, 8, 1)).astype(np.float32)
    np.testing.assert_array_equal(built(inputs), model(inputs))
    building.compile_model(built, SIMAN.plan(), 0.1)
    built.fit(inputs, np.arange(4), verbose=0)
    sizes = np.abs(kernel.latent())
    # 15 percent are clamped from below.
    assert np.mean(np.isclose(sizes, sizes.min())) == pytest.approx(0.15, abs=0.01)
    built.save(tmp_path / "model.keras")
    [again] = quantized_kernels(tf.keras.models.load_model(tmp_path / "model.keras"))
    np.testing.assert_array_equal(again.latent(), kernel.latent())
    # A subclassed model makes its layers itself, when it is loaded too.
    assert isinstance(again.variable.constraint, MagnitudeClip) == (type(built) is not Subclassed)


def test_a_model_that_cannot_be_rebuilt_cannot_be_constrained():
    with pytest.raises(InputError, match="model 'closed' of class Closed must be one that from_config"):
        building.build(SIMAN, SIMAN.plan(), IMAGES, lambda **_: called(Closed))


def softmax(x):
    return tf.exp(x) / tf.reduce_sum(tf.exp(x), axis=-1, keepdims=True)


@pytest.mark.parametrize(
    ("activation", "logits"),
    [("softmax", False), (tf.nn.softmax, False), (softmax, False), ("linear", True), ("sigmoid", True)],
)
def test_probabilities_are_not_taken_for_logits(activation, logits):
    model = tf.keras.Sequential([tf.keras.Input((4,)), tf.keras.layers.Dense(3, activation=activation)])
    building.compile_model(model, training.Settings().plan(), 0.1)
    assert model.loss.get_config()["from_logits"] is logits


@pytest.mark.parametrize(
    "end",
    [
        lambda x: tf.nn.softmax(x),
        lambda x: tf.reshape(tf.cast(tf.nn.softmax(x), tf.float32), (-1, 3)),
        lambda x: tf.keras.layers.Reshape((3,))(tf.keras.layers.Softmax()(x)),
        lambda x: tf.keras.layers.Activation("linear", dtype="float32")(
            tf.keras.Sequential([tf.keras.layers.Activation("softmax"), tf.keras.layers.Flatten()])(x)
        ),
    ],
)
@pytest.mark.parametrize("probabilities", [True, False])
def test_a_softmax_is_seen_behind_what_keeps_its_numbers(end, probabilities):
    image = tf.keras.Input((4,))
    found = end(tf.keras.layers.Dense(3)(image))
    model = tf.keras.Model(image, found if probabilities else tf.keras.layers.Dense(3)(found))
    building.compile_model(model, training.Settings().plan(), 0.1)
    assert model.loss.get_config()["from_logits"] is not probabilities


def test_a_softmax_is_seen_in_a_pruned_layer():
    last = lq.layers.QuantDense(3, kernel_quantizer="bi_half", activation="softmax")
    model = tf.keras.Sequential([tf.keras.Input((4,)), pruning.PrunedBinary(last, sparsity=0.5)])
    assert building._answers_probabilities(model)
