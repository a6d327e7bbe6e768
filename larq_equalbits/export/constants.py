"""The constants that an operator's inputs come from: those that operators unpack, scale and shape at run time."""

import dataclasses
import math

import numpy as np

from larq_equalbits.export.flatbuffer import Model, Operator, Tensor

# What packing and the converter put between a stored constant and the operator that takes it is shorter.
_LONGEST = 6
_FLOATS = {"float32": "<f4", "float16": "<f2", "int8": "i1"}


@dataclasses.dataclass(frozen=True)
class Stored:
    """The constants that one input of an operator comes from.

    Attributes:
        tensors: the indices of the stored tensors.
        form: how the weights are stored: "1 bit", "2 bits", or a type, as "int8" or "float32".
        values: the numbers that the operator takes, as far as they are known; None elsewhere.
    """

    tensors: tuple[int, ...]
    form: str
    values: np.ndarray | None = dataclasses.field(repr=False, compare=False)


def read(model: Model, index: int, depth: int = _LONGEST) -> Stored | None:
    """What is stored for the tensor at `index`; None for one that is computed from the graph's inputs."""
    if index < 0 or depth == 0:
        return None
    tensor = model.tensors[index]
    if tensor.bytes:
        return Stored((index,), tensor.dtype, _values(tensor))
    operator = model.producers.get(index)
    if operator is None or not operator.inputs:
        return None
    if operator.name == "LceDequantize":
        return _unpacked(model, operator.inputs[0], tensor)
    if operator.name in ("DEQUANTIZE", "RESHAPE"):
        source = read(model, operator.inputs[0], depth - 1)
        return source and dataclasses.replace(source, values=_shaped(source.values, tensor.shape))
    if operator.name in ("ADD", "MUL") and len(operator.inputs) == 2:
        return _combined(model, operator, tensor, depth - 1)
    return None


def of(model: Model, operator: Operator) -> dict[int, Stored]:
    """What is stored for each input of `operator`, by the input's place; computed ones are left out."""
    found = {place: read(model, index) for place, index in enumerate(operator.inputs)}
    return {place: stored for place, stored in found.items() if stored is not None}


def _shaped(values: np.ndarray | None, shape: tuple[int, ...]) -> np.ndarray | None:
    # The shape of a damaged file may be anything.
    fits = values is not None and min(shape, default=1) > 0 and values.size == math.prod(shape)
    return values.reshape(shape) if fits and values is not None else None


def _values(tensor: Tensor) -> np.ndarray | None:
    kind = _FLOATS.get(tensor.dtype)
    if kind is None or tensor.data.size % np.dtype(kind).itemsize:
        return None
    values = _shaped(tensor.data.view(kind), tensor.shape)
    if values is None or not tensor.scale:
        return values
    axes = [1] * values.ndim
    if tensor.scales.size > 1:
        if not 0 <= tensor.axis < values.ndim or values.shape[tensor.axis] != tensor.scales.size:
            return None
        axes[tensor.axis] = tensor.scales.size
    with np.errstate(all="ignore"):
        return (values.astype(np.float32) - tensor.zero_point) * tensor.scales.reshape(axes or ())


def _unpacked(model: Model, index: int, target: Tensor) -> Stored | None:
    packed = model.tensors[index] if index >= 0 else None
    if packed is None or packed.dtype != "int32" or not packed.bytes:
        return None
    values = None
    shape, channels = packed.shape, target.shape[-1:]
    whole = min(shape, default=0) > 0 and packed.data.size == 4 * math.prod(shape)
    if whole and channels and 0 < channels[0] <= 32 * shape[-1]:
        bits = np.unpackbits(packed.data, bitorder="little").reshape(*shape[:-1], -1)
        values = _shaped(1.0 - 2.0 * bits[..., : channels[0]].astype(np.float32), target.shape)
    return Stored((index,), "1 bit", values)


def _combined(model: Model, operator: Operator, target: Tensor, depth: int) -> Stored | None:
    first, second = (read(model, index, depth) for index in operator.inputs)
    if first is None or second is None:
        return None
    if operator.name == "ADD":
        form = "2 bits" if first.form == second.form == "1 bit" else first.form
    else:
        # The factors are floats in every form.
        form = first.form if second.form == "float32" else second.form
    values = None
    if first.values is not None and second.values is not None:
        combine = np.add if operator.name == "ADD" else np.multiply
        values = _broadcast(combine, first.values, second.values, target.shape)
    return Stored((*first.tensors, *second.tensors), form, values)


def _broadcast(combine: np.ufunc, a: np.ndarray, b: np.ndarray, shape: tuple[int, ...]) -> np.ndarray | None:
    # Nothing becomes larger than what is stored.
    if max(a.size, b.size) != math.prod(shape):
        return None
    try:
        with np.errstate(all="ignore"):
            return _shaped(combine(a, b), shape)
    except ValueError:
        return None
