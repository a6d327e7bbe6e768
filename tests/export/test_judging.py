"""Every output counts: classes, pixels, thresholds and values, with labels for each, and a bound on differences."""

import json

import numpy as np
import pytest
import tensorflow as tf

from larq_equalbits import export
from larq_equalbits._errors import InputError
from larq_equalbits.export import gate
from larq_equalbits.export.judging import Judge
from larq_equalbits.export.results import describe

layers = tf.keras.layers


def network(seed, *heads):
    """A small network; every head is made of features (n, 6, 6, 8)."""
    tf.keras.utils.set_random_seed(seed)
    inputs = tf.keras.Input((6, 6, 2), name="image")
    features = layers.Conv2D(8, 3, padding="same", activation="relu")(inputs)
    outputs = [head(features) for head in heads]
    return tf.keras.Model(inputs, outputs if len(outputs) > 1 else outputs[0])


def unverified(model):
    return export.convert(model, verify_on=False)


def classes(features, name="classes", units=5, activation=None):
    return layers.Dense(units, activation, name=name)(layers.GlobalAveragePooling2D()(features))


def yes(features):
    return classes(features, "yes", 1, "sigmoid")


def size(features):
    return classes(features, "size", 1)


def mask(features):
    return layers.Conv2D(3, 1, activation="softmax", name="mask")(features)


def spot(features):
    return layers.Conv2D(1, 1, activation="sigmoid", name="spot")(features)


@pytest.fixture
def images():
    return np.random.default_rng(0).normal(size=(40, 6, 6, 2)).astype("float32")


# Head: what decides, and how many decisions there are for the images.
HEADS = {
    classes: ("argmax", 40),
    yes: (0.5, 40),
    size: ("values", 40),
    mask: ("argmax", 1440),
    spot: (0.5, 1440),
}


def test_the_file_of_another_network_does_not_pass(images):
    model, other = network(0, *HEADS), network(1, *HEADS)
    report = export.convert(model, verify_on=images)
    outputs = report.verification.outputs
    assert [(found.rule, found.decisions) for found in outputs] == list(HEADS.values())
    assert all(found.differing == 0 and found.distance < 1e-3 for found in outputs)
    with pytest.raises(export.ConversionError) as caught:
        gate.verified(other, report, images)
    assert all(f"the output '{head.__name__}' of the file" in str(caught.value) for head in HEADS)
    # Decisions alone would pass where all are on one side.
    with pytest.raises(export.ConversionError) as caught:
        gate.verified(other, report, images, tolerance=1)
    assert str(caught.value).count("deviations of Keras' values") == len(HEADS)
    assert gate.verified(other, report, images, tolerance=1, bound=100)


def test_a_second_head_that_is_negated_does_not_pass(images):
    model = network(0, classes, lambda features: classes(features, "second", 4))
    report = export.convert(model, verify_on=images)
    second = model.get_layer("second")
    second.set_weights([-value for value in second.get_weights()])
    with pytest.raises(export.ConversionError, match="'second'") as caught:
        gate.verified(model, report, images)
    assert "'classes'" not in str(caught.value)


@pytest.mark.parametrize("head", [classes, mask])
def test_labels_are_numbers_or_one_hot_for_each_decision(images, head):
    model = network(0, head)
    tflite = unverified(model).tflite
    scores = model.predict(images, verbose=0)
    answers, count = scores.argmax(axis=-1), scores.shape[-1]
    changed = np.random.default_rng(1).uniform(size=answers.shape) < 0.25
    numbers = np.where(changed, (answers + 1) % count, answers)
    for labels in (numbers, numbers[..., None], np.eye(count)[numbers]):
        batches = tf.data.Dataset.from_tensor_slices((images, labels)).batch(16)
        for found in (export.verify(model, tflite, images, labels), export.verify(model, tflite, batches)):
            assert found.keras_accuracy == found.tflite_accuracy == np.mean(numbers == answers)


def test_each_output_has_labels_of_its_own(images):
    model = network(0, classes, yes)
    tflite = unverified(model).tflite
    scores, chances = model.predict(images, verbose=0)
    numbers = scores.argmax(axis=-1)
    sides = (chances > 0.5).astype(int)
    sides[:10] = 1 - sides[:10]
    for labels, of_classes in (
        ({"yes": sides, "classes": numbers}, 1.0),
        ([numbers, sides], 1.0),
        ({"yes": sides[:, 0]}, None),
    ):
        found = export.verify(model, tflite, images, labels)
        assert [output.keras_accuracy for output in found.outputs] == [of_classes, 0.75]
        assert [output.tflite_accuracy for output in found.outputs] == [of_classes, 0.75]
        assert "yes 100%, accuracy 0.7500 and 0.7500" in describe(found)
    with pytest.raises(InputError, match=r"labels for \['no'\]"):
        export.verify(model, tflite, images, {"no": sides})
    with pytest.raises(InputError, match="labels of yes must be 0 and 1 of shape"):
        export.verify(model, tflite, images, {"yes": sides[:, :0]})


