"""The quantized kernels of a model: the one way in which everything else finds them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from larq import context
from larq.quantized_variable import QuantizedVariable


@dataclass(frozen=True)
class QuantizedKernel:
    """A kernel whose layer computes with ``quantizer(latent weights)``.

    Attributes:
        name: the name under which it is logged: the names of the nested models and of the layer, joined
            by "/", and the kernel's own name behind them where a layer has more than one.
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
        """What the layer computes with: codes times scale."""
        with context.quantized_scope(True):
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


def quantized_kernels(model: tf.keras.layers.Layer) -> list[QuantizedKernel]:
    """All quantized kernels of a built `model` in the order of its layers, each shared kernel once.

    Nested and subclassed models are searched too. An unbuilt model has none.
    """
    found: dict[int, QuantizedKernel] = {}
    _walk(model, () if isinstance(model, tf.keras.Model) else (model.name,), found)
    return list(found.values())
