"""Networks of many shapes against Keras: what a trained network may have and a fresh one has not."""

import larq
import numpy as np
import pytest
import tensorflow as tf
from stacks import as_if_trained, beside, convolution, network_on, normalized, quant, rows, stack

from larq_equalbits import export, pruning
from larq_equalbits._errors import ConversionError, InputError

layers = tf.keras.layers
on_image = network_on(8, 8, 32)
SIGN = larq.quantizers.SteSign


def pruned(layer):
    return pruning.PrunedBinary(layer, sparsity=0.5)


def after_a_sign(kind, *sizes, **options):
    return quant(kind, *sizes, input_quantizer=None, **options)


def ones(filters=8, **options):
    return convolution(filters, 1, kernel_quantizer="ste_sign", kernel_initializer="ones", **options)


@on_image
def negative_factors(image, prune=False, **padding):
    first = convolution(48, name="first", **padding)
    x = normalized(pruned(first) if prune else first, image)
    return layers.GlobalAveragePooling2D()(convolution(name="second")(x))


@network_on(8, 8, 64)
def all_ones_of_two_sizes(image):
    return layers.Concatenate()([ones(name=f"of_{count}")(image[..., :count]) for count in (40, 50)])


@on_image
def one_bit_apart(image):
    first, second = ones(name="first"), ones(name="second")
    outputs = [first(image), second(image)]
    kernel = np.ones((1, 1, 32, 8), "float32")
    kernel[0, 0, 3, 2] = -1
    second.set_weights([kernel])
    return layers.Concatenate()(outputs)


@on_image
def equal_kernels_on_one_input(image):
    return layers.Concatenate()([ones(name=name)(image) for name in ("first", "second")])


@on_image
def equal_kernels_one_after_the_other(x, times=1):
    shared = ones(32, name="first")
    for _ in range(times):
        x = normalized(shared, x)
    return ones(32, name="second")(x)


@network_on(4, 4, 32)
def sign_before_dense(image):
    return after_a_sign("Dense", 64, name="first")(layers.Flatten()(SIGN()(image)))


@on_image
def sign_before_a_pruned_kernel(image):
    first = after_a_sign("Conv2D", 32, 3, padding="same", name="first")
    x = normalized(pruned(first), larq.quantizers.ApproxSign()(image))
    x = layers.MaxPooling2D()(layers.Activation(SIGN())(x))
    return after_a_sign("Conv2D", 16, 3, name="second")(x)


@on_image
def signs_that_are_joined(image):
    x = layers.Concatenate()([SIGN()(image), SIGN()(layers.BatchNormalization()(image))])
    return after_a_sign("Conv2D", 16, 3, name="first")(x)


@on_image
def sign_by_a_function(image):
    x = tf.reshape(tf.where(image > 0.5, 1.0, -1.0), (-1, 16, 128))
    return after_a_sign("Conv1D", 16, 3, name="first")(x)


@network_on(9, 32)
def causal(steps, prune=False, **options):
    first = quant("Conv1D", 16, 3, padding="causal", use_bias=True, name="first", **options)
    return normalized(pruned(first) if prune else first, steps)


def numbers(*shape):
    return np.random.default_rng(len(shape)).normal(size=shape).astype("float32")


@on_image
def constants_of_any_shape(image):
    x = numbers(1, 1, 16) - convolution(16, name="first")(image) * numbers(1, 1, 1, 16)
    x = tf.reshape(convolution(name="second")(x) * numbers(4, 4, 8) + numbers(4, 1, 8), (-1, 16, 8))
    x = quant("Conv1D", 8, 3, name="third")(x) + numbers(14, 8)
    return quant("Dense", 8, name="fourth")(layers.Flatten()(x)) / numbers(1, 8) + numbers(1, 1)


class Cell(layers.Layer):
    state_size = 16

    def build(self, _):
        self.dense, self.bias = quant("Dense", 16, name="dense"), self.add_weight("bias", (1, 16))

    def call(self, x, states):
        x = self.dense(x) + self.bias + states[0]
        return x, [x]


