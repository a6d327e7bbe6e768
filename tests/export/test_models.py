import json

import larq
import numpy as np
import pytest
import tensorflow as tf
from small import precision
from stacks import WithAFunction, beside, convolution, quant, rows, stack

from larq_equalbits import export, zoo
from larq_equalbits._bits.kernels import quantized_kernels
from larq_equalbits._errors import ConversionError, InputError
from larq_equalbits.export.precision import in_float32
from larq_equalbits.quantizers import BiHalf

layers = tf.keras.layers


def loop(kernel):
    """A quantizer of a user's own that no converter folds."""
    _, total = tf.while_loop(lambda i, _: i < 3, lambda i, x: (i + 1, x * 2), (0, kernel))
    return tf.sign(total)


class WithoutPrecision(larq.quantizers.Quantizer):
    def call(self, x):
        return larq.math.sign(x)


OUTSIDE = layers.Dense(2, use_bias=False)
OUTSIDE.build((None, 4))


def given(layer, dtype):
    return tf.keras.Sequential([tf.keras.Input((4,), dtype=dtype), layer])


def test_a_kernel_above_the_converters_folding_limit_is_binary():
    model = stack(convolution(512, name="c"), shape=(3, 3, 512))
    report = export.convert(model, verify_on=np.random.default_rng(0).normal(size=(1, 3, 3, 512)))
    assert report.verification.max_abs_diff == 0
    assert len(report.tflite) < 320_000


def test_any_quantizer_is_frozen(images):
    names = ("ste_sign", "approx_sign", "swish_sign", "siman", "ir_net", "rbnn")
    model = beside(convolution(kernel_quantizer=each) for each in (*names, loop))
    report = export.convert(model, verify_on=images)
    assert export.audit(report.tflite).operators == {"LceQuantize": 1, "LceBconv2d": 7}


def test_a_quantizer_is_evaluated_once():
    calls = []

    def counting(kernel):
        calls.append(tf.executing_eagerly())
        return tf.sign(kernel)

    model = stack(convolution(kernel_quantizer=counting))
    calls.clear()
    export.convert(model, verify_on=False)
    assert calls == [True]


def test_the_callers_model_is_untouched_also_after_a_failure(images, monkeypatch):
    model = stack(convolution(kernel_quantizer="siman"))
    model.compile("adam", "mse")
    model.fit(images, np.zeros((6, 6, 6, 8)), verbose=0)
    weights = [weight.copy() for weight in model.get_weights()]
    state = [variable.numpy() for variable in model.optimizer.variables]
    quantizer, before = model.layers[0].kernel.quantizer, model.predict(images, verbose=0)
    export.convert(model, verify_on=False)

    def fails(*arguments):
        raise RuntimeError("the converter fails")

    monkeypatch.setattr("larq_equalbits.export.conversion.to_bytes", fails)
    with pytest.raises(RuntimeError, match="the converter fails"):
        export.convert(model)
    assert model.layers[0].kernel.quantizer is quantizer
    assert "call" not in vars(model.layers[0])
    np.testing.assert_equal(weights, model.get_weights())
    for one, other in zip(state, model.optimizer.variables, strict=True):
        np.testing.assert_array_equal(one, other.numpy())
    np.testing.assert_array_equal(model.predict(images, verbose=0), before)


def test_inputs_keep_any_names_that_keras_takes(tmp_path):
    names = ["zebra", "my-input", "in.1", "a/b", "0in", "inp ut", "class", "self", "größe", "input_1"]
    given = [layers.Input((3 + index,), name=name) for index, name in enumerate(names)]
    joined = layers.Concatenate()(given)
    model = tf.keras.Model(
        given, [layers.Dense(units, name=name)(joined) for name, units in (("two", 2), ("one", 1))]
    )
    generator = np.random.default_rng(0)
    inputs = {each.name: generator.normal(size=(3, each.shape[1])) for each in given}
    report = export.convert(model, tmp_path / "model.tflite", verify_on=inputs)
    assert report.verification.max_abs_diff <= 1e-5
    described = json.loads((tmp_path / "model.json").read_text())["inputs"]
    assert {each["name"]: each["shape"] for each in described} == {
        each.name: [1, each.shape[1]] for each in given
    }
    assert {entry["name"] for entry in export.audit(report.tflite).inputs} == set(names)


