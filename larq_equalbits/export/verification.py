"""Verification: a file against the Keras model that it was made from, on given inputs."""

import operator
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from larq_equalbits._errors import ConversionError, InputError, invalid
from larq_equalbits.export import layer_outputs
from larq_equalbits.export.functions import arrange, input_names, output_names
from larq_equalbits.export.interpreter import Source, batched, load
from larq_equalbits.export.labels import class_numbers
from larq_equalbits.export.reference import of_exact_signs
from larq_equalbits.export.results import Verification

Inputs = np.ndarray | Mapping[str, np.ndarray]

_BATCH = 128
# So many of the inputs with another class show where it comes from.
_LOCATED = 4


def _batches(inputs: Any, labels: Any) -> Iterator[tuple[Any, Any]]:
    """Batches of (inputs, labels or None)."""
    if isinstance(inputs, tf.data.Dataset):
        if labels is not None:
            raise invalid("labels", "labels beside a data set", "part of the data set's batches")
        for batch in inputs.as_numpy_iterator():
            yield batch if isinstance(batch, tuple) and len(batch) == 2 else (batch, None)
        return
    arrays = tf.nest.map_structure(np.asarray, inputs)
    sizes = {len(array) for array in tf.nest.flatten(arrays) if array.ndim}
    if len(sizes) != 1 or 0 in sizes:
        raise invalid("inputs", f"arrays of the lengths {sorted(sizes)}", "arrays of one length above 0")
    (size,) = sizes
    if labels is not None and len(labels) != size:
        raise invalid("labels", f"{len(labels)} labels", f"one for each of {size} inputs")
    for start in range(0, size, _BATCH):
        part = slice(start, start + _BATCH)
        yield (
            tf.nest.map_structure(operator.itemgetter(part), arrays),
            None if labels is None else labels[part],
        )


def _named(model: tf.keras.Model, shapes: Mapping[str, tuple[int, ...]], batch: Any) -> dict[str, np.ndarray]:
    """`batch` by the names of the inputs, checked against their `shapes`, whose first number is the batch's."""
    if isinstance(batch, Mapping):
        values = dict(batch)
    else:
        flat = tf.nest.flatten(batch)
        names = input_names(model, len(flat))
        if len(names) != len(flat):
            raise invalid("inputs", f"{len(flat)} arrays", f"one array for each of {names}")
        values = dict(zip(names, flat, strict=True))
    if set(values) != set(shapes):
        raise invalid("inputs", sorted(values), f"arrays for {list(shapes)}")
    for key, shape in shapes.items():
        value = values[key]
        if value.shape[1:] != shape[1:]:
            raise InputError(
                f"inputs must have the shape {batched(shape)} for {key!r}, but got {value.shape}."
            )
        if not np.issubdtype(value.dtype, np.number):
            raise invalid("inputs", f"an array of {value.dtype} for {key!r}", "numbers")
    return {key: np.asarray(values[key], "float32") for key in shapes}


def named_batches(model: tf.keras.Model, inputs: Inputs | Iterable[Any]) -> Iterator[dict[str, np.ndarray]]:
    """Batches of `inputs` by the names of the inputs of `model`, without labels.

    Raises:
        InputError: inputs whose names, shapes or types are not the model's.
    """
    (structure, *_), _ = model.save_spec(dynamic_batch=False)
    specs = tf.nest.flatten(structure)
    shapes = {
        name: tuple(spec.shape) for name, spec in zip(input_names(model, len(specs)), specs, strict=True)
    }
    for batch, _ in _batches(inputs, None):
        yield _named(model, shapes, batch)


