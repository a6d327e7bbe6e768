"""Which layers take signs: binary is a property of the tensor that arrives, wherever its sign was taken."""

from collections.abc import Iterable

import numpy as np
import tensorflow as tf

from larq_equalbits._keras.calls import Call

# Operations whose outputs are among the values of their first input, or of all inputs.
OF_FIRST = frozenset(
    {
        "BatchToSpaceND",
        "BroadcastTo",
        "DepthToSpace",
        "ExpandDims",
        "GatherNd",
        "GatherV2",
        "Identity",
        "MaxPool",
        "MaxPool3D",
        "Max",
        "Min",
        "MirrorPad",
        "Neg",
        "Reshape",
        "ResizeNearestNeighbor",
        "ReverseV2",
        "Slice",
        "SpaceToDepth",
        "SplitV",
        "Squeeze",
        "StopGradient",
        "StridedSlice",
        "Tile",
        "Transpose",
        "Unpack",
    }
)
_OF_ALL = frozenset({"Maximum", "Minimum", "Mul", "Pack"})
# The index of the only inputs that count, and of the first that does not.
_OF_SOME = {
    "ConcatV2": slice(0, -1),
    "Fill": slice(1, 2),
    "PadV2": slice(0, 3, 2),
    "Select": slice(1, 3),
    "SelectV2": slice(1, 3),
    "Split": slice(1, 2),
}


def takers(calls: Iterable[Call]) -> set[int]:
    """The identities of the layers that took nothing but -1 and +1 first, in each of `calls`."""
    found: dict[int, bool] = {}
    for call in calls:
        signs = bool(call.inputs) and are_signs(call.inputs[0])
        found[id(call.layer)] = found.get(id(call.layer), True) and signs
    return {layer for layer, signs in found.items() if signs}


def are_signs(tensor: tf.Tensor) -> bool:
    """Whether the operations that made `tensor` yield nothing but -1 and +1; False where they do not tell."""
    operation, inputs = tensor.op, list(tensor.op.inputs)
    if operation.type == "Const":
        return bool((np.abs(tf.get_static_value(tensor)) == 1).all()) if tensor.dtype.is_floating else False
    if operation.type == "Sign":
        return _is_never_zero(inputs[0])
    if operation.type == "OnesLike":
        return True
    if operation.type == "IdentityN":
        return are_signs(inputs[tensor.value_index])
    if operation.type in OF_FIRST:
        return are_signs(inputs[0])
    if operation.type in _OF_ALL:
        return all(map(are_signs, inputs))
    some = _OF_SOME.get(operation.type)
    return some is not None and all(map(are_signs, inputs[some]))


def _is_never_zero(tensor: tf.Tensor) -> bool:
    """Whether `tensor` is sign(x) plus a number between 0 and 1, as Larq makes a sign without a zero."""
    if tensor.op.type not in ("Add", "AddV2"):
        return False
    one, other = tensor.op.inputs
    for taken, added in ((one, other), (other, one)):
        value = tf.get_static_value(added)
        if taken.op.type == "Sign" and value is not None:
            return bool(((np.abs(value) > 0) & (np.abs(value) < 1)).all())
    return False
