"""A converted model as a device meets it: its bytes, its inputs and its outputs."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from larq_equalbits.errors import InputError, invalid

Arrays = np.ndarray | Sequence[np.ndarray] | Mapping[str, np.ndarray]
Source = str | os.PathLike[str] | bytes


@dataclass(frozen=True)
class Tensor:
    """An input or output of a model.

    Attributes:
        name: the tensor's name in the file.
        key: the name in the file's signature, which is Keras' name of the input or output; "" without one.
        shape: with the batch dimension, which is 1 after conversion.
        dtype: the numpy type.
        scale: of a quantized tensor, real = scale * (stored - zero_point); 0 where it is not quantized.
        zero_point: see `scale`.
    """

    name: str
    key: str
    shape: tuple[int, ...]
    dtype: np.dtype
    scale: float
    zero_point: int

    @property
    def bytes(self) -> int:
        """The size of one value of the tensor in bytes."""
        return int(np.prod(self.shape)) * self.dtype.itemsize

    def encode(self, value: np.ndarray) -> np.ndarray:
        """`value` in the tensor's type, quantized where the tensor is and `value` is not."""
        if self.scale and np.issubdtype(value.dtype, np.floating):
            limits = np.iinfo(self.dtype)
            value = np.clip(np.round(value / self.scale) + self.zero_point, limits.min, limits.max)
        return np.ascontiguousarray(value, self.dtype)

    def decode(self, stored: np.ndarray) -> np.ndarray:
        """The real numbers that `stored` stands for."""
        if not self.scale:
            return stored
        return ((stored.astype(np.float32) - self.zero_point) * self.scale).astype(np.float32)


@dataclass(frozen=True)
class Model:
    """A .tflite model with a name."""

    name: str
    data: bytes
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]

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
                    f"input {tensor.key or tensor.name!r} of {self.name}, but got {array.shape}."
                )
        encoded = [tensor.encode(array) for tensor, array in zip(self.inputs, arrays, strict=True)]
        return [[array[i : i + 1] for array in encoded] for i in range(len(encoded[0]))]

    def _ordered(self, inputs: Arrays) -> list[np.ndarray]:
        if isinstance(inputs, Mapping):
            names = [tensor.key if tensor.key in inputs else tensor.name for tensor in self.inputs]
            if set(names) != set(inputs):
                expected = "a mapping from " + ", ".join(tensor.key or tensor.name for tensor in self.inputs)
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


def _numpy_type(code: int, schema: Any) -> np.dtype:
    names = {value: name.lower() for name, value in vars(schema.TensorType).items() if isinstance(value, int)}
    try:
        return np.dtype(names[code])
    except (KeyError, TypeError):
        raise InputError(
            f"model has a tensor of the type {names.get(code, code)}, which is not a number."
        ) from None


def _tensor(graph: Any, index: int, keys: Mapping[int, str], schema: Any) -> Tensor:
    tensor = graph.Tensors(index)
    quantization = tensor.Quantization()
    scaled = quantization is not None and quantization.ScaleLength() > 0
    return Tensor(
        name=tensor.Name().decode(),
        key=keys.get(index, ""),
        shape=tuple(int(size) for size in tensor.ShapeAsNumpy()) if tensor.ShapeLength() else (),
        dtype=_numpy_type(tensor.Type(), schema),
        scale=float(quantization.Scale(0)) if scaled else 0.0,
        zero_point=int(quantization.ZeroPoint(0)) if scaled and quantization.ZeroPointLength() else 0,
    )


def parse(name: str, data: bytes) -> Model:
    """The model in the bytes of a .tflite file.

    Raises:
        InputError: where `data` is no .tflite model.
    """
    from tensorflow.lite.python import schema_py_generated as schema

    if data[4:8] != b"TFL3":
        raise InputError(f"model {name} is not a .tflite model (the file identifier TFL3 is missing).")
    root = schema.Model.GetRootAs(data, 0)
    graph = root.Subgraphs(0)
    keys: dict[int, str] = {}
    for position in range(root.SignatureDefsLength()):
        signature = root.SignatureDefs(position)
        named = [signature.Inputs(i) for i in range(signature.InputsLength())]
        named += [signature.Outputs(i) for i in range(signature.OutputsLength())]
        keys.update({entry.TensorIndex(): entry.Name().decode() for entry in named})
    inputs = [_tensor(graph, int(index), keys, schema) for index in graph.InputsAsNumpy()]
    outputs = [_tensor(graph, int(index), keys, schema) for index in graph.OutputsAsNumpy()]
    return Model(name, data, tuple(inputs), tuple(outputs))


def _entry(source: Source, position: int) -> tuple[str, bytes]:
    if isinstance(source, bytes):
        return f"model-{position + 1}", source
    path = Path(source)
    data = path.read_bytes()
    return (path.resolve().parent.name if path.name == "model.tflite" else path.stem), data


def load(models: Source | Sequence[Source] | Mapping[str, Source]) -> list[Model]:
    """The models of a path, of bytes, of a sequence of those, or of a mapping from names to those.

    A path's model is called after the file, and after the folder where the file is `model.tflite`. Equal
    names get a number.
    """
    if isinstance(models, Mapping):
        entries = [(name, _entry(source, 0)[1]) for name, source in models.items()]
    else:
        several = [models] if isinstance(models, (str, os.PathLike, bytes)) else list(models)
        entries = [_entry(source, position) for position, source in enumerate(several)]
    if not entries:
        raise invalid("models", models, "at least one .tflite model")
    seen: dict[str, int] = {}
    loaded = []
    for name, data in entries:
        seen[name] = seen.get(name, 0) + 1
        loaded.append(parse(name if seen[name] == 1 else f"{name}-{seen[name]}", data))
    return loaded