@pytest.mark.parametrize("name", ["model.h5", "model.keras", "saved_model"])
def test_a_loaded_model_converts(images, tmp_path, name):
    model = stack(convolution(name="c"))
    model.save(tmp_path / name)
    report = export.convert(tf.keras.models.load_model(tmp_path / name), verify_on=images)
    assert report.layers[0].binary


@pytest.mark.parametrize("quantizer", ["bi_half", "siman"])
def test_a_model_in_mixed_precision_converts_with_its_own_codes(quantizer):
    with precision("mixed_bfloat16"):
        model = zoo.conv2(input_shape=(8, 8, 1), num_classes=3, width=0.1, quantizer=quantizer)
    # Each weight is as near as bfloat16 tells to another, which float32 tells apart.
    for kernel in quantized_kernels(model):
        latent = kernel.variable.latent_variable
        latent.assign(tf.round(latent * 50) / 50 + 1e-5 * tf.random.normal(latent.shape))
    copy = in_float32(model)
    assert {layer.dtype_policy.name for layer in copy._flatten_layers()} == {"float32"}
    for own, copied in zip(quantized_kernels(model), quantized_kernels(copy), strict=True):
        seen = own.quantizer(tf.cast(own.variable.latent_variable, tf.bfloat16))
        np.testing.assert_array_equal(np.sign(tf.cast(seen, tf.float32)), np.sign(copied.quantized()))
    report = export.convert(model)
    assert report.verification.argmax_agreement == 1.0


def test_a_scale_before_an_activation_in_mixed_precision(images):
    with precision("mixed_bfloat16"):
        model = stack(convolution(kernel_quantizer=BiHalf(scale=0.5), activation="relu"))
    report = export.convert(model, verify_on=False)
    assert export.verify(model, report.tflite, images).max_abs_diff == 0
    assert not any(row.parts for row in export.compare_layers(model, {model.input_names[0]: images}))


def test_a_subclassed_model_in_mixed_precision_is_refused():
    with precision("mixed_bfloat16"):
        model = WithAFunction(layers.Dense(2))
    model(tf.zeros((1, 4)))
    with pytest.raises(InputError, match="computes in mixed_bfloat16, and no float32 copy"):
        export.convert(model)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: "model", "Keras 2 model"),
        (lambda: tf.keras.Sequential([layers.Dense(2)]), "built"),
        (lambda: stack(layers.Conv2D(2, 3), shape=(None, None, 3)), "known"),
        (lambda: stack(layers.Lambda(tf.reduce_mean)), "a single number for all"),
        (lambda: tf.keras.Sequential([tf.keras.Input((1,), dtype="string")]), "strings"),
        (lambda: given(layers.Dense(2), "float16"), "int64, uint8, bool, but got float16: cast"),
        (
            lambda: given(layers.IntegerLookup(vocabulary=[3, 5]), "int64"),
            "reads .*HashTable.*: look values up",
        ),
        (lambda: given(layers.Lambda(OUTSIDE), "float32"), "reads .*Variable 'kernel"),
        (
            lambda: stack(convolution(input_quantizer=WithoutPrecision())),
            "WithoutPrecision has .* precision = 1",
        ),
        (lambda: stack(convolution(groups=2), shape=(8, 8, 64)), "groups"),
        (lambda: stack(convolution(padding="same", pad_values=-1.0)), "pad_values"),
    ],
)
def test_bad_models_are_refused(make, words):
    with pytest.raises(InputError, match=words):
        export.convert(make())


def test_nothing_is_written_when_the_conversion_fails(tmp_path):
    # A binary quantizer that LCE does not know.
    model = stack(convolution(input_quantizer="ste_heaviside", name="c"))
    path = tmp_path / "model.tflite"
    path.write_bytes(b"\0\0\0\0TFL3 mine")
    with pytest.raises(ConversionError, match=r"c \(CONV_2D\): input not binary to LCE"):
        export.convert(model, path)
    assert path.read_bytes() == b"\0\0\0\0TFL3 mine"


