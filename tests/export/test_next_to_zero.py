"""What lies within LCE's rounding of 0 in front of a sign keeps the sign that Keras gives it."""

import larq
import numpy as np
import pytest
import tensorflow as tf
from stacks import stack

from larq_equalbits import export
from larq_equalbits.quantizers import BiHalf

layers = tf.keras.layers
WITHOUT = [name for name in export.REWRITES if name != "next_to_zero"]
CHANNELS = 64


def ternary(kernel):
    return tf.sign(tf.where(tf.abs(kernel) < 0.01, 0.0, kernel))


def direct(convolution, norm):
    """The normalization's signs are read alone: LCE compares sums with thresholds."""
    return [convolution(CHANNELS, (7, 1), name="first"), norm]


def pooled(convolution, norm):
    return [convolution(CHANNELS, (7, 1), name="first"), layers.MaxPooling2D((1, 2)), norm]


def activated(convolution, norm):
    return [
        *direct(convolution, norm),
        layers.PReLU(tf.keras.initializers.Constant(0.25), shared_axes=[1, 2]),
    ]


def padded(convolution, norm):
    return [convolution(CHANNELS, (7, 1), padding="same", name="first"), norm]


def scaled(convolution, norm):
    return [convolution(CHANNELS, (7, 1), kernel_quantizer=BiHalf(scale=0.25), name="first"), norm]


def biased(convolution, norm):
    return [convolution(CHANNELS, (7, 1), use_bias=True, bias_initializer="ones", name="first"), norm]


def of_zeros(convolution, norm):
    return [convolution(CHANNELS, (7, 1), kernel_quantizer=ternary, name="first"), norm]


def network(convolution, front, *, center=True):
    """A network whose normalization answers next to 0 for a sum of 0 (of 1 with the bias), both above and below."""
    norm = layers.BatchNormalization(center=center, name="norm")
    model = stack(*front(convolution, norm), convolution(8, name="second"), shape=(10, 8, 48))
    norm.moving_variance.assign(tf.fill([CHANNELS], 146.2))
    offsets = np.linspace(-3e-6, 3e-6, CHANNELS)
    middle = 1.0 if model.layers[0].use_bias else 0.0
    if center:
        norm.moving_mean.assign(tf.fill([CHANNELS], middle))
        norm.beta.assign(offsets)
    else:
        norm.moving_mean.assign(middle - offsets * 12.1)
    return model, norm


@pytest.fixture
def inputs():
    return np.random.default_rng(5).normal(size=(4, 10, 8, 48)).astype("float32")


@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize("front", [direct, pooled, activated, padded, scaled, biased, of_zeros])
def test_signs_are_those_of_keras(convolution, inputs, front, center):
    model, norm = network(convolution, front, center=center)
    before = [value.copy() for value in norm.get_weights()]
    report = export.convert(model, verify_on=inputs)
    # The last layer adds up signs: one that differs changes a sum by two.
    assert report.verification.max_abs_diff == 0
    (row,) = (row for row in report.layers if row.name == "first")
    assert "offsets of norm moved by a rounding" in row.rewrite
    np.testing.assert_equal(norm.get_weights(), before)


@pytest.mark.parametrize("front", [direct, activated])
def test_without_the_rewrite_signs_differ(convolution, inputs, front):
    model, _ = network(convolution, front)
    assert (
        export.verify(
            model, export.convert(model, rewrites=WITHOUT, verify_on=False).tflite, inputs
        ).max_abs_diff
        > 0
    )


def test_an_untrained_normalization_after_padded_zeros(convolution, inputs):
    model = stack(
        convolution(CHANNELS, padding="same", name="first"),
        layers.BatchNormalization(),
        convolution(8, name="second"),
        shape=(10, 8, 48),
    )
    assert export.convert(model, verify_on=inputs).verification.max_abs_diff == 0


