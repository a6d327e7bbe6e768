"""Lowering: for a while, the layers of a model compute in the form that LCE turns into binary operators.

Every leaf layer gets a call of its own: the original one, or what a rewrite puts in its place. Nothing is cloned and
no weight is touched, so functional, Sequential, nested, subclassed and shared layers are all treated alike,
and the model is as it was when the block ends. Each call runs in a name scope of its own, short enough to survive
the converter, by which the operators of the file find their layers.
"""

import contextlib
import dataclasses
import functools
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import larq
import numpy as np
import tensorflow as tf

from larq_equalbits._bits.kernels import quantized_kernels
from larq_equalbits._keras import calls, signs
from larq_equalbits._keras.layers import kernel_arguments
from larq_equalbits.export import freezing, graph
from larq_equalbits.export.functions import Served
from larq_equalbits.export.kernels import Parts
from larq_equalbits.pruning import PrunedBinary

Call = Callable[..., tf.Tensor]

BINARY_KINDS = (
    larq.layers.QuantConv2D,
    larq.layers.QuantDense,
    larq.layers.QuantConv1D,
    larq.layers.QuantSeparableConv2D,
)


@dataclasses.dataclass
class Leaf:
    """A layer that is about to be converted.

    Attributes:
        name: the layer's name with those of the models around it.
        layer: the Keras layer.
        scope: the name scope of its operators in the file, which begins with q and its place among the leaves.
        kernels: its quantized kernels as constants, by the name of the layer's attribute.
        call: what it computes; a rewrite replaces it.
        rewrite: the names of the rewrites that were applied.
        remake: makes the call again from other kernels, where a rewrite knows how; None elsewhere.
        parts: the kernels that `call` uses where `remake` is known.
        replaced: the attributes of the layer that rewrites gave another value.
        moved: whether a rewrite moved work across its output, which is then not what the layer yields.
        takes_signs: whether nothing but -1 and +1 arrives, which another layer made.
    """

    name: str
    layer: tf.keras.layers.Layer
    scope: str
    kernels: dict[str, np.ndarray]
    call: Call
    rewrite: list[str] = dataclasses.field(default_factory=list)
    remake: Callable[[Parts], Call] | None = None
    parts: Parts | None = None
    replaced: dict[str, Any] = dataclasses.field(default_factory=dict)
    moved: bool = False
    takes_signs: bool = False

    @property
    def has_binary_input(self) -> bool:
        """Whether the kernels meet nothing but -1 and +1, wherever the sign is taken."""
        return self.takes_signs or graph.has_binary_input(self.layer)

    @property
    def expected(self) -> bool:
        """Whether LCE has a binary kernel for the layer: all its kernels constants in -1 and +1, and binary input."""
        every = len(self.kernels) >= len(kernel_arguments(type(self.layer)))
        return every and isinstance(self.layer, BINARY_KINDS) and self.has_binary_input


@dataclasses.dataclass(frozen=True)
class Lowering:
    """All leaves of a model, and the graph between them.

    Attributes:
        leaves: in the order of the model, by the identity of their layers.
        graph: who feeds whom.
        restore: puts back, at the end of the block, what `replace` and `replace_kernel` replaced.
    """

    leaves: dict[int, Leaf]
    graph: graph.Graph
    restore: contextlib.ExitStack

    def replace(self, leaf: Leaf, name: str, value: Any) -> None:
        """Gives the attribute `name` of the layer of `leaf` another value within the block."""
        # Straight into the instance: Keras tracks what is set the ordinary way.
        attributes = vars(leaf.layer)
        self.restore.callback(attributes.__setitem__, name, attributes[name])
        attributes[name] = leaf.replaced[name] = value

    def replace_kernel(self, leaf: Leaf, value: np.ndarray, name: str = "kernel") -> None:
        """Gives the layer of `leaf` another constant kernel within the block."""
        if name in leaf.kernels:
            # The quantizer that stands aside for the constant comes back with those of all kernels.
            freezing.set_constant(getattr(leaf.layer, name), value)
            leaf.kernels[name] = value
        else:
            self.replace(leaf, name, tf.constant(value))

    def consumer(self, leaf: Leaf) -> Leaf | None:
        """The leaf that alone takes the output of `leaf`, or None."""
        layer = self.graph.consumer(leaf.layer)
        return None if layer is None else self.leaves.get(id(layer))

    def producer(self, leaf: Leaf) -> Leaf | None:
        """The leaf whose output `leaf` takes, or None."""
        layer = self.graph.producer(leaf.layer)
        return None if layer is None else self.leaves.get(id(layer))


