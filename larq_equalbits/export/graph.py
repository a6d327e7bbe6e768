"""Who feeds whom: the layers of a model, and the only consumer of each, where a graph of layers is known."""

import dataclasses
from collections.abc import Iterable
from typing import Any

import tensorflow as tf
from larq.quantized_variable import QuantizedVariable

from larq_equalbits._bits.kernels import told_apart
from larq_equalbits._keras.calls import Call
from larq_equalbits._keras.layers import KERNELS
from larq_equalbits.pruning import PrunedBinary
from larq_equalbits.quantizers import activations


def leaves(model: tf.keras.layers.Layer) -> dict[str, tf.keras.layers.Layer]:
    """The layers of `model` that hold no other layer but quantizers, and those that own a quantized kernel, each once.

    Their names are joined by "/"; equal ones are numbered.
    """
    found: list[tuple[str, tf.keras.layers.Layer]] = []
    seen: set[int] = set()

    def walk(layers: list[tf.keras.layers.Layer], names: tuple[str, ...]) -> None:
        for layer in layers:
            if id(layer) in seen:
                continue
            seen.add(id(layer))
            path = (*names, layer.name)
            held = _held(layer)
            holds = isinstance(layer, tf.keras.Model | tf.keras.layers.Wrapper) or held
            quantized = any(isinstance(each, QuantizedVariable) for each in vars(layer).values())
            if quantized or not holds:
                found.append(("/".join(path), layer))
            if holds:
                walk(held if quantized else _inner(layer), path)

    walk(_inner(model), ())
    names = told_apart([name for name, _ in found])
    return dict(zip(names, (layer for _, layer in found), strict=True))


def _inner(layer: tf.keras.layers.Layer) -> list[tf.keras.layers.Layer]:
    return list(layer._flatten_layers(recursive=False, include_self=False))


def _held(layer: tf.keras.layers.Layer) -> list[tf.keras.layers.Layer]:
    # A Larq layer tracks its quantizers as sublayers; they are part of it.
    quantizers = [getattr(layer, name, None) for name in ("input_quantizer", *KERNELS, "activation")]
    return [child for child in _inner(layer) if not any(child is each for each in quantizers)]


def as_written(layer: tf.keras.layers.Layer) -> bool:
    """Whether `layer` computes what Keras or Larq wrote: a subclass that overrides that may do anything.

    The fast signs of activations compute what Larq's do.
    """
    methods = (getattr(type(layer), name, None) for name in ("call", "convolution_op"))
    return all(
        method is None
        or method.__module__.partition(".")[0] in ("keras", "tf_keras", "larq")
        or method.__module__ == activations.__name__
        for method in methods
    )


def has_binary_input(layer: tf.keras.layers.Layer) -> bool:
    """Whether `layer` quantizes its input to one bit, as far as the quantizer tells."""
    quantizer = getattr(layer, "input_quantizer", None)
    return quantizer is not None and getattr(quantizer, "precision", 1) == 1


Shape = tuple[int | None, ...]


