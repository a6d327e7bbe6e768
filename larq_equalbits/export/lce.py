"""What LCE's operators look like in a file: a name alone is no proof, for whoever writes a file chooses the names."""

import math
import struct

from flatbuffers import flexbuffers

from larq_equalbits._errors import InputError
from larq_equalbits.export.flatbuffer import Model, Operator, Tensor

BINARY_OPERATOR = "LceBconv2d"
_POOL = "LceBMaxPool2d"
_REAL = ("float32", "int8", "bool")
# The types of the first input and of the output.
_TYPES = {
    "LceQuantize": (_REAL, ("int32",)),
    "LceDequantize": (("int32",), _REAL),
    _POOL: (("int32",), ("int32",)),
    BINARY_OPERATOR: (("int32",), ("float32", "int8", "int32")),
}
_SIZE = (1, 2**20)
# The attributes of those that have some, and their ranges.
_ATTRIBUTES = {
    _POOL: {
        "filter_height": _SIZE,
        "filter_width": _SIZE,
        "stride_height": _SIZE,
        "stride_width": _SIZE,
        "padding": (0, 1),
    },
    BINARY_OPERATOR: {
        "stride_height": _SIZE,
        "stride_width": _SIZE,
        "dilation_height_factor": _SIZE,
        "dilation_width_factor": _SIZE,
        "padding": (0, 1),
        "pad_values": (0, 1),
        "channels_in": (1, 2**24),
        "fused_activation_function": (0, 3),
    },
}
# LCE writes some 200 bytes of attributes.
_MOST_OPTIONS = 4096


def attributes(operator: Operator) -> dict[str, int]:
    """The attributes of an operator of LCE, of which those that are no integers are left out.

    Raises:
        ValueError: where they are none that LCE's reader finds.
    """
    try:
        if len(operator.options) > _MOST_OPTIONS:
            raise ValueError("too many")
        entries = flexbuffers.GetRoot(operator.options).AsMap
        names = [name.AsKey for name in entries.Keys]
        # LCE's reader seeks a name by halves.
        if names != sorted(set(names)):
            raise ValueError("not in order")
        found = {name: entries[name] for name in names}
        return {name: value.AsInt for name, value in found.items() if value.IsInt or value.IsBool}
    except (struct.error, LookupError, ValueError, TypeError, AssertionError) as error:
        raise ValueError("no attributes that LCE could read") from error


def doubt(model: Model, operator: Operator) -> str:
    """Why `operator`, which has the name of one of LCE's, cannot be that; "" for one that can, or another name."""
    if operator.name not in _TYPES:
        return ""
    taken, needed = (5, 2) if operator.name == BINARY_OPERATOR else (1, 1)
    if len(operator.inputs) != taken or len(operator.outputs) != 1:
        inputs, outputs = len(operator.inputs), len(operator.outputs)
        return f"{operator.name} has {inputs} inputs and {outputs} outputs, where LCE's has {taken} and 1"
    if min(*operator.inputs[:needed], *operator.outputs) < 0:
        return f"{operator.name} lacks an input or its output"
    source, target = model.tensors[operator.inputs[0]], model.tensors[operator.outputs[0]]
    for tensor, types in zip((source, target), _TYPES[operator.name], strict=True):
        if tensor.dtype not in types:
            wanted = " or ".join(types)
            return f"{operator.name} has the {tensor.dtype} tensor {tensor.name[:80]!r}, where LCE's has {wanted}"
    if operator.name not in _ATTRIBUTES:
        return ""
    try:
        found = attributes(operator)
    except ValueError as error:
        return f"{operator.name} has {error}"
    for name, (least, most) in _ATTRIBUTES[operator.name].items():
        if name not in found:
            return f"{operator.name} lacks the attribute {name}"
        if not least <= found[name] <= most:
            return f"{operator.name} has a {name} of {found[name]}, where LCE's has {least} to {most}"
    if operator.name != BINARY_OPERATOR:
        return ""
    return _doubt_of_filters(model, operator, source, target, found["channels_in"]) or _doubt_of_values(
        model, operator, target
    )


def _doubt_of_filters(model: Model, operator: Operator, source: Tensor, target: Tensor, channels: int) -> str:
    kernel = model.tensors[operator.inputs[1]]
    packed = kernel.dtype == "int32" and len(kernel.shape) == 4 and min(kernel.shape) > 0
    if not packed or kernel.bytes != 4 * math.prod(kernel.shape):
        return f"{operator.name} has no constant filters of packed bits"
    filters, _, _, words = kernel.shape
    if len(source.shape) != 4 or source.shape[3] < 1 or source.shape[3] % words:
        return f"{operator.name} has filters of {words} words for an input of the shape {source.shape}"
    groups = source.shape[3] // words
    # A group of channels begins with a word.
    whole = groups == 1 or channels % (groups * 32) == 0
    if source.shape[3] != -(-channels // 32) or not whole or filters % groups:
        return (
            f"{operator.name} has {filters} filters of {words} words and {channels} channels for an input "
            f"of the shape {source.shape}"
        )
    yielded = -(-filters // 32) if target.dtype == "int32" else filters
    if len(target.shape) != 4 or target.shape[3] != yielded:
        return f"{operator.name} has {filters} filters for an output of the shape {target.shape}"
    return ""


def _doubt_of_values(model: Model, operator: Operator, target: Tensor) -> str:
    """Why what comes after the sums, thresholds or a factor and a bias, cannot be LCE's."""
    filters = model.tensors[operator.inputs[1]].shape[0]
    packed = target.dtype == "int32"
    dtype = "int32" if packed else "float32"
    for index in operator.inputs[4:] if packed else operator.inputs[2:4]:
        values = model.tensors[index] if index >= 0 else None
        if values is None or (values.dtype, values.shape, values.bytes) != (dtype, (filters,), 4 * filters):
            return f"{operator.name} with {target.dtype} output lacks constants of {dtype} for its {filters} filters"
    return ""


def check(model: Model, argument: str) -> None:
    """Checks that what has the name of an operator of LCE can be one, before LCE's interpreter runs it.

    Raises:
        InputError: names the operator and what is wrong with it.
    """
    for operator in model.operators:
        wrong = doubt(model, operator)
        if wrong:
            raise InputError(f"{argument} must be a file that LCE wrote, but is not run: {wrong}.")
