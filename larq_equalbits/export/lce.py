"""What LCE's operators look like in a file: a name alone is no proof, for whoever writes a file chooses the names."""

import math

from larq_equalbits._errors import InputError
from larq_equalbits.export.flatbuffer import Model, Operator, Tensor

BINARY_OPERATOR = "LceBconv2d"
_REAL = ("float32", "int8", "bool")
# The types of the first input and of the output.
_TYPES = {
    "LceQuantize": (_REAL, ("int32",)),
    "LceDequantize": (("int32",), _REAL),
    "LceBMaxPool2d": (("int32",), ("int32",)),
    BINARY_OPERATOR: (("int32",), ("float32", "int8", "int32")),
}


def doubt(model: Model, operator: Operator) -> str:
    """Why `operator`, which has the name of one of LCE's, cannot be that; "" for one that can, or another name."""
    if operator.name not in _TYPES:
        return ""
    taken = [model.tensors[index] for index in operator.inputs if index >= 0]
    if not taken or len(operator.outputs) != 1 or operator.inputs[0] < 0:
        return f"{operator.name} has {len(taken)} inputs and {len(operator.outputs)} outputs"
    source, target = taken[0], model.tensors[operator.outputs[0]]
    for tensor, types in zip((source, target), _TYPES[operator.name], strict=True):
        if tensor.dtype not in types:
            wanted = " or ".join(types)
            return f"{operator.name} has the {tensor.dtype} tensor {tensor.name!r}, where LCE's has {wanted}"
    return _doubt_of_filters(model, operator, source, target) if operator.name == BINARY_OPERATOR else ""


def _doubt_of_filters(model: Model, operator: Operator, source: Tensor, target: Tensor) -> str:
    if len(operator.inputs) != 5 or operator.inputs[1] < 0:
        return f"{operator.name} has {len(operator.inputs)} inputs, where LCE's has 5"
    kernel = model.tensors[operator.inputs[1]]
    packed = kernel.dtype == "int32" and len(kernel.shape) == 4 and min(kernel.shape) > 0
    if not packed or kernel.bytes != 4 * math.prod(kernel.shape):
        return f"{operator.name} has no constant filters of packed bits"
    if len(source.shape) != 4 or source.shape[3] < 1 or source.shape[3] % kernel.shape[3]:
        return (
            f"{operator.name} has filters of {kernel.shape[3]} words for an input of the shape {source.shape}"
        )
    channels = -(-kernel.shape[0] // 32) if target.dtype == "int32" else kernel.shape[0]
    if len(target.shape) != 4 or target.shape[3] != channels:
        return f"{operator.name} has {kernel.shape[0]} filters for an output of the shape {target.shape}"
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
