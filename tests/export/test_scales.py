"""A kernel with a scale straight before a sign: no rounding decides what follows, in the file and in its reference."""

import larq
import numpy as np
import pytest
import tensorflow as tf
from stacks import WithAFunction, convolution, quant, rows, stack

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


def scaled(x, filters=32, scale="mean_abs", **options):
    return convolution(filters, kernel_quantizer=BiHalf(scale=scale), **options)(x)


def test_a_scale_that_is_read_stays():
    image = tf.keras.Input((6, 6, 32))
    value, output, unscaled = scaled(image), scaled(image), scaled(image, scale=None)
    shifted = layers.BatchNormalization(beta_initializer="ones")(scaled(image))
    signs = [convolution()(each) for each in (value, output, shifted, unscaled)]
    report = export.convert(tf.keras.Model(image, [*signs, layers.Dense(2)(value), output]))
    assert report.verification.max_abs_diff <= 1e-4
    assert all(TAKEN not in row.rewrite for row in report.layers)


def test_a_scale_of_channels_first_is_let_alone():
    model = stack(
        convolution(8, kernel_quantizer=BiHalf(scale=0.5), data_format="channels_first"), shape=(32, 7, 7)
    )
    images = np.random.default_rng(1).normal(size=(4, 32, 7, 7)).astype("float32")
    expected = model.predict_on_batch(images)
    with exact_signs(model):
        np.testing.assert_array_equal(model.predict_on_batch(images), expected)


def mean(x):
    return layers.GlobalAveragePooling2D()(x)


# Of an image of 5x5 pixels with 7 channels.
AVERAGES = {
    "permuted": lambda x: mean(layers.Permute((3, 1, 2))(x)),
    "reshaped": lambda x: layers.AveragePooling1D(7)(layers.Reshape((5 * 5 * 7, 1))(x)),
    "of_rows_for_channels": layers.AveragePooling2D((5, 1), data_format="channels_first"),
    "beside_each_other": lambda x: mean(layers.Concatenate(axis=1)([x, x])),
    "after_a_hard_tanh": lambda x: mean(layers.Activation(larq.activations.hard_tanh)(x)),
    "after_a_maximum_of_filters": lambda x: layers.GlobalAveragePooling1D()(
        layers.MaxPooling1D(7)(layers.Reshape((5 * 5 * 7, 1))(x))
    ),
    "channels_last": lambda x: mean(layers.Reshape((25, 1, 7))(x)),
}


def converted(model):
    """The report; what the file answers and Keras itself, without a reference in exact arithmetic."""
    images = np.random.default_rng(0).normal(size=(40, 7, 7, 33)).astype("float32")
    report = export.convert(model)
    (found,) = load(report.tflite).predict({model.input_names[0]: images}).values()
    return report, found, model.predict(images, verbose=0)


def test_an_average_over_filters_of_different_scales_keeps_them():
    # All sums have odd numbers of terms, so none is 0.
    image = tf.keras.Input((7, 7, 33))
    averages = [average(scaled(image, 7, name=name)) for name, average in AVERAGES.items()]
    signs = [larq.quantizers.SteSign()(layers.Reshape((-1,))(average)) for average in averages]
    model = tf.keras.Model(image, layers.Concatenate()(signs))
    for name in AVERAGES:
        kernel = model.get_layer(name).kernel.latent_variable
        kernel.assign(kernel * np.geomspace(0.1, 10, 7).astype("float32"))
    report, found, expected = converted(model)
    assert [row.name for row in report.layers if TAKEN in row.rewrite] == ["channels_last"]
    np.testing.assert_array_equal(found, expected)


def test_an_average_over_branches_of_different_scales_keeps_them():
    image = tf.keras.Input((7, 7, 33))
    joined = layers.Concatenate(axis=1)([scaled(image, 7, scale) for scale in (0.1, 10.0)])
    model = tf.keras.Model(image, larq.quantizers.SteSign()(mean(joined)))
    _, found, expected = converted(model)
    assert np.mean(found == expected) > 0.99
