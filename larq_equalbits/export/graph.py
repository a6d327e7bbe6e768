"""Who feeds whom: the layers of a model, and the only consumer of each, where a graph of layers is known."""

import dataclasses

import tensorflow as tf

from larq_equalbits.pruning import PrunedBinary


def leaves(model: tf.keras.layers.Layer, path: tuple[str, ...] = ()) -> dict[str, tf.keras.layers.Layer]:
    """The layers of `model` that hold no other layer but quantizers, by their names joined by "/", each once."""
    found: dict[str, tf.keras.layers.Layer] = {}
    seen: set[int] = set()

    def walk(layer: tf.keras.layers.Layer, names: tuple[str, ...]) -> None:
        for child in layer._flatten_layers(recursive=False, include_self=False):
            if id(child) in seen:
                continue
            seen.add(id(child))
            if isinstance(child, tf.keras.Model | tf.keras.layers.Wrapper) or _contains_layers(child):
                walk(child, (*names, child.name))
            else:
                found["/".join((*names, child.name))] = child

    walk(model, path)
    return found


def _contains_layers(layer: tf.keras.layers.Layer) -> bool:
    # A Larq layer tracks its quantizers as sublayers; they are part of it.
    quantizers = [
        getattr(layer, name, None)
        for name in (
            "input_quantizer",
            "kernel_quantizer",
            "depthwise_quantizer",
            "pointwise_quantizer",
            "activation",
        )
    ]
    return any(
        not any(child is quantizer for quantizer in quantizers)
        for child in layer._flatten_layers(recursive=False, include_self=False)
    )


@dataclasses.dataclass(frozen=True)
class Graph:
    """The edges between the layers of all functional models inside a model.

    A layer that is called more than once, whose output leaves its model, or that a subclassed model calls, has
    no known consumer: nothing is moved across its edges.
    """

    consumers: dict[int, list[tf.keras.layers.Layer]]
    producers: dict[int, tf.keras.layers.Layer]
    shapes: dict[int, tuple[int | None, ...]]

    def output_shape(self, layer: tf.keras.layers.Layer) -> tuple[int | None, ...]:
        """The shape of what `layer` yields, the batch first; known wherever its consumer is."""
        return self.shapes[id(layer)]

    def consumer(self, layer: tf.keras.layers.Layer) -> tf.keras.layers.Layer | None:
        """The one layer that takes the output of `layer`, or None."""
        found = self.consumers.get(id(layer), [])
        return found[0] if len(found) == 1 else None

    def producer(self, layer: tf.keras.layers.Layer) -> tf.keras.layers.Layer | None:
        """The one layer whose output `layer` takes, or None."""
        return self.producers.get(id(layer))


def read(model: tf.keras.layers.Layer) -> Graph:
    """The graph of `model` and of every functional or Sequential model inside it."""
    networks = [layer for layer in model._flatten_layers() if isinstance(layer, tf.keras.Model)]
    consumers: dict[int, list[tf.keras.layers.Layer]] = {}
    producers: dict[int, tf.keras.layers.Layer] = {}
    shapes: dict[int, tuple[int | None, ...]] = {}
    shared: set[int] = set()
    for network in networks:
        if not getattr(network, "_is_graph_network", False):
            continue
        outputs = {id(tensor) for tensor in tf.nest.flatten(network.outputs)}
        for nodes in network._nodes_by_depth.values():
            for node in nodes:
                layer = _computing(node.layer)
                calls = [one for one in node.layer._inbound_nodes if _belongs(one, network)]
                if len(calls) > 1:
                    shared.add(id(layer))
                shapes[id(layer)] = tuple(tf.nest.flatten(node.outputs)[0].shape)
                parents = list(tf.nest.flatten(node.parent_nodes))
                for parent in parents:
                    consumers.setdefault(id(_computing(parent.layer)), []).append(layer)
                if len(parents) == 1:
                    producers[id(layer)] = _computing(parents[0].layer)
                if any(id(tensor) in outputs for tensor in tf.nest.flatten(node.outputs)):
                    # Leaving the model counts as a consumer that is not a layer.
                    consumers.setdefault(id(layer), []).extend([layer, layer])
    for identity in shared:
        consumers.pop(identity, None)
        producers.pop(identity, None)
    return Graph(consumers, producers, shapes)


def _computing(layer: tf.keras.layers.Layer) -> tf.keras.layers.Layer:
    """The layer inside a pruning wrapper, which computes what the wrapper does."""
    return layer.layer if isinstance(layer, PrunedBinary) else layer


def _belongs(node: object, network: tf.keras.Model) -> bool:
    return any(node in nodes for nodes in network._nodes_by_depth.values())
