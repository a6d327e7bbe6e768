"""Inputs and labels in every form in which Keras takes them."""

import numpy as np
import pytest
import tensorflow as tf

from larq_equalbits import export
from larq_equalbits._errors import InputError
from larq_equalbits.export.feeding import batches

SHAPE = (None, 4, 4, 1)
X = np.arange(200 * 16, dtype="float32").reshape(200, 4, 4, 1)
Y = np.arange(200) % 3
W = np.ones(200)


class Pairs(tf.keras.utils.Sequence):
    """Batches by number, without end for whoever only iterates."""

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return X[50 * index % 200 :][:50], Y[50 * index % 200 :][:50]


def generator(*parts):
    for start in range(0, 200, 50):
        part = tuple(each[start : start + 50] for each in parts)
        yield part if len(part) > 1 else part[0]


def data_set(*parts):
    return tf.data.Dataset.from_tensor_slices(parts if len(parts) > 1 else parts[0])


LABELLED = {
    "tuple": lambda: (X, Y),
    "tuple with weights": lambda: (X, Y, W),
    "tuple of tensors": lambda: (tf.constant(X), tf.constant(Y)),
    "data set": lambda: data_set(X, Y).batch(64),
    "data set with weights": lambda: data_set(X, Y, W).batch(64),
    "data set without batches": lambda: data_set(X, Y),
    "Sequence": Pairs,
    "generator": lambda: generator(X, Y),
    "generator with weights": lambda: generator(X, Y, W),
    "list of batches": lambda: list(generator(X, Y)),
}
ALONE = {
    "array": lambda: X,
    "tensor": lambda: tf.constant(X),
    "list of one array": lambda: [X],
    "list of images": lambda: list(X),
    "nested lists": lambda: X.tolist(),
    "tuple of one": lambda: (X,),
    "data set": lambda: data_set(X).batch(64),
    "data set without batches": lambda: data_set(X),
    "generator": lambda: generator(X),
    "mapping": lambda: {"x": X},
}


def values(inputs, labels=None, shapes=(SHAPE,)):
    found = list(batches(inputs, labels, shapes))
    images = np.concatenate([tf.nest.flatten(x)[0] for x, _ in found])
    truths = None if found[0][1] is None else np.concatenate([y for _, y in found])
    return images, truths


@pytest.mark.parametrize("form", LABELLED)
def test_inputs_with_labels(form):
    images, truths = values(LABELLED[form]())
    np.testing.assert_array_equal(images, X)
    np.testing.assert_array_equal(truths, Y)


@pytest.mark.parametrize("form", ALONE)
def test_inputs_alone(form):
    images, truths = values(ALONE[form]())
    np.testing.assert_array_equal(images, X)
    assert truths is None


@pytest.mark.parametrize("labels", [Y, Y.tolist(), tf.constant(Y)], ids=["array", "list", "tensor"])
def test_labels_beside_an_array(labels):
    np.testing.assert_array_equal(values(X, labels)[1], Y)


def test_several_inputs_and_outputs():
    two, shapes = [X, X[:, 0]], (SHAPE, (None, 4, 1))
    for inputs in (two, tuple(two), {"a": two[0], "b": two[1]}):
        (first, _), *_ = batches(inputs, None, shapes)
        assert [len(each) for each in tf.nest.flatten(first)] == [128, 128]
    for labels in ([Y, None], {"a": Y, "b": None}, {"a": Y, "b": Y}):
        for (_, truth), rows in zip(batches((two, labels), None, shapes), (128, 72), strict=True):
            assert {len(each) for each in tf.nest.flatten(truth) if each is not None} == {rows}
    # Two arrays of one shape may be inputs and labels, as of an autoencoder.
    np.testing.assert_array_equal(values((X, X))[1], X)


def test_mappings_have_the_keys_of_the_model():
    dense = tf.keras.layers.Dense
    given = {"left": tf.keras.Input((4,), dtype="bool"), "right": tf.keras.Input((4,))}
    answers = {"kind": dense(3, name="a")(given["right"]), "yes": dense(1, name="b")(given["right"])}
    model = tf.keras.Model(given, answers)
    logits = tf.keras.losses.BinaryCrossentropy(from_logits=True)
    model.compile("sgd", {"kind": "mse", "yes": logits})
    inputs, labels = {"left": X[:8, :, 0, 0] > 9, "right": X[:8, :, 1, 0]}, {"yes": Y[:8] % 2}
    found = export.convert(model, verify_on=(inputs, labels)).verification.outputs
    assert [(output.name, output.rule) for output in found] == [("a", "values"), ("b", 0.0)]
    assert found[1].keras_accuracy is not None


@pytest.mark.parametrize(
    ("inputs", "labels", "message"),
    [
        (data_set(X, Y).repeat(), None, "inputs must end, but are repeated"),
        (X, Y[:5], "labels must be one for each of 200 inputs"),
        ((X, Y), Y, "labels must be left out"),
        (data_set(X, Y), Y, "labels must be left out"),
        ((X, Y, W, W), None, "inputs must be"),
        (X[:0], None, "inputs must be arrays of one length above 0"),
        ("images", None, "inputs must be arrays, a data set or an iterable"),
        (X, 3, "labels must be one for each of 200 inputs, but got '0 labels'"),
        ((None, None), None, "inputs must be arrays of one length above 0"),
        ([[1.0, 2.0], [3.0]], None, "inputs and labels must be arrays, but got 'rows of several lengths'"),
        (5, None, "inputs must be arrays, a data set or an iterable"),
    ],
)
def test_what_is_no_input_is_named(inputs, labels, message):
    with pytest.raises(InputError, match=message):
        list(batches(inputs, labels, (SHAPE,)))
