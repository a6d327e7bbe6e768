"""Verification: a file against the Keras model that it was made from, on given inputs."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from larq_equalbits._errors import ConversionError, InputError, invalid
from larq_equalbits.export import checks, judging, layer_outputs
from larq_equalbits.export.feeding import batches, input_specs, named_batch
from larq_equalbits.export.flatbuffer import read_model
from larq_equalbits.export.functions import arrange, by_name, output_keys, output_names
from larq_equalbits.export.interpreter import Source, batched, load, read_bytes
from larq_equalbits.export.precision import in_float32
from larq_equalbits.export.reference import exact_signs
from larq_equalbits.export.results import Verification

# So many of the inputs that get another decision show where it comes from.
_LOCATED = 4
# The functions that losses of regression call.
_OF_REGRESSION = (
    *("mean_squared_error", "mean_absolute_error", "mean_absolute_percentage_error", "huber", "log_cosh"),
    *("mean_squared_logarithmic_error", "cosine_similarity", "poisson"),
)


class NotFiniteError(ConversionError):
    """Outputs that cannot be compared."""


def keras_outputs(model: tf.keras.Model, named: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """What `model` answers to a batch of inputs by name."""
    outputs = model.predict_on_batch(arrange(model, named))
    return [np.asarray(output) for output in tf.nest.flatten(outputs)]


def _check_finite(source: str, names: list[str], answers: list[np.ndarray]) -> None:
    for name, answer in zip(names, answers, strict=True):
        # No comparison with NaN tells a difference, and infinite outputs have none.
        wrong = ~np.isfinite(answer).reshape(len(answer), -1).all(axis=1)
        if wrong.any():
            raise NotFiniteError(
                f"the output {name!r} of {source} holds NaN or infinity for {wrong.sum()} of {len(wrong)} inputs of a "
                "batch, which cannot be compared: look for it in the weights and in the inputs."
            )


def _check_sizes(names: list[str], expected: list[np.ndarray], answers: list[np.ndarray]) -> None:
    for name, one, other in zip(names, expected, answers, strict=True):
        if one.size != other.size:
            raise InputError(
                f"tflite must be the file of this model, whose output {name!r} has the shape {batched(one.shape)}, but "
                f"the file's has {batched(other.shape)}."
            )


def _trained_for(model: tf.keras.Model) -> dict[str, judging.Rule]:
    """By the names of outputs 0.0 for a binary cross-entropy of logits, and "values" for a loss of regression."""
    names = list(getattr(model, "output_names", None) or [])
    loss = getattr(model, "loss", None)
    losses = (
        by_name(loss, names, output_keys(model))
        if isinstance(loss, Mapping)
        else dict(zip(names, loss if isinstance(loss, list | tuple) else [loss] * len(names), strict=False))
    )
    kinds = (tf.keras.losses.BinaryCrossentropy, tf.keras.losses.BinaryFocalCrossentropy)
    found: dict[str, judging.Rule] = {}
    for name, each in losses.items():
        function = tf.keras.losses.get(each) if isinstance(each, str) else getattr(each, "fn", each)
        if isinstance(each, kinds) and each.from_logits:
            found[name] = 0.0
        elif getattr(function, "__name__", "") in _OF_REGRESSION:
            found[name] = "values"
    return found


def verify(
    model: tf.keras.Model,
    tflite: Source,
    inputs: Any,
    labels: Any = None,
    *,
    runtime: str = "lce",
    decisions: Any = None,
) -> Verification:
    """Runs `inputs` through Keras and through LCE's interpreter or our runtime, and compares all outputs.

    Keras adds whole numbers where a kernel with a scale stands straight before a sign: otherwise the rounding of its
    floats would decide the sign of a sum that is 0.

    Args:
        model: the Keras model; of one in mixed precision a float32 copy with the same codes, as `convert` makes it.
        tflite: path or bytes of the file made from it.
        inputs: as `fit` and `evaluate` take them: an array (n, ...), a mapping or a list of several, a tuple (inputs,
            labels) or (inputs, labels, weights) of those, a tf.data data set of batches or of single inputs, a Keras
            Sequence, or an iterable of batches that ends.
        labels: beside arrays their labels; for several outputs a mapping by their names, or by the keys of the mapping
            that the model answers with, or a list, or an array for the first. Class numbers or one-hot for each input
            or each position (pixel) of it; 0 and 1 where an output has a threshold.
        runtime: "lce" for LCE's interpreter, "litert" for larq-equalbits-runtime, as a Raspberry Pi runs it.
        decisions: what outputs decide: "argmax" of the last axis, a threshold, or "values" where nothing is decided
            (regression); for all of them, or a mapping from their names. By default the threshold 0.5 after a sigmoid,
            0 where the model is compiled with a binary cross-entropy of logits, "values" for another single unit and
            where it is compiled with a loss of regression (mse, mae, huber) but for a softmax, and "argmax" elsewhere.

    Returns:
        For each output the decisions that differ, the largest difference and both accuracies; see `Verification`. Where
        the file does not pass, also the layer at which the outputs part; see `layer_outputs.compare_layers`.

    Raises:
        InputError: what is no built Keras model; inputs whose names, shapes or types are not the model's; labels of
            another shape; a file that is damaged.
        ConversionError: outputs of Keras or of the file that are not finite.
        ImportError: without larq-compute-engine, or without larq-equalbits-runtime for "litert".

    Examples:
        >>> verify(model, tflite, np.zeros((4, 8, 8, 32), "f")).argmax_agreement
        1.0
    """
    checks.check_built(model)
    trained = _trained_for(model)
    model = in_float32(model)
    with exact_signs(model):
        content = read_bytes(tflite)
        runner = load(content, runtime=runtime)
        rules = judging.rules(read_model(content), decisions, trained)
        shapes = {tensor.key: tensor.shape for tensor in runner.inputs}
        ordered = [tuple(spec.shape) for spec in input_specs(model).values()]
        keys = [tensor.key for tensor in runner.outputs]
        judge: judging.Judge | None = None
        images = 0
        parted: list[dict[str, np.ndarray]] = []
        first_inputs: list[dict[str, np.ndarray]] = []
        for batch, truth in batches(inputs, labels, ordered):
            named = named_batch(model, shapes, batch)
            expected = keras_outputs(model, named)
            found = runner.predict(named)
            names = output_names(model, len(expected))
            taken = [name if name in found else keys[i] for i, name in enumerate(names)]
            answers = [found[key] for key in taken]
            _check_sizes(names, expected, answers)
            _check_finite("Keras", names, expected)
            _check_finite("the file", names, answers)
            if judge is None:
                judge = judging.Judge(
                    names, {name: rules[key] for name, key in zip(names, taken, strict=True)}
                )
            if isinstance(truth, Mapping):
                truth = by_name(truth, names, output_keys(model))
            differing = judge.add(expected, answers, truth)
            images += len(differing)
            rows = [
                {key: value[i] for key, value in named.items()} for i in range(min(len(differing), _LOCATED))
            ]
            first_inputs = first_inputs or rows
            parted.extend(
                {key: value[i] for key, value in named.items()}
                for i in np.flatnonzero(differing)[: _LOCATED - len(parted)]
            )
        if judge is None or images == 0:
            raise invalid("inputs", "no inputs", "at least one input")
        # Weights alone are stored as integers where the layer computes in floats.
        integers = any(tensor.scale and not tensor.bytes for tensor in runner.tensors)
        verification = Verification.of(images, judge.verdicts(), integers)
        if (parted or not verification.within(0.0)) and not integers:
            some = parted or first_inputs
            stacked = {key: np.stack([one[key] for one in some]) for key in some[0]}
            first = layer_outputs.first_difference(model, stacked)
            verification = dataclasses.replace(verification, first_difference=first)
        return verification
