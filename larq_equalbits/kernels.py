"""The quantized kernels of a model: the one way in which everything else finds them."""

import contextlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import tensorflow as tf
from larq import context
from larq.quantized_variable import QuantizedVariable


@contextlib.contextmanager
def unmetered(quantizer: Any) -> Iterator[None]:
    """Keeps Larq's ``flip_ratio`` metric from counting a call that only looks at the weights."""
    parts = quantizer._flatten_layers() if isinstance(quantizer, tf.keras.layers.Layer) else ()
    removed = [(vars(part), vars(part).pop("flip_ratio")) for part in parts if "flip_ratio" in vars(part)]
    try:
        yield
    finally:
        for attributes, metric in removed:
            attributes["flip_ratio"] = metric


@dataclass(frozen=True)
class QuantizedKernel:
    """A kernel whose layer computes with ``quantizer(latent weights)``.

    Attributes:
        name: the name under which it is logged: the names of the nested models and of the layer, joined
            by "/", and the kernel's own name behind them where a layer has more than one. Of several with
            one name, which a subclassed model may have, all but the first get "_1", "_2" and so on.
        layer: the layer that owns it.
        variable: Larq's variable; `latent_variable` inside holds the latent weights.
    """

    name: str
    layer: tf.keras.layers.Layer
    variable: QuantizedVariable

    @property
    def quantizer(self) -> Any:
        """The callable that turns latent weights into the kernel, or None once it is frozen."""
        return self.variable.quantizer

    def latent(self) -> np.ndarray:
        """The latent weights, in the kernel's shape and type."""
        return self.variable.latent_variable.numpy()

    def values(self) -> np.ndarray:
        """What the layer computes with: codes times scale. Larq's metrics do not count the look."""
        with unmetered(self.quantizer), context.quantized_scope(True):
            return tf.convert_to_tensor(self.variable).numpy()

    def codes(self) -> np.ndarray:
        """The sign of every value as int8: -1, +1, or 0 where a weight is pruned."""
        return np.sign(self.values()).astype(np.int8)


def _walk(layer: tf.keras.layers.Layer, path: tuple[str, ...], found: dict[int, QuantizedKernel]) -> None:
    own = {name: value for name, value in vars(layer).items() if isinstance(value, QuantizedVariable)}
    for name, variable in own.items():
        label = path if len(own) == 1 else (*path, name)
        if variable.quantizer is not None:
            found.setdefault(id(variable.latent_variable), QuantizedKernel("/".join(label), layer, variable))
    for child in layer._flatten_layers(recursive=False, include_self=False):
        # A wrapper that took the name of what it wraps is one layer to whoever reads a log.
        same = child.name == layer.name and child is getattr(layer, "layer", None)
        _walk(child, path if same else (*path, child.name), found)


def _told_apart(kernels: list[QuantizedKernel]) -> list[QuantizedKernel]:
    taken = {kernel.name for kernel in kernels}
    seen: Counter[str] = Counter()
    apart = []
    for kernel in kernels:
        name = kernel.name
        while seen[kernel.name] and name in taken:
            name = f"{kernel.name}_{seen[kernel.name]}"
            seen[kernel.name] += name in taken
        seen[kernel.name] += 1
        taken.add(name)
        apart.append(replace(kernel, name=name))
    return apart


def quantized_kernels(model: tf.keras.layers.Layer) -> list[QuantizedKernel]:
    """All quantized kernels of a built `model` in the order of its layers, each shared kernel once.

    Nested and subclassed models are searched too. An unbuilt model has none.
    """
    found: dict[int, QuantizedKernel] = {}
    _walk(model, () if isinstance(model, tf.keras.Model) else (model.name,), found)
    return _told_apart(list(found.values()))