Rewrite = Callable[[Lowering], None]


def identity(inputs: tf.Tensor, *args: Any, **kwargs: Any) -> tf.Tensor:
    """The call of a layer whose work another one does, or that changes nothing."""
    return tf.identity(inputs)


def _scope(index: int, layer: tf.keras.layers.Layer) -> str:
    # The converter cuts names, so the number comes first and the layer's own name only helps a reader.
    return f"q{index}_" + re.sub(r"[^A-Za-z0-9_]", "_", layer.name)[:16]


def _scoped(leaf: Leaf) -> Call:
    @functools.wraps(leaf.call)
    def scoped(*args: Any, **kwargs: Any) -> Any:
        with tf.name_scope(f"{leaf.scope}/"):
            return leaf.call(*args, **kwargs)

    return scoped


def _graph(model: tf.keras.Model, leaves: dict[int, Leaf]) -> graph.Graph:
    """The graph of `model`; of the leaves without a quantizer of their input it notes which take signs all the same."""
    layers = {id(layer): layer for layer in model._flatten_layers() if not isinstance(layer, PrunedBinary)}
    made: list[calls.Call] = []
    with calls.recording(layers.values(), made):
        Served(model)
    without = {
        identity
        for identity, leaf in leaves.items()
        if leaf.kernels and getattr(leaf.layer, "input_quantizer", None) is None
    }
    for identity in signs.takers(call for call in made if id(call.layer) in without):
        leaves[identity].takes_signs = True
    return graph.read(model, made)


@contextlib.contextmanager
def lower(model: tf.keras.Model, rewrites: Sequence[Rewrite]) -> Iterator[Lowering]:
    """Within the block, `model` computes with constant kernels, in the form that `rewrites` give it.

    Yields:
        the leaves, each with the rewrites that were applied to it; their calls can still be replaced.
    """
    layers = graph.leaves(model)
    attributes = {
        id(kernel.variable): name
        for layer in layers.values()
        for name, value in vars(layer).items()
        for kernel in quantized_kernels(layer)
        if value is kernel.variable
    }
    with freezing.freeze(model) as constants, contextlib.ExitStack() as restore:
        owned: dict[int, dict[str, np.ndarray]] = {}
        for kernel in quantized_kernels(model):
            name = attributes.get(id(kernel.variable), "kernel")
            owned.setdefault(id(kernel.layer), {})[name] = constants[kernel.name]
        leaves = {
            id(layer): Leaf(name, layer, _scope(index, layer), owned.get(id(layer), {}), layer.call)
            for index, (name, layer) in enumerate(layers.items())
        }
        lowering = Lowering(leaves, _graph(model, leaves), restore)
        for rewrite in rewrites:
            rewrite(lowering)
        for leaf in leaves.values():
            calls.replace(leaf.layer, _scoped(leaf), restore)
        for layer in model._flatten_layers():
            if isinstance(layer, tf.keras.layers.RNN) and layer.return_sequences:
                calls.replace(layer, _of_known_shape(layer.call), restore)
        yield lowering


def _of_known_shape(call: Call) -> Call:
    """A sequence leaves the loop of its layer without a number of images, and the next loop does not convert."""

    @functools.wraps(call)
    def reshaped(*args: Any, **kwargs: Any) -> Any:
        outputs = call(*args, **kwargs)
        sequence, *states = tf.nest.flatten(outputs)
        if sequence.shape.is_fully_defined():
            sequence = tf.reshape(sequence, sequence.shape)
        return tf.nest.pack_sequence_as(outputs, [sequence, *states])

    return reshaped
