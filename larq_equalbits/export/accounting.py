"""Every byte of a file's constants, given to one operator with weights each."""

from larq_equalbits.export import constants
from larq_equalbits.export.flatbuffer import Model, Operator
from larq_equalbits.export.lce import BINARY_OPERATOR

_WEIGHTED = {
    BINARY_OPERATOR,
    "CONV_2D",
    "CONV_3D",
    "DEPTHWISE_CONV_2D",
    "FULLY_CONNECTED",
    "TRANSPOSE_CONV",
    "CONV_3D_TRANSPOSE",
    "BATCH_MATMUL",
}
_TABLES = {"GATHER", "EMBEDDING_LOOKUP"}


def has_weights(model: Model, operator: Operator) -> bool:
    """Whether `operator` multiplies by weights, or looks them up in a table."""
    if operator.name not in _TABLES:
        return operator.name in _WEIGHTED
    # The other operands of both are whole numbers that say where.
    return any(stored.form not in ("int32", "int64") for stored in constants.of(model, operator).values())


def weighted(model: Model) -> list[int]:
    """The positions of the operators that get a row: those with weights, or else the first with a constant."""
    found = [i for i, operator in enumerate(model.operators) if has_weights(model, operator)]
    if found:
        return found
    return [i for i, operator in enumerate(model.operators) if constants.of(model, operator)][:1]


def shares(model: Model) -> dict[int, int]:
    """The bytes that belong to each operator of `weighted`, by its position in the whole file `model`.

    Those are its own constants, and of the operators after it up to the next one with weights: normalizations,
    activations, shapes. What stands before the first belongs to the first, and what several operators share to the
    first of them.
    """
    rows = weighted(model)
    counted: set[int] = set()
    found = dict.fromkeys(rows, 0)

    def count(owner: int, tensors: tuple[int, ...]) -> None:
        for tensor in (model.tensors[index] for index in tensors):
            if tensor.buffer not in counted:
                counted.add(tensor.buffer)
                found[owner] += tensor.bytes

    for position in rows:
        for stored in constants.of(model, model.operators[position]).values():
            count(position, stored.tensors)
    owner = rows[0] if rows else None
    for position, operator in enumerate(model.operators):
        owner = position if position in found else owner
        if owner is not None:
            count(owner, tuple(i for i in operator.inputs if i >= 0 and model.tensors[i].bytes))
    return found


def structure(model: Model, size: int) -> int:
    """What is no constant of an operator, in a file of `size` bytes: its tables, names and metadata."""
    read = {index for operator in model.operators for index in operator.inputs if index >= 0}
    sizes = {model.tensors[index].buffer: model.tensors[index].bytes for index in read}
    return size - sum(sizes.values())