def test_what_an_output_decides_can_be_said(images):
    model = network(0, size, yes)
    tflite = unverified(model).tflite
    found = export.verify(model, tflite, images, decisions={"size": 0.25})
    assert [output.rule for output in found.outputs] == [0.25, 0.5]
    found = export.verify(model, tflite, images, decisions="values")
    assert [output.rule for output in found.outputs] == ["values", "values"]
    for wrong in ({"other": 0.5}, "largest", {"yes": True}):
        with pytest.raises(InputError, match="decisions must be"):
            export.verify(model, tflite, images, decisions=wrong)


def test_what_is_compiled_with_logits_of_yes_and_no_is_held_against_0(images):
    model, other = (network(seed, size, yes, classes) for seed in range(2))
    report = unverified(model)
    for kind in (tf.keras.losses.BinaryCrossentropy, tf.keras.losses.BinaryFocalCrossentropy):
        loss = kind(from_logits=True)
        for losses in ({"size": loss, "yes": "mse", "classes": loss}, [loss, "mse", loss]):
            model.compile("adam", losses)
            found = export.verify(model, report.tflite, images).outputs
            assert [output.rule for output in found] == [0.0, 0.5, 0.0]
        other.compile("adam", losses)
        with pytest.raises(export.ConversionError, match=r"the other side of 0\.0 than Keras on"):
            gate.verified(other, report, images)


def test_logits_of_classes_are_classes(images):
    model = network(0, classes)
    model.compile("adam", tf.keras.losses.CategoricalFocalCrossentropy(from_logits=True))
    (found,) = export.convert(model, verify_on=images).verification.outputs
    assert found.rule == "argmax"


@pytest.mark.parametrize("loss", ["mse", tf.keras.losses.Huber(), tf.keras.losses.mean_absolute_error])
def test_what_is_compiled_for_regression_has_values(images, loss):
    model = network(0, classes, mask)
    tflite = unverified(model).tflite
    with pytest.raises(InputError, match="labels of classes must be one-hot, rows that sum to 1, unless"):
        export.verify(model, tflite, images, np.zeros((40, 5)))
    model.compile("sgd", loss)
    found = export.verify(model, tflite, images, np.zeros((40, 5))).outputs
    assert [output.rule for output in found] == ["values", "argmax"]
    assert found[0].keras_accuracy is None


def test_a_report_keeps_what_was_found_for_each_output(images):
    report = export.convert(network(0, classes, spot), verify_on=images)
    assert export.ConversionReport.from_json(report.to_json(), report.tflite) == report
    # Of a file that another version wrote.
    values = json.loads(report.to_json())
    del values["verification"]["outputs"]
    old = export.ConversionReport.from_json(json.dumps(values), report.tflite)
    assert old.verification.within(0) and old.verification.differing == 0


def test_ties_that_rounding_decides_are_no_difference():
    judge = Judge(["y"], {"y": "argmax"})
    tied, nearly = (np.array([[1.0, second], [0.0, 2.0]]) for second in (1.0, 1.0 + 1e-7))
    assert not judge.add([tied], [nearly]).any()
    assert judge.add([np.array([[1.0, 1.01]])], [np.array([[1.01, 1.0]])]).all()
    (found,) = judge.verdicts()
    assert (found.decisions, found.differing) == (3, 1)


def test_a_value_is_held_against_the_range_of_its_own_unit():
    generator = np.random.default_rng(0)
    expected = generator.uniform(size=(100, 2)) * [1, 1000]
    for error, differing in (([0.02, 0], 100), ([0, 0.02], 0), ([0.001, 1], 0), ([0, 50], 100)):
        judge = Judge(["y"], {"y": "values"})
        judge.add([expected[:50]], [expected[:50] + error])
        judge.add([expected[50:]], [expected[50:] + error])
        assert judge.verdicts()[0].differing == differing
    judge.add([expected], [np.stack([1 - expected[:, 0], expected[:, 1]], axis=1)])
    assert judge.verdicts()[0].distance > 1


def test_distance_is_that_of_whole_sets_however_they_are_batched():
    generator = np.random.default_rng(0)
    expected, found = generator.normal(3, 2, (2, 64, 5))
    whole, parts = (Judge(["y"], {"y": "argmax"}) for _ in range(2))
    whole.add([expected], [found])
    for start in range(0, 64, 16):
        parts.add([expected[start : start + 16]], [found[start : start + 16]])
    deviation = (expected - expected.mean(axis=0)).std()
    right = np.sqrt(np.mean((expected - found) ** 2)) / deviation
    assert whole.verdicts()[0].distance == pytest.approx(right, rel=1e-4)
    assert parts.verdicts()[0].distance == pytest.approx(right, rel=1e-4)
