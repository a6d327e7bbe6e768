"""A kernel with a scale straight before a sign: no rounding decides what follows, in the file and in its reference."""

import larq
import numpy as np
import pytest
import tensorflow as tf
from stacks import convolution, quant, rows, stack

from larq_equalbits import export, pruning
from larq_equalbits.export.interpreter import load
from larq_equalbits.export.reference import exact_signs
from larq_equalbits.quantizers import BiHalf

layers = tf.keras.layers
TAKEN = "scale taken out before a sign"


def straight(quantizer):
    return stack(
        convolution(32, kernel_quantizer=quantizer, name="first"),
        convolution(32, kernel_quantizer=quantizer, name="second", use_bias=True),
        layers.MaxPooling2D(),
        layers.Flatten(),
        quant("Dense", 8, kernel_quantizer=quantizer, name="last"),
    )


def past_a_fresh_normalization(quantizer):
    return stack(
        convolution(32, kernel_quantizer=quantizer, name="first"),
        layers.BatchNormalization(),
        layers.Activation(larq.activations.hard_tanh),
        convolution(32, kernel_quantizer=quantizer, name="second"),
        layers.GlobalAveragePooling2D(),
        larq.quantizers.SteSign(),
        quant("Dense", 8, kernel_quantizer=quantizer, name="last", input_quantizer=None),
    )


def pruned(quantizer):
    return pruning.prune(straight(quantizer), 0.5)


class WithAFunction(tf.keras.Model):
    """A model around another that it calls inside a function of its own."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    @tf.function
    def compiled(self, x):
        return self.inner(x)

    def call(self, x):
        return self.compiled(x)


@pytest.mark.parametrize(
    ("build", "quantizer"),
    [
        (straight, "magnitude_aware_sign"),
        (straight, BiHalf(scale="fan_in")),
        (past_a_fresh_normalization, BiHalf(scale="mean_abs")),
        (pruned, BiHalf(scale="mean_abs")),
    ],
)
def test_no_rounding_decides_a_sign(build, quantizer):
    model = build(quantizer)
    images = np.random.default_rng(1).normal(size=(32, 8, 8, 32)).astype("float32")
    before = model.predict(images, verbose=0)
    report = export.convert(model)
    rewrites = {name: row.rewrite for name, row in rows(report).items()}
    assert [TAKEN in rewrites[name] for name in ("first", "second", "last")] == [True, True, False]
    with exact_signs(model):
        exact = model.predict_on_batch(images)
    (found,) = load(report.tflite).predict({model.input_names[0]: images}).values()
    np.testing.assert_allclose(found, exact, atol=1e-4)
    assert np.abs(found - before).max() > 0.1
    np.testing.assert_array_equal(model.predict(images, verbose=0), before)
    assert export.verify(model, report.tflite, images).max_abs_diff <= 1e-4


def test_a_function_of_the_models_own_keeps_nothing_of_the_comparison():
    model = WithAFunction(straight("magnitude_aware_sign"))
    images = np.random.default_rng(1).normal(size=(8, 8, 8, 32)).astype("float32")
    with exact_signs(model.inner):
        model(images)
    np.testing.assert_array_equal(model(images), model.inner(images))


@pytest.mark.parametrize("use", ["a value", "an output", "a shift", "no scale"])
def test_a_scale_that_is_read_stays(use):
    image = tf.keras.Input((6, 6, 32))
    quantizer = "bi_half" if use == "no scale" else BiHalf(scale="mean_abs")
    x = convolution(32, kernel_quantizer=quantizer, name="first")(image)
    y = layers.BatchNormalization(beta_initializer="ones")(x) if use == "a shift" else x
    outputs = [convolution(name="second")(y)]
    if use == "a value":
        outputs.append(layers.Dense(2)(x))
    elif use == "an output":
        outputs.append(x)
    report = export.convert(tf.keras.Model(image, outputs))
    assert report.verification.max_abs_diff <= 1e-4
    assert all(TAKEN not in row.rewrite for row in report.layers)


def permuted(x):
    return layers.GlobalAveragePooling2D()(layers.Permute((3, 1, 2))(x))


def reshaped(x):
    x = layers.Reshape((5 * 5 * 7, 1))(x)
    return layers.Flatten()(layers.AveragePooling1D(7)(x))


def of_rows_for_channels(x):
    x = layers.AveragePooling2D((5, 1), data_format="channels_first")(x)
    return layers.Flatten()(x)


def beside_each_other(x):
    return layers.GlobalAveragePooling2D()(layers.Concatenate(axis=1)([x, x]))


def after_a_hard_tanh(x):
    return layers.GlobalAveragePooling2D()(layers.Activation(larq.activations.hard_tanh)(x))


def after_a_maximum_of_filters(x):
    x = layers.MaxPooling1D(7)(layers.Reshape((5 * 5 * 7, 1))(x))
    return layers.GlobalAveragePooling1D()(x)


def channels_last(x):
    return layers.GlobalAveragePooling2D()(layers.Reshape((25, 1, 7))(x))


@pytest.mark.parametrize(
    ("average", "taken"),
    [
        (permuted, False),
        (reshaped, False),
        (of_rows_for_channels, False),
        (beside_each_other, False),
        (after_a_hard_tanh, False),
        (after_a_maximum_of_filters, False),
        (channels_last, True),
    ],
)
def test_an_average_over_filters_of_different_scales_keeps_them(average, taken):
    # All sums have odd numbers of terms, so none is 0, and Keras itself is what the file is compared with.
    image = tf.keras.Input((7, 7, 33))
    x = convolution(7, kernel_quantizer=BiHalf(scale="mean_abs"), name="first", padding="valid")(image)
    signs = larq.quantizers.SteSign()(layers.Reshape((-1,))(average(x)))
    model = tf.keras.Model(image, signs)
    kernel = model.get_layer("first").kernel.latent_variable
    kernel.assign(kernel * np.geomspace(0.1, 10, 7).astype("float32"))
    images = np.random.default_rng(0).normal(size=(40, 7, 7, 33)).astype("float32")
    report = export.convert(model)
    assert (TAKEN in rows(report)["first"].rewrite) == taken
    (found,) = load(report.tflite).predict({model.input_names[0]: images}).values()
    np.testing.assert_array_equal(found, model.predict(images, verbose=0))


def test_an_average_over_branches_of_different_scales_keeps_them():
    image = tf.keras.Input((7, 7, 33))
    branches = [
        convolution(7, kernel_quantizer=BiHalf(scale=scale), name=name, padding="valid")(image)
        for name, scale in (("small", 0.1), ("large", 10.0))
    ]
    joined = layers.Concatenate(axis=1)(branches)
    model = tf.keras.Model(image, larq.quantizers.SteSign()(layers.GlobalAveragePooling2D()(joined)))
    images = np.random.default_rng(0).normal(size=(40, 7, 7, 33)).astype("float32")
    report = export.convert(model)
    (found,) = load(report.tflite).predict({model.input_names[0]: images}).values()
    same = found == model.predict(images, verbose=0)
    assert same.mean() > 0.99
