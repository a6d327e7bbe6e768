import larq
import numpy as np
import pytest
import tensorflow as tf
from stacks import convolution, quant, rows, stack

from larq_equalbits import export
from larq_equalbits.export.kernels import split
from larq_equalbits.quantizers import BiHalf

SMALL = 2e-4
KEPT = np.random.default_rng(4).random((3, 3, 32, 8)) >= 0.4


def ternary(layer, kept=KEPT):
    """`layer` as a model whose kernel is -1 or +1 where that is kept, and elsewhere 0."""
    model = stack(layer)
    layer.kernel.assign(kept * np.random.default_rng(3).choice([-1.0, 1.0], layer.kernel.shape))
    return model


def test_a_plain_binary_convolution_needs_no_rewrite(exact, images):
    report, operators = exact(stack(convolution(name="c")), images)
    assert operators == {"LceQuantize": 1, "LceBconv2d": 1}
    assert rows(report)["c"].rewrite == ""


@pytest.mark.parametrize(
    ("kind", "sizes", "options", "shape", "rewrite"),
    [
        ("Dense", (10,), {"use_bias": True}, (96,), "dense as convolution"),
        ("Dense", (4,), {"use_bias": True}, (5, 64), "dense as convolution"),
        *(
            ("Conv1D", (8, 3), options, (16, 32), "conv1d as convolution")
            for options in ({}, {"padding": "same", "pad_values": 1.0}, {"strides": 2}, {"dilation_rate": 2})
        ),
        *(
            ("SeparableConv2D", (8, 3), {"padding": padding}, (8, 8, 32), "separable as one convolution")
            for padding in ("valid", "same")
        ),
    ],
)
def test_a_layer_becomes_a_convolution(exact, kind, sizes, options, shape, rewrite):
    model = stack(quant(kind, *sizes, **options), shape=shape)
    report, operators = exact(model, np.random.default_rng(0).normal(size=(5, *shape)))
    assert operators["LceBconv2d"] == 1
    assert not {"FULLY_CONNECTED", "DEPTHWISE_CONV_2D"} & set(operators)
    assert [row.rewrite for row in report.layers] == [rewrite]


def test_a_dense_layer_after_a_flatten_keeps_packed_bits(exact, images):
    model = stack(
        convolution(32, padding="same", pad_values=1, name="c"),
        tf.keras.layers.BatchNormalization(),
        tf.keras.layers.Flatten(),
        quant("Dense", 10, use_bias=True, name="d"),
    )
    report, operators = exact(model, images)
    assert operators["LceBconv2d"] == 2
    assert operators["LceQuantize"] == 1
    assert rows(report)["d"].bytes < 8 * 8 * 32 * 10 / 8 + 200


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"padding": "same", "pad_values": 1.0},
        {"padding": "same"},
        {"strides": 2},
        {"dilation_rate": 2},
    ],
)
def test_zeros_make_two_binary_kernels(exact, images, options):
    report, operators = exact(ternary(convolution(kernel_quantizer="ste_tern", name="t", **options)), images)
    assert operators == {"LceQuantize": 1, "LceBconv2d": 2, "ADD": 1}
    assert rows(report)["t"].operator == "LceBconv2d + LceBconv2d"
    assert rows(report)["t"].binary


def test_a_normalization_goes_into_both_kernels(exact, images):
    model = ternary(convolution(kernel_quantizer="ste_tern", name="t"))
    model.add(tf.keras.layers.BatchNormalization(name="n"))
    report, operators = exact(model, images, atol=SMALL)
    assert operators == {"LceQuantize": 1, "LceBconv2d": 2, "ADD": 1}
    assert "batch normalization folded" in rows(report)["t"].rewrite
    _, apart = exact(model, images, atol=SMALL, rewrites=["convolution"])
    assert apart["MUL"] == 1


def test_zero_filters_become_a_mask(exact, images):
    layer = convolution(kernel_quantizer="ste_tern", name="t")
    report, operators = exact(ternary(layer, np.array([1, 0, 1, 1, 0, 1, 1, 1])), images)
    assert operators == {"LceQuantize": 1, "LceBconv2d": 1}
    assert "zero filters" in rows(report)["t"].rewrite


def test_normalization_and_pooling_change_places(exact, images):
    model = stack(
        convolution(32, padding="same", pad_values=1, name="c"),
        tf.keras.layers.MaxPooling2D(),
        tf.keras.layers.BatchNormalization(),
        convolution(name="next"),
    )
    report, operators = exact(model, images)
    assert operators == {"LceQuantize": 1, "LceBconv2d": 2, "LceBMaxPool2d": 1}
    assert "batch normalization before pooling" in rows(report)["c"].rewrite


def test_a_negative_factor_keeps_the_order(images):
    norm = tf.keras.layers.BatchNormalization()
    model = stack(convolution(padding="same"), tf.keras.layers.MaxPooling2D(), norm)
    norm.gamma.assign([-1.0] + [1.0] * 7)
    report = export.convert(model, verify_on=images)
    assert report.verification.max_abs_diff < SMALL
    assert not any(layer.rewrite for layer in report.layers)


