"""The calls of the layers of a model while it is traced: what each took, and the operations that it made."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import tensorflow as tf


@dataclasses.dataclass
class Call:
    """One call of a layer.

    Attributes:
        layer: the layer.
        graph: where its operations are.
        caller: the recorded layer within whose call it is, or None.
        inputs: the tensors that it took, without those of other graphs.
        operations: those that it made.
    """

    layer: tf.keras.layers.Layer
    graph: tf.Graph
    caller: tf.keras.layers.Layer | None
    inputs: list[tf.Tensor]
    operations: list[tf.Operation] = dataclasses.field(default_factory=list)


@contextlib.contextmanager
def recording(layers: Iterable[tf.keras.layers.Layer], calls: list[Call]) -> Iterator[None]:
    """Within the block, every call of one of `layers` is added to `calls`."""
    active: list[tf.keras.layers.Layer] = []
    with contextlib.ExitStack() as restore:
        for layer in layers:
            replace(layer, _recorded(layer, layer.call, calls, active), restore)
        yield


def replace(layer: tf.keras.layers.Layer, call: Callable[..., Any], restore: contextlib.ExitStack) -> None:
    """Makes `call` the layer's, until `restore` closes."""
    # Straight into the instance: Keras tracks what is set the ordinary way. The layers that Keras makes of TensorFlow's
    # functions hold their call themselves.
    own = vars(layer)
    if "call" in own:
        restore.callback(own.__setitem__, "call", own["call"])
    else:
        restore.callback(own.pop, "call", None)
    own["call"] = call


def _recorded(
    layer: tf.keras.layers.Layer,
    call: Callable[..., Any],
    calls: list[Call],
    active: list[tf.keras.layers.Layer],
) -> Callable[..., Any]:
    def recorded(*args: Any, **kwargs: Any) -> Any:
        graph = tf.compat.v1.get_default_graph()
        tensors = [value for value in tf.nest.flatten((args, kwargs)) if tf.is_tensor(value)]
        caller = active[-1] if active else None
        made = Call(
            layer, graph, caller, [value for value in tensors if getattr(value, "graph", None) is graph]
        )
        calls.append(made)
        before = len(graph.get_operations())
        active.append(layer)
        result = call(*args, **kwargs)
        active.pop()
        made.operations = graph.get_operations()[before:]
        return result

    return recorded
