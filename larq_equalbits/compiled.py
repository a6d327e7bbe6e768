"""Tensor functions compiled by XLA, once for every signature."""

import functools
from collections.abc import Callable
from typing import Any

import tensorflow as tf


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` of tensors, compiled by XLA.

    It is `tf.function` with one function for each combination of shapes and types, because TensorFlow warns
    of retracing where one function meets many; a network has kernels of many shapes. No gradient passes
    through it: for that, TensorFlow would trace and compile it a second time.
    """

    @functools.cache
    def of_signature(*signature: tuple[tf.TensorShape, tf.DType]) -> Callable[..., Any]:
        return tf.function(function, jit_compile=True, autograph=False)

    @functools.wraps(function)
    def call(*tensors: tf.Tensor) -> Any:
        of_these = of_signature(*((tuple(tensor.shape), tensor.dtype) for tensor in tensors))
        return of_these(*(tf.stop_gradient(tensor) for tensor in tensors))

    return call
