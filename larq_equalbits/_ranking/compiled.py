"""Tensor functions compiled by XLA, once for every signature, where there is enough to compute."""

import functools
import math
from collections.abc import Callable
from typing import Any

import tensorflow as tf

# What XLA saves with so few weights is less than a training gains by not waiting for it.
FEW_WEIGHTS = 1 << 12


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` of tensors, compiled by XLA where one of them has more than `FEW_WEIGHTS` elements.

    With fewer it is a plain `tf.function`. There is one of them for each combination of shapes and types, because
    TensorFlow warns of retracing where one meets many; a network has kernels of many shapes. No gradient passes
    through it: for that, TensorFlow would trace and compile it a second time.
    """

    @functools.cache
    def of_signature(*signature: tuple[tf.TensorShape, tf.DType]) -> Callable[..., Any]:
        few = max(math.prod(shape) for shape, _ in signature) <= FEW_WEIGHTS
        return tf.function(function, jit_compile=not few, autograph=False)

    @functools.wraps(function)
    def call(*tensors: tf.Tensor) -> Any:
        constants = [tf.stop_gradient(tensor) for tensor in tensors]
        return of_signature(*((tuple(each.shape), each.dtype) for each in constants))(*constants)

    return call
