"""Freezing: for a while, a model's kernels are the constants that their quantizers give."""

import contextlib
from collections.abc import Iterator

import numpy as np
import tensorflow as tf
from larq.quantized_variable import QuantizedVariable

from larq_equalbits._bits.kernels import quantized_kernels
from larq_equalbits._errors import check_kind

# Where a Keras model keeps what it traced.
_TRACED = ("predict_function", "test_function", "train_function")


@contextlib.contextmanager
def freeze(model: tf.keras.layers.Layer) -> Iterator[dict[str, np.ndarray]]:
    """Within the block, every quantized kernel of `model` computes with a constant.

    Each quantizer is evaluated once and stands aside for its result, so what is traced in the block holds
    the kernel as a constant, whatever the quantizer is made of. No weight is touched, and the quantizers come
    back at the end of the block, after an exception too. So does what `predict`, `evaluate` and `fit` traced before:
    within the block they trace again. A `tf.function` of the model's own that is first called in the block keeps the
    constants.

    Yields:
        the constant of every kernel by its name (see `kernels.quantized_kernels`).

    Raises:
        InputError: what is no model or layer of Keras 2.

    Examples:
        >>> with freeze(model) as kernels:
        ...     print({name: kernel.shape for name, kernel in kernels.items()})
        {'conv': (3, 3, 32, 8)}
    """
    check_kind("model", model, tf.keras.layers.Layer, "a model or a layer of Keras 2")
    kernels = quantized_kernels(model)
    values = {kernel.name: kernel.values() for kernel in kernels}
    quantizers = [kernel.quantizer for kernel in kernels]
    traced = [
        (vars(layer), name, vars(layer)[name])
        for layer in model._flatten_layers()
        for name in _TRACED
        if name in vars(layer)
    ]
    try:
        for attributes, name, _ in traced:
            attributes[name] = None
        for kernel in kernels:
            set_constant(kernel.variable, values[kernel.name])
        yield values
    finally:
        for kernel, quantizer in zip(kernels, quantizers, strict=True):
            kernel.variable.quantizer = quantizer
        for attributes, name, function in traced:
            attributes[name] = function


def set_constant(variable: QuantizedVariable, value: np.ndarray) -> None:
    """Makes the layer of `variable` compute with `value` until its quantizer is set again."""
    variable.quantizer = lambda latent: tf.constant(value)