TWO, THREE = {"first": 1, "second": 1}, {"first": 2, "second": 1}
# name: (network, how many operators each binary layer has)
SHAPES = {
    "negative factors, valid": (negative_factors, TWO),
    "negative factors, padded with ones": (lambda: negative_factors(padding="same", pad_values=1), TWO),
    "negative factors, padded with zeros": (lambda: negative_factors(padding="same"), TWO),
    "negative factors, pruned": (lambda: negative_factors(True), THREE),
    "all ones of two sizes": (all_ones_of_two_sizes, {"of_40": 1, "of_50": 1}),
    "one bit apart": (one_bit_apart, TWO),
    "equal kernels on one input": (equal_kernels_on_one_input, TWO),
    "equal kernels one after the other": (equal_kernels_one_after_the_other, TWO),
    "a shared layer and its equal": (lambda: equal_kernels_one_after_the_other(2), THREE),
    "a sign as a layer before a dense one": (sign_before_dense, {"first": 1}),
    "a sign as a layer before a pruned kernel": (sign_before_a_pruned_kernel, THREE),
    "signs that are joined": (signs_that_are_joined, {"first": 1}),
    "causal": (lambda: causal(activation="relu"), {"first": 1}),
    "causal with strides": (lambda: causal(kernel_quantizer="siman", strides=2), {"first": 1}),
    "causal and dilated beyond the input": (lambda: causal(dilation_rate=6), {"first": 1}),
    "causal and pruned": (lambda: causal(True, dilation_rate=2), {"first": 2}),
    "constants of any shape": (
        constants_of_any_shape,
        dict.fromkeys(("first", "second", "third", "fourth"), 1),
    ),
    "a sign by a function": (sign_by_a_function, {"first": 1}),
}


@pytest.mark.parametrize("name", SHAPES)
def test_a_network_converts_and_answers_as_keras_does(name):
    build, expected = SHAPES[name]
    model = as_if_trained(build())
    inputs = np.random.default_rng(1).normal(size=(24, *model.input_shape[1:])).astype("float32")
    report = export.convert(model, verify_on=inputs)
    assert report.verification.max_abs_diff <= 1e-4
    found = rows(report)
    assert {name: row.operator.count("LceBconv2d") for name, row in found.items()} == expected
    assert all(row.binary and row.weights in ("1 bit", "2 bits") and not row.reason for row in found.values())


def test_what_the_converter_merged_is_counted_once(tmp_path):
    report = export.convert(equal_kernels_on_one_input(), tmp_path / "model.tflite")
    assert export.audit(tmp_path / "model.tflite").layers == report.layers
    first, second = report.layers
    assert first.bytes > 0 and second.bytes == 0
    assert second.rewrite == "computed by first, which is the same"
    operators = export.audit(report.tflite).operators
    assert operators["LceBconv2d"] == 1


def reading(quantizer, name="only"):
    return convolution(input_quantizer=quantizer, name=name)


def test_an_input_of_other_values_than_a_sign_keeps_them():
    inputs = np.random.default_rng(1).normal(size=(8, 8, 8, 32)).astype("float32")
    inputs[0, 0, 0, :3] = [0.05, -0.05, 0.0]
    after = reading(None, "after")
    branches = [
        reading("ste_tern", "ternary"),
        reading("dorefa_quantizer", "bits"),
        lambda x: after(larq.quantizers.SteTern(0.5)(x)),
        lambda x: reading(None, "activated")(layers.Activation(larq.quantizers.SteTern(0.5))(x)),
    ]
    model = beside(branches)
    report = export.convert(model)
    # Not the largest output of a whole image: rounding decides between equal ones.
    assert export.verify(model, report.tflite, inputs).max_abs_diff <= 1e-4
    assert not any(row.binary or row.expected for row in report.layers)
    none = "no input quantizer: its input is float (1/32)"
    assert {name: row.reason.partition(";")[0] for name, row in rows(report).items()} == {
        "ternary": "input not binary: ste_tern gives 2 bits",
        "bits": "input not binary: do_re_fa gives 2 bits",
        "after": none,
        "activated": none,
    }


@pytest.mark.parametrize("binary", [True, False])
def test_whether_an_input_is_binary_is_a_matter_of_what_arrives(binary):
    before = [SIGN()] if binary else [SIGN(), layers.AveragePooling2D()]
    (row,) = export.convert(stack(*before, after_a_sign("Conv2DTranspose", 4, 3))).layers
    assert row.expected is False
    assert (row.reason == "no input quantizer: its input is float (1/32)") is not binary


def test_a_separable_layer_with_one_binary_half_is_no_binary_layer():
    halves = [
        larq.layers.QuantSeparableConv2D(4, 3, input_quantizer="ste_sign", **{name: "bi_half"})
        for name in ("depthwise_quantizer", "pointwise_quantizer")
    ]
    assert not any(row.binary or row.expected for row in export.convert(beside(halves)).layers)