def test_what_cannot_change_a_sign_goes_away(exact, images):
    model = stack(
        tf.keras.layers.Activation(larq.activations.hard_tanh),
        tf.keras.layers.Rescaling(0.25),
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
    return tf.keras.layers.PReLU(tf.keras.initializers.Constant(np.resize(slopes, 32)), shared_axes=[1, 2])


@pytest.mark.parametrize(
    "before",
    [
        [_prelu(0.25, 1e-3, 2.0)],
        [tf.keras.layers.LeakyReLU(0.1)],
        [_prelu(0.25), tf.keras.layers.MaxPooling2D(), tf.keras.layers.Dropout(0.5)],
    ],
)
def test_positive_slopes_go_away_before_a_sign(exact, images, before):
    norm = tf.keras.layers.BatchNormalization()
    report, operators = exact(stack(convolution(32), norm, *before, convolution(name="c")), images)
    pooled = {"LceBMaxPool2d": 1} if len(before) > 1 else {}
    assert operators == {"LceQuantize": 1, "LceBconv2d": 2} | pooled
    assert "taken away before its sign" in rows(report)["c"].rewrite


@pytest.mark.parametrize("loaded", [False, True])
@pytest.mark.parametrize(
    "change",
    [
        lambda x: x / 3.0,
        lambda x: x * 2.0,
        lambda x: 2.0 * x,
        lambda x: x / np.linspace(0.5, 2, 32, dtype="float32"),
        lambda x: tf.divide(x, 3.0) * 2.0,
    ],
)
def test_a_positive_constant_goes_away_before_a_sign(exact, images, change, loaded):
    inputs = tf.keras.Input((8, 8, 32))
    model = tf.keras.Model(inputs, convolution(name="c")(change(inputs)))
    if loaded:
        model = tf.keras.Model.from_config(model.get_config())
    report, operators = exact(model, images)
    assert operators == {"LceQuantize": 1, "LceBconv2d": 1}
    assert "taken away before its sign" in rows(report)["c"].rewrite


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x * -2.0,
        lambda x: x / -2.0,
        lambda x: x * 1e-30,
        lambda x: x / np.linspace(-1, 2, 32, dtype="float32"),
        lambda x: 2.0 / x,
        lambda x: _prelu(0.25, 0.0)(x),
        lambda x: _prelu(0.25, -0.25)(x),
        lambda x: x * x,
        lambda x: x + 2.0,
        lambda x: x[..., :1] * np.ones(32, "float32"),
    ],
)
def test_what_may_change_a_sign_stays(exact, images, change):
    inputs = tf.keras.Input((8, 8, 32))
    report, operators = exact(tf.keras.Model(inputs, convolution(name="c")(change(inputs))), images)
    assert len(operators) > 2
    assert rows(report)["c"].rewrite == ""


@pytest.mark.parametrize("first", ["float", "binary", "ternary"])
def test_an_activation_of_a_layer_goes_away_before_a_sign(exact, images, first):
    if first == "float":
        layer = tf.keras.layers.Conv2D(32, 3, activation="hard_tanh", name="f")
    else:
        quantizer = {"binary": "ste_sign", "ternary": "ste_tern"}[first]
        layer = convolution(32, activation="hard_tanh", kernel_quantizer=quantizer, name="f")
    model = stack(layer, convolution(name="c"))
    report, _ = exact(model, images)
    assert "hard tanh taken away before a sign" in rows(report)["f"].rewrite
    assert layer.activation is larq.activations.hard_tanh
    if first == "float":
        # Integers know no hard tanh, so without it the layer can be one of them.
        report = export.convert(model, float_layers="int8", calibrate_on=images)
        assert rows(report)["f"].weights == "int8"


@pytest.mark.parametrize("read", ["output", "skip", "own quantizer"])
def test_an_activation_that_is_read_elsewhere_stays(exact, images, read):
    class Shifted(larq.quantizers.SteSign):
        def call(self, inputs):
            return super().call(inputs - 1.0)

    quantizer = Shifted() if read == "own quantizer" else "ste_sign"
    inputs = tf.keras.Input((8, 8, 32))
    x = convolution(8, activation="hard_tanh", name="f")(inputs)
    outputs = convolution(8, 1, input_quantizer=quantizer, name="c")(x)
    if read == "output":
        outputs = [x, outputs]
    if read == "skip":
        outputs = tf.keras.layers.Add()([x, outputs])
    report, _ = exact(tf.keras.Model(inputs, outputs), images)
    assert not any(layer.rewrite for layer in report.layers)


class Same(larq.layers.QuantDense):
    """A subclass that computes what its base does."""


class Doubled(larq.layers.QuantDense):
    """A subclass that does not."""

    def call(self, inputs):
        return 2 * super().call(inputs)


@pytest.mark.parametrize("kind", [Same, Doubled])
def test_a_subclass_is_rewritten_where_it_computes_what_its_base_does(exact, kind):
    model = stack(quant(kind, 10, use_bias=True, name="d"), shape=(96,))
    inputs = np.random.default_rng(0).normal(size=(5, 96))
    if kind is Same:
        report, _ = exact(model, inputs)
        assert report.layers[0].binary
        return
    with pytest.raises(export.ConversionError, match=r"d .*Doubled computes otherwise than QuantDense"):
        export.convert(model)
    report, _ = exact(model, inputs, strict=False)
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


def test_every_rewrite_can_be_switched_off():
    model = stack(quant("Dense", 10, name="d"), shape=(96,))
    with pytest.raises(export.ConversionError, match="d \\(FULLY_CONNECTED\\)"):
        export.convert(model, rewrites=[])
    report = export.convert(model, rewrites=[], strict=False)
    assert not report.layers[0].binary
    assert "dense" in report.layers[0].reason
    with pytest.raises(ValueError, match="rewrites"):
        export.convert(model, rewrites=["nothing"])


@pytest.mark.parametrize("scale", [0.01, 1.0, 100.0, "fan_in", "mean_abs"])
def test_a_scale_folds(exact, images, scale):
    model = stack(convolution(kernel_quantizer=BiHalf(scale=scale), name="c"))
    # Sums that tie are apart by rounding in Keras on some processors: the values count here, not the largest of them.
    _, operators = exact(model, images, atol=1e-2 if scale == 100 else SMALL, tolerance=1.0)
    assert operators == {"LceQuantize": 1, "LceBconv2d": 1}


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
