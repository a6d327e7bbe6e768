"""What verification does with outputs and labels that are not plain class scores and class numbers."""

import numpy as np
import pytest
import tensorflow as tf
from stacks import stack

from larq_equalbits import export
from larq_equalbits._errors import ConversionError, InputError
from larq_equalbits.export import gate
from larq_equalbits.export.interpreter import load

layers = tf.keras.layers


def network(weight=1.0, *following):
    model = tf.keras.Sequential([tf.keras.Input((4,), name="x"), layers.Dense(3, name="y"), *following])
    model.layers[0].kernel.assign(np.full((4, 3), weight))
    return model


@pytest.fixture(scope="module")
def report():
    return export.convert(network(), verify_on=False)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_keras_outputs_that_are_not_finite_do_not_pass(report, bad):
    inputs = np.ones((5, 4))
    with pytest.raises(export.ConversionError, match="output 'y' of Keras holds NaN or infinity for 5 of 5"):
        export.convert(network(bad), verify_on=inputs)
    inputs[2] = bad
    with pytest.raises(export.ConversionError, match="of Keras holds NaN or infinity for 1 of 5 inputs"):
        export.verify(network(), report.tflite, inputs)


def test_a_file_whose_outputs_are_not_finite_does_not_pass():
    def logarithms(weight):
        return network(weight, layers.Lambda(tf.math.log, name="z"))

    tflite = export.convert(logarithms(-1.0), verify_on=False).tflite
    with pytest.raises(export.ConversionError, match=r"of Keras holds NaN .* pass verify_on=False"):
        export.convert(logarithms(-1.0))
    with pytest.raises(export.ConversionError, match="output 'z' of the file holds NaN or infinity"):
        export.verify(logarithms(1.0), tflite, np.ones((5, 4)))


@pytest.mark.parametrize("labels", [np.zeros((5, 2)), np.zeros((5, 3, 1)), np.zeros((4,)), np.zeros(())])
def test_labels_of_another_shape_are_named(report, labels):
    batches = tf.data.Dataset.from_tensors((np.ones((5, 4)), labels))
    with pytest.raises(InputError, match=r"labels must be 5 class numbers, or one-hot of shape \(5, 3\)"):
        export.verify(network(), report.tflite, batches)


@pytest.mark.parametrize(
    "labels", [[0, np.nan], [0, 3], [-1, 0], [0.5, 1], ["a", "b"], [[0, 0, np.nan], [1, 0, 0]]], ids=str
)
def test_labels_are_classes(report, labels):
    with pytest.raises(InputError, match="labels must be"):
        export.verify(network(), report.tflite, np.ones((2, 4)), np.array(labels))


def test_a_wrong_shape_is_told_in_plain_numbers():
    model = tf.keras.Sequential([tf.keras.Input((8, 8, 1), name="x"), layers.Flatten()])
    runner = load(export.convert(model, verify_on=False).tflite)
    with pytest.raises(InputError, match=r"of shape \(n, 8, 8, 1\)"):
        runner.predict({"x": np.zeros((2, 7, 8, 1))})


@pytest.mark.parametrize("tolerance", [5, -0.1, float("nan")])
def test_a_tolerance_is_a_share(report, tolerance):
    with pytest.raises(InputError, match="tolerance must be between 0 and 1"):
        export.convert(network(), tolerance=tolerance)
    with pytest.raises(InputError, match="tolerance must be between 0 and 1"):
        gate.verified(network(), report, np.ones((5, 4)), tolerance)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"bound": "a"}, "bound must be None or a number from 0"),
        ({"bound": float("nan")}, "bound must be"),
        ({"rewrites": 3}, "rewrites must be a list of names"),
        ({"rewrites": "dense"}, "rewrites must be a list of names"),
        ({"rewrites": ["nothing"]}, "rewrites must be among"),
    ],
)
def test_wrong_options_are_named(options, words):
    with pytest.raises(InputError, match=words):
        export.convert(network(), **options)


