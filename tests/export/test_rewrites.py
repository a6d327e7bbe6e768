import larq
import numpy as np
import pytest
import tensorflow as tf
from stacks import beside, convolution, network_on, quant, rows, stack

from larq_equalbits import export
from larq_equalbits.export.kernels import split
from larq_equalbits.quantizers import BiHalf

layers = tf.keras.layers
SMALL = 2e-4
PADDED = {"padding": "same"}
GEOMETRIES = [{}, PADDED, {**PADDED, "pad_values": 1.0}, {"strides": 2}, {"dilation_rate": 2}]
KEPT = np.random.default_rng(4).random((3, 3, 32, 8)) >= 0.4


def ternary(layer, seed=3):
    """`layer` as a model whose kernel has zeros."""
    model = stack(layer)
    layer.kernel.assign(KEPT * np.random.default_rng(seed).choice([-1.0, 1.0], KEPT.shape))
    return model


@pytest.mark.parametrize(
    ("kind", "sizes", "options", "shape", "rewrite"),
    [
        ("Dense", (10,), [{"use_bias": True}], (96,), "dense as convolution"),
        ("Dense", (4,), [{"use_bias": True}], (5, 64), "dense as convolution"),
        ("Conv1D", (8, 3), GEOMETRIES, (16, 32), "conv1d as convolution"),
        ("SeparableConv2D", (8, 3), [{}, {"padding": "same"}], (8, 8, 32), "separable as one convolution"),
    ],
)
def test_a_layer_becomes_a_convolution(exact, kind, sizes, options, shape, rewrite):
    model = beside([quant(kind, *sizes, **each) for each in options], shape)
    report, operators = exact(model, np.random.default_rng(0).normal(size=(5, *shape)))
    assert operators["LceBconv2d"] == len(options)
    assert not {"FULLY_CONNECTED", "DEPTHWISE_CONV_2D"} & set(operators)
    assert [row.rewrite for row in report.layers] == [rewrite] * len(options)


def test_a_dense_layer_after_a_flatten_keeps_packed_bits(exact, images):
    model = stack(
        convolution(32, padding="same", pad_values=1, name="c"),
        layers.BatchNormalization(),
        layers.Flatten(),
        quant("Dense", 10, use_bias=True, name="d"),
    )
    report, operators = exact(model, images)
    assert operators["LceBconv2d"] == 2
    assert operators["LceQuantize"] == 1
    assert rows(report)["d"].bytes < 8 * 8 * 32 * 10 / 8 + 200


def test_a_dense_layer_after_a_flatten_of_few_channels_fills_its_words(exact):
    model = stack(layers.Flatten(), quant("Dense", 64, name="d"), shape=(6, 6, 2))
    report, _ = exact(model, np.random.default_rng(0).normal(size=(5, 6, 6, 2)))
    assert rows(report)["d"].bytes < 6 * 6 * 2 * 64 / 8 + 800


def test_zeros_make_two_binary_kernels(exact, images):
    made = [convolution(kernel_quantizer="ste_tern", **each) for each in GEOMETRIES]
    model = beside([ternary(layer, seed=seed) for seed, layer in enumerate(made)])
    report, operators = exact(model, images)
    assert operators == {"LceQuantize": 1, "LceBconv2d": 10, "ADD": 5}
    assert [row.operator for row in report.layers] == ["LceBconv2d + LceBconv2d"] * 5
    assert all(row.binary for row in report.layers)


def test_normalization_and_pooling_change_places(exact, images):
    model = stack(
        convolution(32, padding="same", pad_values=1, name="c"),
        layers.MaxPooling2D(),
        layers.BatchNormalization(),
        convolution(name="next"),
    )
    report, operators = exact(model, images)
    assert operators == {"LceQuantize": 1, "LceBconv2d": 2, "LceBMaxPool2d": 1}
    assert "batch normalization before pooling" in rows(report)["c"].rewrite


def test_a_negative_factor_keeps_the_order(images):
    norm = layers.BatchNormalization()
    model = stack(convolution(padding="same"), layers.MaxPooling2D(), norm)
    norm.gamma.assign([-1.0] + [1.0] * 7)
    report = export.convert(model, verify_on=images)
    assert report.verification.max_abs_diff < SMALL
    assert not any(layer.rewrite for layer in report.layers)


