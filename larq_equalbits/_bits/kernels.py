"""The quantized kernels of a model: the one way in which everything else finds them."""

import contextlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import tensorflow as tf
from larq.quantized_variable import QuantizedVariable

from larq_equalbits._keras.layers import quantizer_arguments


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
            by "/", and the kernel's own name after them where a layer has more than one. Of several with
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

    def quantized(self) -> tf.Tensor:
        """What the layer computes with, in the type in which it does: codes times scale.

        In mixed precision the quantizer sees rounded weights. Larq's metrics do not count the look.
        """
        latent = tf.cast(self.variable.latent_variable, self.layer.compute_dtype)
        with unmetered(self.quantizer):
            return latent if self.quantizer is None else self.quantizer(latent)

    def values(self) -> np.ndarray:
        """The values as an array."""
        return self.quantized().numpy()

    def codes(self) -> np.ndarray:
        """The sign of every value as int8: -1, +1, or 0 where a weight is pruned."""
        return np.sign(self.values()).astype(np.int8)


def named_layers(
    layer: tf.keras.layers.Layer, path: tuple[str, ...] = ()
) -> Iterator[tuple[tf.keras.layers.Layer, tuple[str, ...]]]:
    """`layer` and all layers inside, each with the names under which it is logged; a shared layer several times."""
    yield layer, path
    for child in layer._flatten_layers(recursive=False, include_self=False):
        # A wrapper that took the name of what it wraps is one layer to whoever reads a log.
        same = child.name == layer.name and child is getattr(layer, "layer", None)
        yield from named_layers(child, path if same else (*path, child.name))


def told_apart(names: list[str]) -> list[str]:
    """`names`, with "_1", "_2" and so on after all but the first of several that are equal."""
    taken = set(names)
    seen: Counter[str] = Counter()
    apart = []
    for given in names:
        name = given
        while seen[given] and name in taken:
            name = f"{given}_{seen[given]}"
            seen[given] += name in taken
        seen[given] += 1
        taken.add(name)
        apart.append(name)
    return apart


def are_built(model: tf.keras.Model) -> bool:
    """Whether all kernels of `model` are there. A model without a `call` is never built; its parts may be.

    One that says it is built may have parts that it never calls, or, without a `call`, that no step built yet.
    """
    parts = [part for part in model._flatten_layers(include_self=False) if quantizer_arguments(part)]
    built = [part.built for part in parts]
    return (bool(parts) and all(built)) or (model.built and (any(built) or not parts))


def quantized_kernels(model: tf.keras.layers.Layer) -> list[QuantizedKernel]:
    """All quantized kernels of a built `model` in the order of its layers, each shared kernel once.

    Nested and subclassed models are searched too. An unbuilt model has none.
    """
    found: dict[int, QuantizedKernel] = {}
    for layer, path in named_layers(model, () if isinstance(model, tf.keras.Model) else (model.name,)):
        own = {name: value for name, value in vars(layer).items() if isinstance(value, QuantizedVariable)}
        for name, variable in own.items():
            label = "/".join(path if len(own) == 1 else (*path, name))
            if variable.quantizer is not None:
                found.setdefault(id(variable.latent_variable), QuantizedKernel(label, layer, variable))
    kernels = list(found.values())
    names = told_apart([kernel.name for kernel in kernels])
    return [replace(kernel, name=name) for kernel, name in zip(kernels, names, strict=True)]
