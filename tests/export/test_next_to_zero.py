"""What lies within LCE's rounding of 0 in front of a sign keeps the sign that Keras gives it."""

import larq
import numpy as np
import pytest
import tensorflow as tf
from stacks import beside, convolution, quant, stack, ternary, without

from larq_equalbits import export
from larq_equalbits.quantizers import BiHalf

layers = tf.keras.layers
CHANNELS = 64


def first(size=(7, 1), **options):
    return convolution(CHANNELS, size, name="first", **options)


def direct(norm):
    """The normalization's signs are read alone: LCE compares sums with thresholds."""
    return [first(), norm]


def activated(norm):
    return [first(), norm, layers.PReLU(tf.keras.initializers.Constant(0.25), shared_axes=[1, 2])]


FRONTS = [
    direct,
    activated,
    lambda norm: [first(), layers.MaxPooling2D((1, 2)), norm],
    lambda norm: [first(padding="same"), norm],
    lambda norm: [first(kernel_quantizer=BiHalf(scale=0.25)), norm],
    lambda norm: [first(use_bias=True, bias_initializer="ones"), norm],
    lambda norm: [first(kernel_quantizer=ternary), norm],
]


def network(front, *, center=True):
    """A network whose normalization answers next to 0 for a sum of 0 (of 1 with the bias), both above and below."""
    norm = layers.BatchNormalization(center=center, name="norm")
    model = stack(*front(norm), convolution(8, name="second"), shape=(10, 8, 48))
    norm.moving_variance.assign(tf.fill([CHANNELS], 146.2))
    offsets = np.linspace(-3e-6, 3e-6, CHANNELS)
    middle = 1.0 if model.layers[0].use_bias else 0.0
    if center:
        norm.moving_mean.assign(tf.fill([CHANNELS], middle))
        norm.beta.assign(offsets)
    else:
        norm.moving_mean.assign(middle - offsets * 12.1)
        norm.gamma.assign([0.0] + [1.0] * (CHANNELS - 1))
    return model, norm


@pytest.fixture
def inputs():
    return np.random.default_rng(5).normal(size=(4, 10, 8, 48)).astype("float32")


def difference_without_the_rewrite(model, inputs):
    unmoved = export.convert(model, rewrites=without("next_to_zero"), verify_on=False).tflite
    return export.verify(model, unmoved, inputs).max_abs_diff


@pytest.mark.parametrize("center", [True, False])
def test_signs_are_those_of_keras(inputs, center):
    networks = [network(front, center=center) for front in FRONTS]
    before = [[value.copy() for value in norm.get_weights()] for _, norm in networks]
    # A factor of 0 divides nothing.
    with np.errstate(invalid="raise"):
        report = export.convert(beside([model for model, _ in networks], inputs.shape[1:]), verify_on=inputs)
    # The last layers add up signs: one that differs changes a sum by two.
    assert report.verification.max_abs_diff == 0
    moved = [row.rewrite for row in report.layers if row.name.endswith("/first")]
    assert len(moved) == len(FRONTS)
    assert all("norm moved by a rounding" in rewrite for rewrite in moved)
    np.testing.assert_equal([norm.get_weights() for _, norm in networks], before)


@pytest.mark.parametrize("front", [direct, activated])
def test_without_the_rewrite_signs_differ(inputs, front):
    model, _ = network(front)
    assert difference_without_the_rewrite(model, inputs) > 0


def test_an_untrained_normalization_after_padded_zeros(inputs):
    model = stack(
        first(3, padding="same"),
        layers.BatchNormalization(),
        convolution(8, name="second"),
        shape=(10, 8, 48),
    )
    assert export.convert(model, verify_on=inputs).verification.max_abs_diff == 0


def test_nothing_moves_far_from_zero(inputs):
    model, norm = network(direct)
    norm.beta.assign(np.random.default_rng(6).choice([-1, 1], CHANNELS) * np.linspace(1e-4, 0.03, CHANNELS))
    report = export.convert(model, verify_on=inputs)
    assert report.verification.max_abs_diff == 0
    assert {row.rewrite for row in report.layers} == {""}


def test_what_no_sign_reads_stays_as_it_is(inputs):
    norm = layers.BatchNormalization(name="norm")
    model = stack(*direct(norm), layers.GlobalAveragePooling2D(), shape=(10, 8, 48))
    report = export.convert(model, verify_on=inputs, tolerance=1)
    assert {row.rewrite for row in report.layers} == {""}


@pytest.mark.parametrize(("kind", "sizes"), [("Conv2DTranspose", (32, 3)), ("DepthwiseConv2D", (4,))])
def test_signs_after_a_float_operator_on_binary_kernels(inputs, kind, sizes):
    layer = quant(kind, *sizes, kernel_quantizer="ste_sign", padding="same")
    # The factor 0.999995 is folded into the kernel, and no sum of multiples of it is exact.
    norm = layers.BatchNormalization(epsilon=1e-5)
    model = stack(layer, norm, convolution(8, name="second"), shape=(10, 8, 48))
    report = export.convert(model, verify_on=inputs)
    assert report.verification.max_abs_diff == 0
    assert difference_without_the_rewrite(model, inputs) > 0


def test_branches_side_by_side(inputs):
    image = tf.keras.Input((10, 8, 48))
    norm = layers.BatchNormalization(name="norm")
    one = norm(first(3, padding="same")(image))
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
    assert difference_without_the_rewrite(model, inputs) >= 2


@pytest.mark.parametrize(("pool", "count"), [((3, "same"), 9), ((3, "same"), 6), ((2, "valid"), 4)])
def test_means_have_the_signs_of_exact_arithmetic(inputs, pool, count):
    """Sums of `count` values of which one is next to 0, above and below by more than Keras rounds."""
    size, padding = pool
    norm = layers.BatchNormalization(name="norm")
    pooling = layers.AveragePooling2D(size, 1, padding)
    model = stack(first(), norm, pooling, convolution(8, name="second"), shape=(10, 8, 48))
    norm.moving_variance.assign(tf.fill([CHANNELS], 146.2))
    norm.moving_mean.assign(tf.fill([CHANNELS], 2 / count))
    above = np.linspace(5e-7, 2e-6, CHANNELS // 2)
    norm.beta.assign(np.concatenate([-above, above]))
    assert export.convert(model, verify_on=inputs).verification.max_abs_diff == 0
    if count != 4:
        # Without the rewrite they differ; a mean of one half is exact, so less is rounded.
        assert difference_without_the_rewrite(model, inputs) >= 2