def test_what_cannot_change_a_sign_goes_away(exact, images):
    model = stack(
        layers.Activation(larq.activations.hard_tanh),
        layers.Rescaling(0.25),
        convolution(name="c"),
    )
    report, operators = exact(model, images)
    assert operators == {"LceQuantize": 1, "LceBconv2d": 1}
    names = [layer.name for layer in model.layers[:2]]
    note = ", ".join(f"{name} taken away before its sign" for name in names)
    assert rows(report)["c"].rewrite == note
    _, kept = exact(model, images, rewrites=[])
    assert kept == {"RELU_N1_TO_1": 1, "MUL": 1, "LceQuantize": 1, "LceBconv2d": 1}


def _prelu(*slopes):
    return layers.PReLU(tf.keras.initializers.Constant(np.resize(slopes, 32)), shared_axes=[1, 2])


def test_positive_slopes_go_away_before_a_sign(exact, images):
    model = beside(
        stack(convolution(32), layers.BatchNormalization(), *before, convolution(name="c"), shape=(8, 8, 32))
        for before in (
            [_prelu(0.25, 1e-3, 2.0)],
            [layers.LeakyReLU(0.1)],
            [_prelu(0.25), layers.MaxPooling2D(), layers.Dropout(0.5)],
        )
    )
    report, operators = exact(model, images)
    assert operators == {"LceQuantize": 1, "LceBconv2d": 6, "LceBMaxPool2d": 1}
    cleared = [row.name for row in report.layers if "taken away before its sign" in row.rewrite]
    assert [name.partition("/")[2] for name in cleared] == ["c", "c", "c"]


def changed(*changes):
    """A network of a convolution after each of the functions."""
    return beside(lambda x, change=change: convolution()(change(x)) for change in changes)


@pytest.mark.parametrize("loaded", [False, True])
def test_a_positive_constant_goes_away_before_a_sign(exact, images, loaded):
    model = changed(
        lambda x: x / 3.0,
        lambda x: x * 2.0,
        lambda x: 2.0 * x,
        lambda x: x / np.linspace(0.5, 2, 32, dtype="float32"),
        lambda x: tf.divide(x, 3.0) * 2.0,
    )
    if loaded:
        model = tf.keras.Model.from_config(model.get_config())
    report, operators = exact(model, images)
    assert operators == {"LceQuantize": 1, "LceBconv2d": 5}
    assert all("taken away before its sign" in row.rewrite for row in report.layers)


def test_what_may_change_a_sign_stays(exact, images):
    model = changed(
        lambda x: x * -2.0,
        lambda x: x / -2.0,
        lambda x: x * 1e-30,
        lambda x: x / np.linspace(-1, 2, 32, dtype="float32"),
        lambda x: 2.0 / x,
        _prelu(0.25, 0.0),
        _prelu(0.25, -0.25),
        lambda x: x * x,
        lambda x: x + 2.0,
        lambda x: x[..., :1] * np.ones(32, "float32"),
    )
    report, operators = exact(model, images)
    assert operators["LceQuantize"] == operators["LceBconv2d"] == 10
    assert not any(row.rewrite for row in report.layers)


def test_a_factor_that_makes_numbers_of_integers_stays(exact):
    pixels = network_on(6, 6, 32, dtype="int8")(lambda x: convolution()(layers.Rescaling(1 / 128)(x)))
    report, _ = exact(pixels(), np.random.default_rng(1).integers(-128, 128, (4, 6, 6, 32)).astype("int8"))
    assert not report.layers[0].rewrite


def test_an_activation_of_a_layer_goes_away_before_a_sign(exact, images):
    first = [layers.Conv2D(32, 3, activation="hard_tanh", name="float")]
    first += [
        convolution(32, activation="hard_tanh", kernel_quantizer=name) for name in ("ste_sign", "ste_tern")
    ]
    model = beside(stack(layer, convolution(), shape=(8, 8, 32)) for layer in first)
    report, _ = exact(model, images)
    cleared = [row for row in report.layers if "hard tanh taken away before a sign" in row.rewrite]
    assert len(cleared) == 3
    assert all(layer.activation is larq.activations.hard_tanh for layer in first)
    # Integers know no hard tanh, so without it the layer can be one of them.
    report = export.convert(model, float_layers="int8", calibrate_on=images)
    assert rows(report)["float"].weights == "int8"


