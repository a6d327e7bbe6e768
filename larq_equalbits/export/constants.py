"""The constants that an operator's inputs come from: those that operators unpack, scale and shape at run time."""

import dataclasses
import math
import weakref

import numpy as np

from larq_equalbits.export.flatbuffer import Model, Operator, Tensor

# Packing and the converter put less between a stored constant and the operator that takes it, and join fewer.
_LONGEST, _MOST_JOINED = 6, 4
_FLOATS = {"float32": "<f4", "float16": "<f2", "int8": "i1"}


@dataclasses.dataclass(frozen=True)
class Stored:
    """The constants that one tensor comes from.

    Attributes:
        tensors: the indices of the stored tensors.
        form: how the weights are stored: "1 bit", "2 bits", or a type, as "int8" or "float32".
    """

    tensors: tuple[int, ...]
    form: str


# Of each model as long as it lives.
_found: weakref.WeakKeyDictionary[Model, dict[int, Stored]] = weakref.WeakKeyDictionary()


def find(model: Model) -> dict[int, Stored]:
    """What is stored for each tensor of `model`, by its index; those that are computed from inputs are left out."""
    if model not in _found:
        _found[model] = _all(model)
    return _found[model]


def _all(model: Model) -> dict[int, Stored]:
    found = {
        index: Stored((index,), tensor.dtype) for index, tensor in enumerate(model.tensors) if tensor.bytes
    }
    for operator in model.operators:
        made = _unpacked(operator, found)
        for index in operator.outputs[:1]:
            if made is not None and index >= 0:
                found.setdefault(index, made)
    return found


def _unpacked(operator: Operator, found: dict[int, Stored]) -> Stored | None:
    """What the constants among the inputs of `operator` become by it, where it does no more than unpack them."""
    if operator.name not in ("LceDequantize", "DEQUANTIZE", "RESHAPE", "ADD", "MUL"):
        return None
    first, second = (found.get(index) for index in (*operator.inputs, -1, -1)[:2])
    if first is None or operator.name in ("DEQUANTIZE", "RESHAPE"):
        return first
    if operator.name == "LceDequantize":
        packed = first.form == "int32" and first.tensors == operator.inputs[:1]
        return dataclasses.replace(first, form="1 bit") if packed else None
    if second is None or len(first.tensors) + len(second.tensors) > _MOST_JOINED:
        return None
    if operator.name == "ADD":
        form = "2 bits" if first.form == second.form == "1 bit" else first.form
    else:
        # The factors are floats in every form.
        form = first.form if second.form == "float32" else second.form
    return Stored((*first.tensors, *second.tensors), form)


def of(model: Model, operator: Operator) -> dict[int, Stored]:
    """What is stored for each input of `operator`, by the input's place; computed ones are left out."""
    stored = find(model)
    return {place: stored[i] for place, i in enumerate(operator.inputs) if i in stored}


def values(model: Model, index: int, depth: int = _LONGEST) -> np.ndarray | None:
    """The numbers of the tensor at `index`, of those in `find`, as far as they are known; None elsewhere."""
    if index not in find(model) or depth == 0:
        return None
    tensor = model.tensors[index]
    if tensor.bytes:
        return _values(tensor)
    operator = model.producers[index]
    if operator.name == "LceDequantize":
        return _signs(model.tensors[operator.inputs[0]], tensor)
    first = values(model, operator.inputs[0], depth - 1)
    if operator.name in ("DEQUANTIZE", "RESHAPE"):
        return _shaped(first, tensor.shape)
    combine = np.add if operator.name == "ADD" else np.multiply
    return _combined(combine, first, values(model, operator.inputs[1], depth - 1), tensor.shape)


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


def _signs(packed: Tensor, target: Tensor) -> np.ndarray | None:
    shape, channels = packed.shape, target.shape[-1:]
    whole = min(shape, default=0) > 0 and packed.data.size == 4 * math.prod(shape)
    if not (whole and channels and 0 < channels[0] <= 32 * shape[-1]):
        return None
    bits = np.unpackbits(packed.data, bitorder="little").reshape(*shape[:-1], -1)
    signs = bits[..., : channels[0]].astype(np.float32)
    signs *= -2
    signs += 1
    return _shaped(signs, target.shape)


def _combined(
    combine: np.ufunc, a: np.ndarray | None, b: np.ndarray | None, shape: tuple[int, ...]
) -> np.ndarray | None:
    # Nothing becomes larger than what is stored.
    if a is None or b is None or max(a.size, b.size) != math.prod(shape):
        return None
    try:
        with np.errstate(all="ignore"):
            return _shaped(combine(a, b), shape)
    except ValueError:
        return None