def _keras(model: tf.keras.Model, named: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    outputs = model.predict_on_batch(arrange(model, named))
    return [np.asarray(output) for output in tf.nest.flatten(outputs)]


def _class_numbers(labels: Any, scores: np.ndarray) -> np.ndarray:
    """The classes (n,) that `labels` mean, for `scores` (n, ...) of a first output."""
    labels = np.asarray(labels)
    count, classes = len(scores), scores[0].size
    if labels.shape in ((count,), (count, 1)):
        return class_numbers(labels.reshape(count), classes)
    if labels.shape == (count, classes) and labels.dtype.kind in "biuf" and np.isfinite(labels).all():
        return labels.argmax(axis=1)
    raise invalid(
        "labels",
        f"an array of shape {labels.shape}",
        f"{count} class numbers, or one-hot of shape ({count}, {classes})",
    )


def _check_finite(source: str, names: list[str], answers: list[np.ndarray]) -> None:
    for name, answer in zip(names, answers, strict=True):
        # No comparison with NaN tells a difference, and infinite outputs have none.
        wrong = ~np.isfinite(answer).reshape(len(answer), -1).all(axis=1)
        if wrong.any():
            raise ConversionError(
                f"the output {name!r} of {source} holds NaN or infinity for {wrong.sum()} of {len(wrong)} inputs of a "
                "batch, which cannot be compared: look for it in the weights and in the inputs."
            )


@of_exact_signs
def verify(
    model: tf.keras.Model,
    tflite: Source,
    inputs: Inputs | Iterable[Any],
    labels: Any = None,
    *,
    runtime: str = "lce",
) -> Verification:
    """Runs `inputs` through Keras and through LCE's interpreter or our runtime, and compares all outputs.

    Keras adds whole numbers where a kernel with a scale stands straight before a sign: otherwise the rounding of its
    floats would decide the sign of a sum that is 0.

    Args:
        model: the Keras model.
        tflite: path or bytes of the file made from it.
        inputs: an array (n, ...), a mapping from input names to arrays, or a tf.data data set of batches of inputs,
            or of (inputs, labels).
        labels: (n,) class numbers or (n, classes) one-hot, where `inputs` is no data set.
        runtime: "lce" for LCE's interpreter, "litert" for larq-equalbits-runtime, as a Raspberry Pi runs it.

    Returns:
        The largest difference of any output, and of the first output the share of inputs with the same largest class
        and both accuracies. Where classes differ, also the layer at which they part; see
        `localization.compare_layers`.

    Raises:
        InputError: inputs whose names, shapes or types are not the model's; labels of another shape; a file that is
            damaged.
        ConversionError: outputs of Keras or of the file that are not finite.
        ImportError: without larq-compute-engine, or without larq-equalbits-runtime for "litert".
    """
    runner = load(tflite, runtime=runtime)
    images, agreeing, largest = 0, 0, 0.0
    labelled, right_keras, right_tflite = 0, 0, 0
    parted: list[dict[str, np.ndarray]] = []
    for batch, truth in _batches(inputs, labels):
        named = _named(model, {tensor.key: tensor.shape for tensor in runner.inputs}, batch)
        expected = _keras(model, named)
        found = runner.predict(named)
        keys = [tensor.key for tensor in runner.outputs]
        names = output_names(model, len(expected))
        answers = [found[name] if name in found else found[keys[i]] for i, name in enumerate(names)]
        _check_finite("Keras", names, expected)
        _check_finite("the file", names, answers)
        for one, other in zip(expected, answers, strict=True):
            if one.size:
                largest = max(largest, float(np.max(np.abs(one - other.reshape(one.shape)))))
        classes = expected[0].reshape(len(expected[0]), -1).argmax(axis=1)
        other_classes = answers[0].reshape(len(answers[0]), -1).argmax(axis=1)
        parted.extend(
            {key: value[i] for key, value in named.items()} for i in np.flatnonzero(classes != other_classes)
        )
        images += len(classes)
        agreeing += int((classes == other_classes).sum())
        if truth is not None:
            numbers = _class_numbers(truth, expected[0])
            labelled += len(numbers)
            right_keras += int((classes == numbers).sum())
            right_tflite += int((other_classes == numbers).sum())
    if images == 0:
        raise invalid("inputs", "no inputs", "at least one input")
    integers = any(tensor.scale for tensor in runner.tensors)
    first = ""
    if parted and not integers:
        some = {key: np.stack([one[key] for one in parted[:_LOCATED]]) for key in parted[0]}
        first = layer_outputs.first_difference(model, some)
    return Verification(
        images=images,
        max_abs_diff=largest,
        argmax_agreement=agreeing / images,
        keras_accuracy=right_keras / labelled if labelled else None,
        tflite_accuracy=right_tflite / labelled if labelled else None,
        first_difference=first,
    )