def test_nothing_moves_far_from_zero(convolution, inputs):
    model, norm = network(convolution, direct)
    norm.beta.assign(np.random.default_rng(6).choice([-1, 1], CHANNELS) * np.linspace(1e-4, 0.03, CHANNELS))
    report = export.convert(model, verify_on=inputs)
    assert report.verification.max_abs_diff == 0
    assert {row.rewrite for row in report.layers} == {""}


def test_what_no_sign_reads_stays_as_it_is(convolution, inputs):
    norm = layers.BatchNormalization(name="norm")
    model = stack(*direct(convolution, norm), layers.GlobalAveragePooling2D(), shape=(10, 8, 48))
    report = export.convert(model, verify_on=inputs, tolerance=1)
    assert {row.rewrite for row in report.layers} == {""}


@pytest.mark.parametrize(
    ("kind", "arguments", "kernel"),
    [
        (larq.layers.QuantConv2DTranspose, (32, 3), "kernel"),
        (larq.layers.QuantDepthwiseConv2D, (4,), "depthwise"),
    ],
)
def test_signs_after_a_float_operator_on_binary_kernels(convolution, inputs, kind, arguments, kernel):
    options = {"padding": "same", "use_bias": False, "input_quantizer": "ste_sign"}
    image = tf.keras.Input((10, 8, 48))
    first = kind(*arguments, name="first", **options, **{f"{kernel}_quantizer": "ste_sign"})
    # The factor 0.999995 is folded into the kernel, and no sum of multiples of it is exact.
    x = layers.BatchNormalization(epsilon=1e-5)(first(image))
    model = tf.keras.Model(image, convolution(8, name="second")(x))
    report = export.convert(model, verify_on=inputs)
    assert report.verification.max_abs_diff == 0
    unmoved = export.convert(model, rewrites=WITHOUT, verify_on=False).tflite
    assert export.verify(model, unmoved, inputs).max_abs_diff > 0


def test_branches_side_by_side(convolution, inputs):
    image = tf.keras.Input((10, 8, 48))
    norm = layers.BatchNormalization(name="norm")
    one = norm(convolution(CHANNELS, padding="same", name="first")(image))
    other = layers.AveragePooling2D(3, 1, "same")(image)
    joined = layers.Concatenate()([one, other])
    sums = layers.Concatenate()(
        [convolution(8, name="second")(joined), larq.layers.QuantConv2D(4, 3, use_bias=False)(joined)]
    )
    model = tf.keras.Model(image, sums)
    norm.moving_variance.assign(tf.fill([CHANNELS], 432.0))
    norm.beta.assign(np.linspace(-1e-6, 1e-6, CHANNELS))
    difference = export.convert(model, verify_on=inputs).verification.max_abs_diff
    assert difference < 1e-3
    unmoved = export.convert(model, rewrites=WITHOUT, verify_on=False).tflite
    assert export.verify(model, unmoved, inputs).max_abs_diff >= 2


@pytest.mark.parametrize(("pool", "count"), [((3, "same"), 9), ((3, "same"), 6), ((2, "valid"), 4)])
def test_means_have_the_signs_of_exact_arithmetic(convolution, inputs, pool, count):
    """Sums of `count` values of which one is next to 0, above and below by more than Keras rounds."""
    size, padding = pool
    norm = layers.BatchNormalization(name="norm")
    model = stack(
        convolution(CHANNELS, (7, 1), name="first"),
        norm,
        layers.AveragePooling2D(size, 1, padding),
        convolution(8, name="second"),
        shape=(10, 8, 48),
    )
    norm.moving_variance.assign(tf.fill([CHANNELS], 146.2))
    norm.moving_mean.assign(tf.fill([CHANNELS], 2 / count))
    above = np.linspace(5e-7, 2e-6, CHANNELS // 2)
    norm.beta.assign(np.concatenate([-above, above]))
    assert export.convert(model, verify_on=inputs).verification.max_abs_diff == 0
    if count != 4:
        # Without the rewrite they differ; a mean of one half is exact, so less is rounded.
        unmoved = export.convert(model, rewrites=WITHOUT, verify_on=False).tflite
        assert export.verify(model, unmoved, inputs).max_abs_diff >= 2
