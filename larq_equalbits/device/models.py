"""A converted model as a device meets it: its bytes, its inputs and its outputs."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from larq_equalbits._errors import InputError, check_kind, invalid
from larq_equalbits.export import judging
from larq_equalbits.export.flatbuffer import Tensor, read_model
from larq_equalbits.export.interpreter import check_source, read_bytes

Arrays = np.ndarray | Sequence[np.ndarray] | Mapping[str, np.ndarray]
Source = str | os.PathLike[str] | bytes


def value_bytes(tensor: Tensor) -> int:
    """The size in bytes of one value of an input or output."""
    return int(np.prod(tensor.shape)) * np.dtype(tensor.dtype).itemsize


@dataclass(frozen=True)
class Model:
    """A .tflite model with a name, and the rules by which its outputs decide; see `export.judging`."""

    name: str
    data: bytes
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    rules: Mapping[str, judging.Rule] = field(default_factory=dict)

    def judge(self) -> judging.Judge:
        """A judge of two lists of its outputs."""
        return judging.Judge([tensor.key for tensor in self.outputs], self.rules)

    def samples(self, inputs: Arrays) -> list[list[np.ndarray]]:
        """`inputs` as one list per image, which holds an array for every input of the model, batch 1.

        Args:
            inputs: an array whose first axis counts the images; for several inputs a mapping from their
                names, or a sequence in the model's order.

        Raises:
            InputError: where shapes, names or the number of images do not fit.
        """
        arrays = self._ordered(inputs)
        if len({len(array) for array in arrays}) != 1 or not len(arrays[0]):
            raise invalid("inputs", [array.shape for array in arrays], "arrays of the same, non-zero length")
        for tensor, array in zip(self.inputs, arrays, strict=True):
            if array.shape[1:] != tensor.shape[1:]:
                raise InputError(
                    f"inputs must have the shape (images, {', '.join(map(str, tensor.shape[1:]))}) for the "
                    f"input {tensor.key!r} of {self.name}, but got {array.shape}."
                )
            if not np.isfinite(array).all():
                raise InputError(f"inputs must be finite numbers, but those for {tensor.key!r} are not.")
        encoded = [tensor.encode(array) for tensor, array in zip(self.inputs, arrays, strict=True)]
        return [[array[i : i + 1] for array in encoded] for i in range(len(encoded[0]))]

    def _ordered(self, inputs: Arrays) -> list[np.ndarray]:
        check_kind("inputs", inputs, Iterable, "an array, or a sequence or a mapping of arrays")
        if isinstance(inputs, Mapping):
            names = [tensor.key if tensor.key in inputs else tensor.name for tensor in self.inputs]
            if set(names) != set(inputs):
                expected = "a mapping from " + ", ".join(tensor.key for tensor in self.inputs)
                raise invalid("inputs", sorted(inputs), expected)
            arrays = [np.asarray(inputs[name]) for name in names]
        elif isinstance(inputs, np.ndarray):
            arrays = [inputs]
        else:
            arrays = [np.asarray(array) for array in inputs]
        if len(arrays) != len(self.inputs):
            raise invalid(
                "inputs", f"{len(arrays)} arrays", f"one array for each of {len(self.inputs)} inputs"
            )
        if any(array.ndim == 0 or array.dtype.kind not in "fiub" for array in arrays):
            raise invalid(
                "inputs", [array.dtype.name for array in arrays], "arrays of numbers, first axis images"
            )
        return arrays


def check_labels(labels: np.ndarray, models: Sequence[Model]) -> None:
    """Checks that `labels` (n, ...) are of classes, or of sides of a threshold, that the first output answers.

    Raises:
        InputError: no numbers, of another shape, or one that is no class.
    """
    for model in models:
        for tensor in model.outputs[:1]:
            judging.truth(labels, (len(labels), *tensor.shape[1:]), model.rules[tensor.key])


def parse(name: str, data: bytes) -> Model:
    """The model in the bytes of a .tflite file.

    Raises:
        InputError: where `data` is no .tflite model, it lacks inputs or outputs, these are no numbers, or its inputs
            are of several images.
    """
    content = read_model(data)
    if not (content.inputs and content.outputs):
        found = f"{len(content.inputs)} and {len(content.outputs)}"
        raise InputError(f"model {name} must have inputs and outputs, but has {found}.")
    for tensor in (*content.inputs, *content.outputs):
        if tensor.dtype not in np.sctypeDict:
            raise InputError(
                f"model {name} has {tensor.key!r} of the type {tensor.dtype}, which is not a number."
            )
    for tensor in content.inputs:
        if tensor.shape[:1] != (1,):
            raise InputError(
                f"model {name} must take one image at a time, but its input {tensor.key!r} has the shape "
                f"{tensor.shape}: convert it with 1 as its first axis, or with a free one."
            )
    return Model(name, data, tuple(content.inputs), tuple(content.outputs), judging.rules(content))


def named(sources: Sequence[Source]) -> dict[str, Source]:
    """`sources` by name: of the file, or of the folder where the file is `model.tflite`; equal names get a number."""
    found: dict[str, Source] = {}
    for position, source in enumerate(sources, 1):
        path = Path() if isinstance(source, bytes) else Path(source)
        called = path.resolve().parent.name if path.name == "model.tflite" else path.stem
        name = base = called or f"model-{position}"
        count = 1
        while name in found:
            count += 1
            name = f"{base}-{count}"
        found[name] = source
    return found


def load(models: Source | Sequence[Source] | Mapping[str, Source]) -> list[Model]:
    """The models of a path, of bytes, of a sequence of those, or of a mapping from names to those.

    Those without a name are called as `named` says.
    """
    given: Any = models.values() if isinstance(models, Mapping) else models
    one = isinstance(given, str | os.PathLike | bytes) or not isinstance(given, Iterable)
    listed = [given] if one else list(given)
    for source in listed:
        check_source(source, "models")
    sources = dict(models) if isinstance(models, Mapping) else named(listed)
    if not sources:
        raise invalid("models", models, "at least one .tflite model")
    return [parse(name, read_bytes(source)) for name, source in sources.items()]
