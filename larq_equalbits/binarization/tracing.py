"""What a model does with its layers, read from one trace: whose input is never negative, and what keeps it so.

The trace holds the operations that every layer made, so functional, nested and subclassed models, fused
activations and plain TensorFlow functions are all seen alike.
"""

import dataclasses
from collections.abc import Iterable

import tensorflow as tf

from larq_equalbits._keras import building, signs
from larq_equalbits._keras.calls import Call, recording

# Operations whose outputs are nowhere negative where their first input is not.
_KEEP = (signs.OF_FIRST - {"Neg"}) | {
    "AvgPool",
    "AvgPool3D",
    "Cast",
    "MaxPoolV2",
    "Mean",
    "Pack",
    "Pad",
    "ResizeBilinear",
    "SpaceToBatchND",
    "Sum",
}
_RECTIFIERS = frozenset({"Relu", "Relu6"})
_POSITIVE = _RECTIFIERS | {"Abs", "Exp", "Sigmoid", "Softmax", "Softplus", "Sqrt", "Square"}


@dataclasses.dataclass(frozen=True)
class Root:
    """An operation whose output is never negative, and the layer that made it (None: a model's own code)."""

    layer: tf.keras.layers.Layer | None
    rectifier: bool


class Trace:
    """The calls of the layers of a model, in the order in which they ran, and the graph that they made."""

    def __init__(self, calls: list[Call], graph: tf.Graph) -> None:
        self.calls = [call for call in calls if call.graph is graph]
        self.graph = graph
        self._owners = {op.name: call.layer for call in self.calls for op in call.operations}

    def never_negative(self, layer: tf.keras.layers.Layer) -> set[Root]:
        """What keeps the input of `layer`, or some channels of it, from ever being negative; empty where it may be."""
        found: set[Root] = set()
        known: dict[str, set[Root]] = {}
        for call in self.calls:
            if call.layer is layer:
                found.update(*(self._roots(tensor, known) for tensor in call.inputs))
        return found

    def _roots(self, tensor: tf.Tensor, known: dict[str, set[Root]]) -> set[Root]:
        operation = tensor.op
        if operation.name not in known:
            known[operation.name] = self._of(operation, known)
        return known[operation.name]

    def _of(self, operation: tf.Operation, known: dict[str, set[Root]]) -> set[Root]:
        owner = self._owners.get(operation.name)
        inputs = list(operation.inputs)
        if isinstance(owner, tf.keras.layers.ReLU) and not owner.negative_slope and owner.threshold >= 0:
            return {Root(owner, True)}
        if operation.type in _POSITIVE:
            return {Root(owner, operation.type in _RECTIFIERS)}
        if operation.type in ("ConcatV2", "IdentityN"):
            parts = inputs[:-1] if operation.type == "ConcatV2" else inputs[:1]
            return set().union(*(self._roots(part, known) for part in parts))
        if operation.type in ("Add", "AddV2", "AddN", "Maximum", "Minimum"):
            roots = [self._roots(part, known) for part in inputs]
            return set().union(*roots) if all(roots) else set()
        if operation.type == "Mul":
            # Of a feature map and the gate that scales it, the map is what a sign is meant to see.
            roots = [self._roots(part, known) for part in inputs]
            largest = max(range(len(inputs)), key=lambda index: (_size(inputs[index]), -index))
            return roots[largest] if all(roots) else set()
        if operation.type == "Split":
            # Its first input is the axis.
            return self._roots(inputs[1], known)
        return self._roots(inputs[0], known) if operation.type in _KEEP and inputs else set()


def _size(tensor: tf.Tensor) -> int:
    size = 1
    for length in tensor.shape or ():
        # An unknown length is more than the 1 of an axis that is broadcast.
        size *= 2 if length is None else length
    return size


def trace(model: tf.keras.Model, layers: Iterable[tf.keras.layers.Layer]) -> Trace:
    """Runs `model` once symbolically, without training, and records the calls of `layers`; the model stays as it was.

    Raises:
        InputError: a model that was never built or called.
    """
    calls: list[Call] = []
    with recording(layers, calls):
        graph = building.run(model, building.specification(model))
    return Trace(calls, graph)