@pytest.mark.parametrize("differing", [1, 3, 4, 17, 9_999])
def test_a_tolerance_counts_inputs_exactly(differing):
    verification = export.Verification(10_000, 0.1, (10_000 - differing) / 10_000)
    assert verification.differing == differing
    assert verification.within(differing / 10_000)
    assert not verification.within((differing - 0.5) / 10_000)


def beginning(first, *, passes_on=False):
    inputs = tf.keras.Input((4, 4, 1), name="image")
    scores = layers.Dense(3, name="scores")(layers.Flatten()(first(inputs)))
    return tf.keras.Model(inputs, [scores, inputs] if passes_on else scores)


@pytest.mark.parametrize(
    ("first", "passes_on"),
    [
        (layers.RandomFlip(), False),
        (layers.Dropout(0.2), False),
        (layers.Reshape((4, 4, 1)), False),
        (layers.Dropout(0.2), True),
    ],
    ids=["augmentation", "dropout", "reshape", "an input passed on"],
)
def test_a_network_whose_input_is_an_output_of_its_first_layer_is_verified(first, passes_on):
    model, other = (beginning(first, passes_on=passes_on) for _ in range(2))
    images = np.random.default_rng(0).normal(size=(20, 4, 4, 1))
    report = export.convert(model, verify_on=images)
    assert report.verification.max_abs_diff < 1e-5
    found = export.verify(other, report.tflite, images)
    assert found.argmax_agreement < 1 and found.first_difference


def test_without_inputs_an_embedding_is_compared_on_indices():
    model = stack(layers.Embedding(50, 8), layers.GlobalAveragePooling1D(), layers.Dense(4), shape=(10,))
    verification = export.convert(model).verification
    assert verification.generated and verification.images == 32


def test_a_network_that_no_random_inputs_suit_has_to_be_given_inputs():
    model = stack(layers.Lambda(lambda x: tf.math.log(x - 2)), shape=(4,))
    with pytest.raises(ConversionError, match=r"NaN or infinity.*pass verify_on with real ones"):
        export.convert(model)


def test_a_network_of_one_input_at_a_time_is_compared_on_as_many_inputs():
    model = tf.keras.Sequential([tf.keras.Input((4,), batch_size=1), layers.Dense(3)])
    assert export.convert(model).verification.images == 32


INPUTS = {"x": np.ones((2, 4))}


@pytest.mark.parametrize(
    ("call", "argument"),
    [
        (lambda report, wrong: export.audit(wrong), "tflite"),
        (lambda report, wrong: export.verify(wrong, report.tflite, INPUTS), "model"),
        (lambda report, wrong: export.verify(network(), wrong, INPUTS), "tflite"),
        (lambda report, wrong: export.verify(network(), report.tflite, wrong), "inputs"),
        (lambda report, wrong: export.verify(network(), report.tflite, INPUTS, runtime=wrong), "runtime"),
        (lambda report, wrong: export.verify(network(), report.tflite, INPUTS, decisions=wrong), "decisions"),
        (lambda report, wrong: export.freeze(wrong).__enter__(), "model"),
        (lambda report, wrong: export.float_size(wrong), "model"),
        (lambda report, wrong: export.compare_layers(wrong, INPUTS), "model"),
        (lambda report, wrong: export.compare_layers(network(), wrong), "inputs"),
        (lambda report, wrong: export.compare_layers(network(), {"z": np.ones((2, 4))}), "inputs"),
        (lambda report, wrong: export.compare_layers(network(), INPUTS, wrong), "rewrites"),
        (lambda report, wrong: export.ConversionReport(wrong, []), "tflite"),
        (lambda report, wrong: export.convert(network(), strict=wrong), "strict"),
        (lambda report, wrong: export.convert(network(), float_layers=wrong), "float_layers"),
    ],
)
def test_an_argument_of_another_kind_is_named(report, call, argument):
    with pytest.raises(InputError, match=rf"^{argument} must (be|have) .*, but got "):
        call(report, np.ones(3))


def test_a_model_that_is_not_built_is_named(report):
    model = tf.keras.Sequential([layers.Dense(3)])
    with pytest.raises(InputError, match="must be built with a known input"):
        export.verify(model, report.tflite, INPUTS)
