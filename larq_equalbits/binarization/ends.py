"""The first and the last layers of a model: those of each of its inputs and each of its outputs.

They are read from the graph of the model's operations, by where the kernels are used, so it does not matter who
calls a layer: a functional model, the code of a subclassed one, or the loop of a recurrent layer.
"""

import dataclasses
from collections.abc import Iterable

import tensorflow as tf
from larq.quantized_variable import QuantizedVariable

from larq_equalbits._keras import building

# They tell a shape, and nothing of what a tensor holds.
_OF_SHAPES = frozenset({"Rank", "Shape", "ShapeN", "Size", "ZerosLike", "OnesLike"})
_NONE: frozenset[int] = frozenset()


@dataclasses.dataclass
class Ends:
    """Layers by their identities.

    Attributes:
        first: those that no other layer precedes on the way from one of the inputs.
        last: those that no other layer follows on the way to one of the outputs.
        called: those whose kernels the model uses.
    """

    first: set[int] = dataclasses.field(default_factory=set)
    last: set[int] = dataclasses.field(default_factory=set)
    called: set[int] = dataclasses.field(default_factory=set)


@dataclasses.dataclass(frozen=True)
class _Seen:
    """What is known of a tensor.

    Attributes:
        given: whether it depends on what the model is given.
        raw: the inputs that reach it past no layer.
        layers: the layers that it went through; where it is not `given`, those whose kernels it is made of.
        nearest: those of them after which it went through no other.
    """

    given: bool = False
    raw: frozenset[int] = _NONE
    layers: frozenset[int] = _NONE
    nearest: frozenset[int] = _NONE


def find(model: tf.keras.Model, layers: Iterable[tf.keras.layers.Layer], inference: tf.Graph) -> Ends:
    """The ends of the built `model` among `layers`, in the graph of its `inference` and in training.

    A branch may be there for training alone.
    """
    chosen = list(layers)
    ends = _of_graph(inference, chosen)
    try:
        training = building.run(model, building.specification(model), training=True)
    except Exception:  # A model may need more than its inputs to be trained, labels for instance.
        return ends
    more = _of_graph(training, chosen)
    return Ends(ends.first | more.first, ends.last | more.last, ends.called | more.called)


def _of_graph(graph: tf.Graph, layers: list[tf.keras.layers.Layer]) -> Ends:
    # Layers may share a variable.
    owners: dict[int, frozenset[int]] = {}
    for layer in layers:
        for variable in map(_plain, layer.weights):
            owners[id(variable.handle)] = owners.get(id(variable.handle), _NONE) | {id(layer)}
    kernels = {
        internal.op.name: owners[id(external)]
        for external, internal in graph.captures
        if id(external) in owners
    }
    captured = {internal.op.name for _, internal in graph.captures}
    inputs = {tensor.op.name: number for number, tensor in enumerate(graph.inputs)}
    seen: dict[str, _Seen] = {}
    before: dict[int, frozenset[int]] = {}
    takers: dict[int, set[int]] = {}
    for operation in graph.get_operations():
        name = operation.name
        if name in kernels:
            seen[name] = _Seen(layers=kernels[name])
        elif name in inputs and name not in captured:
            seen[name] = _Seen(True, frozenset({inputs[name]}))
        elif operation.type in _OF_SHAPES:
            seen[name] = _Seen()
        else:
            sources = [seen.get(tensor.op.name, _Seen()) for tensor in operation.inputs]
            seen[name] = _joined(sources, before, takers)
    ends = Ends(called=set(before))
    for candidates in takers.values():
        ends.first |= _outermost(candidates, before)
    followers = {
        layer: frozenset(other for other, earlier in before.items() if layer in earlier) for layer in before
    }
    for tensor in graph.outputs:
        ends.last |= _outermost(set(seen[tensor.op.name].nearest), followers)
    return ends


def _joined(sources: list[_Seen], before: dict[int, frozenset[int]], takers: dict[int, set[int]]) -> _Seen:
    """What is known of the outputs of an operation; a layer whose kernel meets what is given is noted."""
    given = [source for source in sources if source.given]
    used = _union(source.layers for source in sources if not source.given)
    if not given:
        return _Seen(layers=used)
    raw, earlier = (_union(getattr(source, name) for source in given) for name in ("raw", "layers"))
    for layer in used:
        before[layer] = before.get(layer, _NONE) | earlier - {layer}
        for number in raw:
            takers.setdefault(number, set()).add(layer)
    if used:
        # A bias comes after the kernel of its own layer.
        return _Seen(True, _NONE, earlier | used, used)
    return _Seen(True, raw, earlier, _union(source.nearest for source in given))


def _union(sets: Iterable[frozenset[int]]) -> frozenset[int]:
    return _NONE.union(*sets)


def _outermost(candidates: set[int], beyond: dict[int, frozenset[int]]) -> set[int]:
    """Those of `candidates` that no other of them is beyond; two that are beyond each other do not count."""
    found = {
        one
        for one in candidates
        if not any(other in beyond[one] and one not in beyond[other] for other in candidates - {one})
    }
    return found or candidates


def _plain(variable: tf.Variable) -> tf.Variable:
    return variable.latent_variable if isinstance(variable, QuantizedVariable) else variable