class Shifted(larq.quantizers.SteSign):
    def call(self, inputs):
        return super().call(inputs - 1.0)


def test_an_activation_that_is_read_elsewhere_stays(exact, images):
    image = tf.keras.Input((8, 8, 32))
    output, skipped, shifted = (convolution(8, activation="hard_tanh")(image) for _ in range(3))
    outputs = [
        output,
        convolution(8, 1)(output),
        layers.Add()([skipped, convolution(8, 1)(skipped)]),
        convolution(8, 1, input_quantizer=Shifted())(shifted),
    ]
    report, _ = exact(tf.keras.Model(image, outputs), images)
    assert not any(row.rewrite for row in report.layers)


class Same(larq.layers.QuantDense):
    """A subclass that computes what its base does."""


class Doubled(larq.layers.QuantDense):
    """A subclass that does not."""

    def call(self, inputs):
        return 2 * super().call(inputs)


def test_a_subclass_is_rewritten_where_it_computes_what_its_base_does(exact):
    same, doubled = (stack(quant(kind, 10, use_bias=True, name="d"), shape=(96,)) for kind in (Same, Doubled))
    inputs = np.random.default_rng(0).normal(size=(5, 96))
    report, _ = exact(same, inputs)
    assert report.layers[0].binary
    words = r"d \(FULLY_CONNECTED\): .*Doubled computes otherwise than QuantDense"
    with pytest.raises(export.ConversionError, match=words):
        export.convert(doubled)
    report, _ = exact(doubled, inputs, strict=False)
    assert not report.layers[0].binary


class SameConvolution(larq.layers.QuantConv2D):
    """A subclass that computes what its base does."""


class DoubledConvolution(larq.layers.QuantConv2D):
    """A subclass that does not."""

    def convolution_op(self, inputs, kernel):
        return 2 * super().convolution_op(inputs, kernel)


def test_a_subclass_of_a_convolution_with_zeros(exact, images):
    same, doubled = (
        ternary(quant(kind, 8, 3, kernel_quantizer="ste_tern", name="t"))
        for kind in (SameConvolution, DoubledConvolution)
    )
    _, operators = exact(same, images)
    assert operators == {"LceQuantize": 1, "LceBconv2d": 2, "ADD": 1}
    with pytest.raises(export.ConversionError, match=r"t .*zero in the kernel.*DoubledConvolution computes"):
        export.convert(doubled)


@pytest.mark.parametrize(
    ("scales", "atol"), [([0.01, 1.0, "fan_in", "mean_abs"], SMALL), ([100.0], 1e-2)], ids=["small", "large"]
)
def test_a_scale_folds(exact, images, scales, atol):
    model = beside([convolution(kernel_quantizer=BiHalf(scale=scale)) for scale in scales])
    # Sums that tie are apart by rounding in Keras on some processors: the values count here, not the largest of them.
    _, operators = exact(model, images, atol=atol, tolerance=1.0)
    assert operators == {"LceQuantize": 1, "LceBconv2d": len(scales)}


def test_a_kernel_of_several_magnitudes_has_no_parts():
    kernel = np.ones((1, 1, 4, 1), "float32")
    kernel[0, 0, 0, 0] = 2
    assert split(kernel) is None
    assert split(np.full((1, 1, 4, 1), 1e-9, "float32")) is None


def test_the_parts_of_a_kernel_add_up():
    generator = np.random.default_rng(0)
    scales = np.array([0.5, 2.0, 1.0], "float32")
    kernel = generator.choice([-1.0, 0.0, 1.0], (3, 3, 5, 3)).astype("float32") * scales
    parts = split(kernel)
    assert parts.form == "two binary kernels"
    np.testing.assert_array_equal(sum(parts.kernels), kernel)
    for part in parts.kernels:
        np.testing.assert_array_equal(np.abs(part), np.broadcast_to(scales / 2, part.shape))