def test_each_float_layer_has_its_reason():
    model = stack(
        convolution(32, input_quantizer=None, use_bias=True, name="no_input"),
        quant("DepthwiseConv2D", 3, name="depthwise"),
        layers.Conv2D(4, 1, name="float"),
    )
    found = rows(export.convert(model))
    assert "no input quantizer" in found["no_input"].reason
    assert "depthwise" in found["depthwise"].reason
    assert "no kernel quantizer" in found["float"].reason


@pytest.fixture(scope="module")
def converted():
    model = stack(convolution(name="c"))
    return model, export.convert(model)


def test_a_report_survives_json(converted):
    _, report = converted
    assert export.ConversionReport.from_json(report.to_json(), report.tflite) == report
    assert "LceBconv2d" in str(report)
    with pytest.raises(InputError, match="tflite"):
        export.ConversionReport.from_json(report.to_json(), b"other")
    with pytest.raises(InputError, match="text"):
        export.ConversionReport.from_json("{}", report.tflite)
    values = report.to_dict()
    for odd in (
        {name: value for name, value in values.items() if name != "tflite_bytes"},
        values | {"verification": [1]},
        [values],
    ):
        with pytest.raises(InputError, match="must be"):
            export.ConversionReport.from_json(json.dumps(odd), report.tflite)


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("compiled", [True, False])
def test_predictions_in_the_block_are_frozen_and_those_after_it_are_not(images, before, compiled):
    model = stack(convolution(name="c"))
    if compiled:
        model.compile("sgd", "mse")
    known = model.predict(images, verbose=0) if before else None
    latent = model.layers[0].kernel.latent_variable
    with export.freeze(model) as constants:
        assert set(np.unique(constants["c"])) == {-1, 1}
        frozen = model.predict(images, verbose=0)
        latent.assign(-latent)
        np.testing.assert_array_equal(model.predict(images, verbose=0), frozen)
    np.testing.assert_array_equal(model.predict(images, verbose=0), -frozen)
    if before:
        np.testing.assert_array_equal(frozen, known)


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        (np.zeros((2, 7, 8, 32)), "shape"),
        (np.zeros((0, 8, 8, 32)), "inputs"),
        (np.full((2, 8, 8, 32), "a"), "numbers"),
        ([np.zeros((0, 8, 8, 32))], "a batch of no inputs"),
        (iter([None]), "shape"),
        ({"other": np.zeros((2, 8, 8, 32))}, "inputs"),
    ],
)
def test_wrong_inputs_are_named(converted, inputs, words):
    model, report = converted
    with pytest.raises(InputError, match=words):
        export.verify(model, report.tflite, inputs)


class OfOneName(tf.keras.Model):
    """Two layers that have one name."""

    def __init__(self):
        super().__init__()
        self.first, self.second = quant("Dense", 64, name="dense"), quant("Dense", 10, name="dense")

    def call(self, x):
        return self.second(self.first(x))


def test_layers_of_one_name_are_all_told_of():
    model = OfOneName()
    model(np.zeros((1, 64), "float32"))
    report = export.convert(model)
    assert {name: row.binary for name, row in rows(report).items()} == {"dense": True, "dense_1": True}


class WithNormalization(larq.layers.QuantDense):
    """A binary layer with a layer of its own inside."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.norm = layers.BatchNormalization()

    def call(self, x):
        return self.norm(super().call(x))


def test_a_binary_layer_with_a_layer_inside_goes_to_float_by_name():
    model = tf.keras.Sequential(
        [quant(WithNormalization, 64, name="whole", input_shape=(64,)), layers.Dense(2)]
    )
    with pytest.raises(ConversionError, match="whole"):
        export.convert(model)
    row = rows(export.convert(model, strict=False))["whole"]
    assert row.expected and not row.binary


def test_two_layers_with_one_kernel_are_refused():
    first, second = (quant("Dense", 64, name=name) for name in ("first", "second"))
    model = tf.keras.Sequential([first, layers.BatchNormalization(), second])
    model.build((None, 64))
    second.kernel = first.kernel
    with pytest.raises(InputError, match="'second' must have a kernel of its own, but has that of 'first'"):
        export.convert(model)
