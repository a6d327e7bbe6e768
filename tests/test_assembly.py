import types

import larq as lq
import numpy as np
import pytest
import tensorflow as tf
from small import stack

from larq_equalbits import pruning, training
from larq_equalbits._bits.kernels import quantized_kernels
from larq_equalbits._errors import InputError
from larq_equalbits.constraints import MagnitudeClip
from larq_equalbits.training import building

IMAGES = types.SimpleNamespace(name="digits", input_shape=(8, 8, 1), num_classes=10)
SIMAN = training.Settings(recipe="siman")


def functional():
    image = tf.keras.Input((8, 8, 1))
    x = tf.keras.layers.Flatten()(image)
    inner = stack(lq.layers.QuantDense(8, kernel_quantizer="siman", name="binary"), shape=(64,))
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


@pytest.mark.parametrize("make", [functional, lambda: called(Subclassed)])
def test_a_constraint_keeps_the_weights_of_a_trained_network(tmp_path, make):
    model = make()
    model.set_weights([np.random.default_rng(0).normal(size=w.shape) for w in model.get_weights()])
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
    "end",
    [
        tf.keras.layers.Dense(3, activation="softmax"),
        tf.keras.layers.Dense(3, activation=tf.nn.softmax),
        tf.keras.layers.Dense(3, activation=softmax),
        pruning.PrunedBinary(lq.layers.QuantDense(3, kernel_quantizer="bi_half", activation="softmax"), 0.5),
        tf.nn.softmax,
        lambda x: tf.reshape(tf.cast(tf.nn.softmax(x), tf.float32), (-1, 3)),
        lambda x: tf.keras.layers.Reshape((3,))(tf.keras.layers.Softmax()(x)),
        lambda x: tf.keras.layers.Activation("linear", dtype="float32")(
            tf.keras.Sequential([tf.keras.layers.Activation("softmax"), tf.keras.layers.Flatten()])(x)
        ),
    ],
)
@pytest.mark.parametrize("after", [None, "linear", "sigmoid"])
def test_a_softmax_at_the_end_is_not_taken_for_logits(end, after):
    image = tf.keras.Input((4,))
    answer = end(tf.keras.layers.Dense(3)(image))
    if after is not None:
        answer = tf.keras.layers.Dense(3, activation=after)(answer)
    model = tf.keras.Model(image, answer)
    building.compile_model(model, training.Settings().plan(), 0.1)
    assert model.loss.get_config()["from_logits"] is (after is not None)
