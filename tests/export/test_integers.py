"""Float layers as 8-bit integers: binary layers stay binary, ranges come from real images, and accuracy is told."""

import json

import numpy as np
import pytest
import tensorflow as tf
from stacks import as_if_trained, convolution, rows, stack

from larq_equalbits import data, export, zoo
from larq_equalbits._errors import InputError
from larq_equalbits.export import model_json
from larq_equalbits.export.interpreter import load

layers = tf.keras.layers
INT8 = {"float_layers": "int8", "tolerance": 1.0}


@pytest.fixture(scope="module")
def digits():
    return data.load("digits")


@pytest.fixture(scope="module")
def trained(digits):
    tf.keras.utils.set_random_seed(0)
    model = zoo.conv2(input_shape=digits.input_shape, num_classes=digits.num_classes, width=0.25)
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(digits.train, epochs=6, verbose=0)
    return model


@pytest.mark.parametrize("io", ["float32", "int8"])
def test_a_trained_network_keeps_its_accuracy(trained, digits, io):
    options = {"calibrate_on": digits.train.take(4), "input_type": io, "output_type": io}
    options |= {**INT8, "tolerance": 0.2}
    report = export.convert(trained, verify_on=digits.test, **options)
    assert report.verification.keras_accuracy > 0.7
    assert report.verification.tflite_accuracy > report.verification.keras_accuracy - 0.05
    found = rows(report)
    assert {name for name, row in found.items() if row.weights == "int8"} == {"conv1_1", "classifier"}
    assert {name for name, row in found.items() if row.binary} == {"conv1_2", "dense1", "dense2"}
    assert found["conv1_1"].bytes < 0.5 * 4 * trained.get_layer("conv1_1").count_params()
    assert report.float_layers == "int8"
    audited = export.audit(report.tflite)
    assert [tensor["dtype"] for tensor in audited.inputs + audited.outputs] == [io, io]
    assert audited.operators["LceBconv2d"] == 3
    assert ("QUANTIZE" in audited.operators) or io == "int8"
    described = model_json.describe(report)
    of_integers = {"scale", "zero_point"} if io == "int8" else set()
    assert set(described["inputs"][0]) == {"name", "shape", "dtype"} | of_integers
    assert export.ConversionReport.from_json(report.to_json(), report.tflite) == report


def test_integer_input_is_what_the_sidecar_says(trained, digits):
    report = export.convert(
        trained, calibrate_on=digits.train.take(4), input_type="int8", output_type="int8", **INT8
    )
    described = json.loads(json.dumps(model_json.describe(report)))["inputs"][0]
    images = next(iter(digits.test))[0].numpy()[:8]
    stored = np.clip(np.round(images / described["scale"]) + described["zero_point"], -128, 127)
    runner = load(report.tflite)
    floats = runner.predict({described["name"]: images})
    integers = runner.predict({described["name"]: stored.astype("int8")})
    for key, values in floats.items():
        np.testing.assert_array_equal(values, integers[key])


def test_normalization_and_rectifier_become_part_of_the_integer_operator(images):
    model = stack(
        layers.Conv2D(16, 3, name="first"),
        layers.BatchNormalization(),
        layers.ReLU(),
        layers.DepthwiseConv2D(3, use_bias=False, name="second"),
        layers.BatchNormalization(),
        convolution(input_quantizer=None, name="third"),
        layers.Flatten(),
        layers.Dense(4, activation="relu", name="fourth"),
    )
    as_if_trained(model, negative=False)
    before = model.predict(images, verbose=0)
    report = export.convert(model, verify_on=images, calibrate_on=images, **INT8)
    np.testing.assert_array_equal(model.predict(images, verbose=0), before)
    assert {row.weights for row in report.layers} == {"int8"}
    operators = export.audit(report.tflite).operators
    assert not {"MUL", "ADD", "RELU"} & set(operators), operators
    assert report.verification.max_abs_diff < 0.05 * np.abs(before).max()


def test_a_layer_without_integer_form_stays_float_and_says_why(images):
    model = stack(
        layers.Conv2DTranspose(4, 3, name="up"), layers.Conv2D(4, 3, activation="tanh", name="bent")
    )
    found = rows(export.convert(model, calibrate_on=images, **INT8))
    assert "not int8: no integer form of Conv2DTranspose" in found["up"].reason
    assert "not int8: its activation tanh is float" in found["bent"].reason


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"float_layers": "int4"}, "float_layers must be one of float32, int8"),
        (
            {"input_type": "int8"},
            r"input_type must be float32, without --int8-io, unless float_layers \(--float-layers\) is",
        ),
        ({"float_layers": "int8"}, "calibrate_on must be inputs"),
        ({"float_layers": "int8", "calibrate_on": np.zeros((0, 8, 8, 1))}, "above 0"),
        ({"float_layers": "int8", "calibrate_on": np.full((4, 8, 8, 1), np.nan)}, "must be finite"),
        ({"float_layers": "int8", "calibrate_on": np.zeros((4, 9, 9, 1))}, r"shape \(n, 8, 8, 1\)"),
    ],
)
def test_bad_input_is_answered(trained, options, words):
    with pytest.raises(InputError, match=words):
        export.convert(trained, **options)


def test_integers_that_a_model_takes_or_yields_already_are_named():
    image = tf.keras.Input((4, 4, 3), dtype="uint8")
    x = tf.keras.layers.Conv2D(2, 3)(tf.keras.layers.Rescaling(1 / 255)(image))
    model = tf.keras.Model(image, tf.argmax(x, axis=-1))
    data = np.zeros((4, 4, 4, 3), "uint8")
    for argument, dtype in (("input_type", "uint8"), ("output_type", "int64")):
        words = f"{argument} must be float32 for model .*, which has {dtype} there already, but got 'int8'"
        with pytest.raises(InputError, match=words):
            export.convert(model, float_layers="int8", calibrate_on=data, **{argument: "int8"})
    answers = tf.keras.Model(image, [tf.argmax(x, axis=-1), x > 0])
    report = export.convert(answers, float_layers="int8", calibrate_on=data, verify_on=False)
    assert [layer.weights for layer in report.layers] == ["int8"]
