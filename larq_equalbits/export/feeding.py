"""Inputs as Keras' `fit` and `evaluate` take them, in batches with their labels."""

import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from larq_equalbits._errors import InputError, invalid
from larq_equalbits.export.functions import by_name, input_keys, input_names
from larq_equalbits.export.interpreter import batched

_BATCH = 128
Shape = tuple[int | None, ...]


def batches(inputs: Any, labels: Any, shapes: Sequence[Shape]) -> Iterator[tuple[Any, Any]]:
    """Batches of (inputs, labels or None); weights of samples are left out.

    Args:
        inputs: an array (n, ...); a mapping or a list of several; a tuple (inputs, labels) or (inputs, labels,
            weights) of those; a tf.data data set of batches or of single inputs; a Keras Sequence; or an iterable
            that ends, of batches. A batch is inputs, or a tuple as above.
        labels: beside arrays their labels: an array, a list or a mapping of several.
        shapes: those of the model's inputs, the batch first.

    Raises:
        InputError: arrays of several lengths or none, a data set without end, and labels given twice.
    """
    pair = isinstance(inputs, tuple) and not _are_inputs(inputs, shapes)
    arrays = isinstance(inputs, np.ndarray | tf.Tensor | Mapping) or (
        isinstance(inputs, list | tuple) and bool(inputs) and not pair and not _are_batches(inputs, shapes)
    )
    if labels is not None and not arrays:
        raise invalid("labels", "labels beside inputs that bring their own", "left out, or beside arrays")
    if pair:
        parts = _parted(inputs)
        yield from _slices(*parts)
    elif arrays:
        singles = isinstance(inputs, list) and len(shapes) == 1 and not _fits(inputs[0], shapes[0])
        yield from _slices(as_array(inputs) if singles else inputs, labels)
    elif isinstance(inputs, tf.data.Dataset):
        if inputs.cardinality().numpy() == tf.data.INFINITE_CARDINALITY:
            raise InputError("inputs must end, but are repeated without end: leave out .repeat().")
        spec = tf.nest.flatten(_parted(inputs.element_spec)[0])
        single = all(each.shape.rank == len(shape) - 1 for each, shape in zip(spec, shapes, strict=False))
        data = inputs.batch(_BATCH) if single else inputs
        yield from map(_parted, data.as_numpy_iterator())
    elif isinstance(inputs, tf.keras.utils.Sequence):
        # Iterating over one has no end where it only defines its length and its batches.
        yield from (_parted(inputs[index]) for index in range(len(inputs)))
    elif isinstance(inputs, Iterable) and not isinstance(inputs, str | bytes):
        yield from map(_parted, inputs)
    else:
        raise invalid("inputs", inputs, "arrays, a data set or an iterable of batches")


def _parted(batch: Any) -> tuple[Any, Any]:
    if not isinstance(batch, tuple):
        return batch, None
    if len(batch) not in (1, 2, 3):
        raise invalid("inputs", f"a tuple of {len(batch)}", "(inputs, labels) or (inputs, labels, weights)")
    return batch[0], batch[1] if len(batch) > 1 else None


def _fits(value: Any, shape: Shape) -> bool:
    return isinstance(value, np.ndarray | tf.Tensor) and tuple(value.shape)[1:] == tuple(shape)[1:]


def _are_inputs(inputs: tuple[Any, ...], shapes: Sequence[Shape]) -> bool:
    """Whether a tuple is an array for each of several inputs."""
    return len(shapes) > 1 and len(inputs) == len(shapes) and all(map(_fits, inputs, shapes))


def _are_batches(inputs: Sequence[Any], shapes: Sequence[Shape]) -> bool:
    """Whether a list is one of batches: of tuples, of mappings, or of arrays for a model of one input."""
    if all(isinstance(each, tuple | Mapping) for each in inputs):
        return True
    arrays = all(isinstance(each, np.ndarray | tf.Tensor) for each in inputs)
    return arrays and len(shapes) == 1 and all(_fits(each, shapes[0]) for each in inputs)


