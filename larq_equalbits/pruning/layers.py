"""Larq layers as pruning sees them: which kernels they quantize, and how an equal layer is made."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import larq
import tensorflow as tf
from larq.layers_base import BaseLayer

# Larq's quantizer arguments, and the kernel and the constraint argument that belong to each.
KERNELS = {
    "kernel_quantizer": ("kernel", "kernel_constraint"),
    "depthwise_quantizer": ("depthwise_kernel", "depthwise_constraint"),
    "pointwise_quantizer": ("pointwise_kernel", "pointwise_constraint"),
}


def quantizer_arguments(layer: Any) -> list[str]:
    """The arguments under which the Larq layer `layer` carries quantizers of kernels; of other layers none."""
    if not isinstance(layer, BaseLayer):
        return []
    return [name for name in KERNELS if getattr(layer, name, None) is not None]


def rebuilt(layer: tf.keras.layers.Layer, replace: Callable[[str, Any], Any]) -> tf.keras.layers.Layer:
    """An unbuilt layer of the configuration of `layer`, its quantizers replaced by ``replace(argument, quantizer)``."""
    config = layer.get_config()
    for name in quantizer_arguments(layer):
        config[name] = replace(name, getattr(layer, name))
    return type(layer).from_config(config)


def filter_axes(layer: tf.keras.layers.Layer, kernel: str) -> tuple[int, ...]:
    """The axes of `kernel` that tell its filters apart."""
    if kernel == "depthwise_kernel":
        return (-2, -1)
    transposed = (tf.keras.layers.Conv2DTranspose, tf.keras.layers.Conv3DTranspose)
    return (-2,) if isinstance(layer, transposed) else (-1,)


def copied_as_built(quantizer: Any) -> Any:
    """An equal quantizer for one layer alone, built where this one is, so that a layer's weights fit its copy."""
    if isinstance(quantizer, tf.keras.layers.Layer):
        return larq.quantizers.get(larq.quantizers.serialize(quantizer))
    return quantizer


class AfterUpdate:
    """A constraint that tells, after the one it stands in for, that the optimizer has updated its variable."""

    def __init__(self, constraint: Any, notify: Callable[[], None]) -> None:
        self._constraint = constraint
        self._notify = notify

    def __call__(self, variable: Any) -> tf.Tensor:
        """Constrains `variable` as before, and tells."""
        if self._constraint is not None:
            variable.assign(self._constraint(variable))
        self._notify()
        return tf.convert_to_tensor(variable)


@contextlib.contextmanager
def notifying(
    layer: tf.keras.layers.Layer, constraints: list[str], notify: Callable[[], None]
) -> Iterator[None]:
    """Lets the constraints of the variables that the block makes notify; the configuration keeps the plain ones."""
    plain = {name: getattr(layer, name) for name in constraints}
    for name, constraint in plain.items():
        setattr(layer, name, AfterUpdate(constraint, notify))
    try:
        yield
    finally:
        for name, constraint in plain.items():
            setattr(layer, name, constraint)