def test_a_locally_connected_layer_is_called_that():
    made = [quant("LocallyConnected2D", 4, 3, use_bias=True, implementation=each) for each in (1, 2)]
    reasons = [row.reason for row in export.convert(beside(made, (4, 4, 8))).layers]
    assert len(reasons) == 2
    assert all(each.startswith("locally connected: LCE has no binary operator") for each in reasons)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (
            lambda: layers.LocallyConnected1D(4, 3, implementation=3, name="local"),
            "'local' must have implementation=1 or 2",
        ),
        (lambda: layers.LSTM(4, stateful=True, name="long"), "'long' must have no state between batches"),
        (lambda: layers.Dense(4, dtype="float64"), "operator MatMul, which no interpreter has in this form"),
        (
            lambda: layers.Lambda(lambda x: tf.cast(x, "float16") * 2),
            "operator Mul, .* Compute that in float32",
        ),
        (lambda: layers.Dense(8, "gelu"), r"Erfc .*approximate=True"),
    ],
)
def test_what_the_converter_cannot_take_is_refused_by_name(layer, message):
    inputs = tf.keras.Input((5, 4), batch_size=1)
    with pytest.raises(InputError, match=message):
        export.convert(tf.keras.Model(inputs, layer()(inputs)), verify_on=False)


@pytest.mark.parametrize("by_name", [False, True])
def test_a_second_tensor_as_an_argument_is_refused(by_name):
    class Two(tf.keras.Model):
        def __init__(self):
            super().__init__(name="two")
            self.dense = layers.Dense(3)

        def call(self, x, extra=None):
            return self.dense(x) if extra is None else self.dense(x) + extra

    model, inputs, extra = Two(), tf.zeros((1, 4)), tf.ones((1, 3))
    model(inputs, extra=extra) if by_name else model(inputs, extra)
    with pytest.raises(InputError, match="'two' must take all its inputs as the first argument of call"):
        export.convert(model)


@pytest.mark.parametrize(
    "layer",
    [
        layers.Discretization([0.0, 1.0], output_mode="multi_hot"),
        layers.CategoryEncoding(5, output_mode="count"),
    ],
)
def test_a_layer_that_crashes_the_converter_is_refused(layer):
    with pytest.raises(InputError, match="crashes LCE's converter"):
        export.convert(stack(layer, shape=(4,)))


def test_recurrent_layers_follow_each_other():
    steps = tf.keras.Input((5, 4))
    x = layers.LSTM(3, return_sequences=True, name="long")(steps)
    x, *_ = layers.GRU(4, return_sequences=True, return_state=True, name="gated")(x)
    report = export.convert(tf.keras.Model(steps, layers.SimpleRNN(2, name="simple")(x)))
    assert report.verification.max_abs_diff < 1e-5
    assert not any(row.binary for row in report.layers)


def test_a_binary_layer_inside_a_loop():
    class Cell(layers.Layer):
        state_size = output_size = 16

        def __init__(self):
            super().__init__()
            self.binary = quant("Dense", 16)

        def call(self, step, states):
            state = self.binary(step) + 0.5 * states[0]
            return state, [state]

    report = export.convert(stack(layers.RNN(Cell()), shape=(5, 32)))
    assert report.verification.max_abs_diff < 1e-5
    assert report.layers[0].binary


def test_weights_inside_a_condition_are_named():
    class Chooses(tf.keras.Model):
        def __init__(self):
            super().__init__()
            self.one, self.other = layers.Dense(3), layers.Dense(3)

        def call(self, x):
            return tf.cond(tf.reduce_sum(x) > 9, lambda: self.one(x), lambda: self.other(x))

    model = Chooses()
    model.predict(np.zeros((1, 4), "float32"), verbose=0)
    with pytest.raises(
        ConversionError, match=r"No weights can stand inside a condition \(.*cond.*\): compute both"
    ):
        export.convert(model)


def test_a_sign_as_a_layer_costs_nothing():
    model = sign_before_dense()
    inside = export.convert(stack(layers.Flatten(), quant("Dense", 64), shape=(4, 4, 32))).tflite
    assert len(export.convert(model).tflite) < 1.1 * len(inside)


@pytest.mark.parametrize("strict", [True, False])
def test_a_binary_operator_on_an_input_of_three_values_is_refused(strict):
    for quantizer in ("ste_tern", larq.quantizers.SteTern(ternary_weight_networks=True)):
        with pytest.raises(ConversionError, match=r"only .* gives 2 bits"):
            export.convert(stack(reading(quantizer)), strict=strict, rewrites=[])


def test_a_binary_operator_that_cannot_run_is_not_called_binary():
    with pytest.raises(ConversionError, match=r"cell/dense \(LceBconv2d\): LceBconv2d .* lacks constants"):
        export.convert(stack(layers.RNN(Cell(name="cell")), shape=(5, 32)), verify_on=False)


def test_groups_after_a_sign_that_is_a_layer_are_refused():
    model = stack(SIGN(), after_a_sign("Conv2D", 8, 3, groups=2, name="grouped"), shape=(8, 8, 64))
    words = "'grouped' has 2 groups of 32 channels, which converts, and then fails"
    with pytest.raises(InputError, match=words):
        export.convert(model)