def as_array(value: Any) -> np.ndarray:
    """`value` as an array; InputError for rows of several lengths."""
    try:
        return np.asarray(value)
    except ValueError as error:
        raise invalid("inputs and labels", "rows of several lengths", "arrays") from error


def _array(value: Any) -> Any:
    return value if value is None else as_array(value)


def _length(array: Any) -> int:
    return len(array) if array is not None and array.ndim else 0


def _structure(values: Any) -> Any:
    """Lists of numbers as arrays, lists of arrays as they are."""
    several = isinstance(values, list | tuple) and any(
        isinstance(each, np.ndarray | tf.Tensor) and each.ndim for each in values
    )
    if several or isinstance(values, Mapping):
        return tf.nest.map_structure(_array, values)
    return _array(values)


def _slices(inputs: Any, labels: Any) -> Iterator[tuple[Any, Any]]:
    arrays = _structure(inputs)
    sizes = {_length(array) for array in tf.nest.flatten(arrays)}
    if len(sizes) != 1 or 0 in sizes:
        raise invalid("inputs", f"arrays of the lengths {sorted(sizes)}", "arrays of one length above 0")
    (size,) = sizes
    truths = _structure(labels)
    counts = {_length(each) for each in tf.nest.flatten(truths) if each is not None}
    if counts - {size}:
        raise invalid("labels", f"{max(counts - {size})} labels", f"one for each of {size} inputs")
    for start in range(0, size, _BATCH):
        part = operator.itemgetter(slice(start, start + _BATCH))
        yield (
            tf.nest.map_structure(part, arrays),
            tf.nest.map_structure(lambda each, part=part: each if each is None else part(each), truths),
        )


def named_batch(
    model: tf.keras.Model, shapes: Mapping[str, tuple[int, ...]], batch: Any
) -> dict[str, np.ndarray]:
    """`batch` by the names of the inputs, checked against their `shapes`, whose first number is the batch's.

    It may come by the keys of the mapping that the model takes.
    """
    if isinstance(batch, Mapping):
        values = by_name(batch, shapes, input_keys(model))
    else:
        flat = tf.nest.flatten(batch)
        names = input_names(model, len(flat))
        if len(names) != len(flat):
            raise invalid("inputs", f"{len(flat)} arrays", f"one array for each of {names}")
        values = dict(zip(names, flat, strict=True))
    if set(values) != set(shapes):
        raise invalid("inputs", sorted(values), f"arrays for {list(shapes)}")
    for key, shape in shapes.items():
        value = values[key] = as_array(values[key])
        if not value.ndim or value.shape[1:] != shape[1:]:
            raise InputError(
                f"inputs must have the shape {batched(shape)} for {key!r}, but got {value.shape}."
            )
        if not len(value):
            raise invalid("inputs", f"a batch of no inputs for {key!r}", "at least one in each batch")
        if not (np.issubdtype(value.dtype, np.number) or value.dtype == bool):
            raise invalid("inputs", f"an array of {value.dtype} for {key!r}", "numbers")
    return {key: np.asarray(values[key], "float32") for key in shapes}


def input_specs(model: tf.keras.Model) -> dict[str, tf.TensorSpec]:
    """The inputs of `model` by name, with a batch of any size."""
    (structure, *_), _ = model.save_spec()
    specs = tf.nest.flatten(structure)
    return dict(zip(input_names(model, len(specs)), specs, strict=True))


def named_batches(model: tf.keras.Model, inputs: Any) -> Iterator[dict[str, np.ndarray]]:
    """Batches of `inputs`, as `verify` takes them, by the names of the inputs of `model`, without labels.

    Raises:
        InputError: inputs whose names, shapes or types are not the model's.
    """
    shapes = {name: tuple(spec.shape) for name, spec in input_specs(model).items()}
    for batch, _ in batches(inputs, None, list(shapes.values())):
        yield named_batch(model, shapes, batch)