@dataclasses.dataclass(frozen=True)
class Graph:
    """The edges between the layers of all functional models inside a model.

    An edge is known where nothing else passes over either of its ends: a layer that is called more than once, or by
    another than its functional model, has no known consumer and no known producer, and is none of another layer's.
    Neither has a layer whose output leaves its model a known consumer. So nothing is moved across such an edge.

    Attributes:
        takers: the layers that take the output of a layer, by its identity; none where it is called more than once or
            its output leaves its model.
        producers: the layer whose output a layer with one input takes, by its identity.
        calls: Keras' record of how a layer is called, by its identity; of a shared one, of one of its calls.
        shared: the identities of the layers that are called more than once, or by another than their model.
        shapes: the shapes of what a layer takes first in all of its calls, by its identity; () where one is unknown.
    """

    takers: dict[int, list[tf.keras.layers.Layer]]
    producers: dict[int, tf.keras.layers.Layer]
    calls: dict[int, Any]
    shared: set[int]
    shapes: dict[int, set[Shape]]

    def input_shape(self, layer: tf.keras.layers.Layer) -> Shape:
        """The shape of what `layer` takes first, the batch first; known wherever its consumer or producer is."""
        call = self.calls[id(layer)]
        return _first_shape(call.keras_inputs or call.outputs)

    def output_shape(self, layer: tf.keras.layers.Layer) -> Shape:
        """The shape of what `layer` yields, the batch first; known wherever its consumer or producer is."""
        return _first_shape(self.calls[id(layer)].outputs)

    def consumers(self, layer: tf.keras.layers.Layer) -> list[tf.keras.layers.Layer]:
        """All layers that take the output of `layer`; none where not all are known."""
        return self.takers.get(id(layer), [])

    def consumer(self, layer: tf.keras.layers.Layer) -> tf.keras.layers.Layer | None:
        """The one layer that takes the output of `layer` and of no other, or None."""
        found = self.consumers(layer)
        return found[0] if len(found) == 1 and id(found[0]) not in self.shared else None

    def producer(self, layer: tf.keras.layers.Layer) -> tf.keras.layers.Layer | None:
        """The one layer whose output `layer` takes, or None."""
        found = self.producers.get(id(layer))
        return None if found is None or id(found) in self.shared else found

    def sources(self, layer: tf.keras.layers.Layer) -> list[tf.keras.layers.Layer]:
        """The layers whose outputs `layer` takes, in its order; known wherever its consumer or producer is."""
        return [_computing(node.layer) for node in tf.nest.flatten(self.calls[id(layer)].parent_nodes)]


def read(model: tf.keras.layers.Layer, made: Iterable[Call]) -> Graph:
    """The graph of `model` and of every functional or Sequential model inside it, each of which calls its layers.

    Args:
        model: the model.
        made: the calls of all layers in a trace of `model`, but those of pruning wrappers.
    """
    holders = {id(layer): layer for layer in model._flatten_layers()}.values()
    takers: dict[int, list[tf.keras.layers.Layer]] = {}
    producers: dict[int, tf.keras.layers.Layer] = {}
    calls: dict[int, Any] = {}
    called: set[int] = set()
    shared: set[int] = set()
    leaving: set[int] = set()
    callers: dict[int, tf.keras.layers.Layer] = {}
    unknown: set[int] = set()
    for holder in holders:
        if not (getattr(holder, "_is_graph_network", False) and as_written(holder)):
            if not isinstance(holder, PrunedBinary):
                # What holds layers outside a graph may call them as it likes.
                unknown |= {
                    id(child) for child in holder._flatten_layers(recursive=False, include_self=False)
                }
            continue
        outputs = {id(tensor) for tensor in tf.nest.flatten(holder.outputs)}
        for node in (node for nodes in holder._nodes_by_depth.values() for node in nodes):
            layer = _computing(node.layer)
            (shared if id(layer) in called else called).add(id(layer))
            calls[id(layer)], callers[id(layer)] = node, holder
            parents = list(tf.nest.flatten(node.parent_nodes))
            for parent in parents:
                takers.setdefault(id(_computing(parent.layer)), []).append(layer)
            if len(parents) == 1:
                producers[id(layer)] = _computing(parents[0].layer)
            if any(id(tensor) in outputs for tensor in tf.nest.flatten(node.outputs)):
                leaving.add(id(layer))
    shapes: dict[int, set[Shape]] = {}
    for call in made:
        shape = call.inputs[0].shape if call.inputs else tf.TensorShape(None)
        shapes.setdefault(id(call.layer), set()).add(tuple(shape) if shape.rank else ())
        # A class may take the layers of a model one by one, and hidden ones.
        if call.caller is not callers.get(id(call.layer)):
            unknown.add(id(call.layer))
    shared |= unknown
    for identity in shared | leaving:
        takers.pop(identity, None)
    for identity in shared:
        producers.pop(identity, None)
    return Graph(takers, producers, calls, shared, shapes)


def _first_shape(tensors: Any) -> Shape:
    return tuple(tf.nest.flatten(tensors)[0].shape)


def _computing(layer: tf.keras.layers.Layer) -> tf.keras.layers.Layer:
    """The layer inside a pruning wrapper, which computes what the wrapper does."""
    return layer.layer if isinstance(layer, PrunedBinary) else layer
