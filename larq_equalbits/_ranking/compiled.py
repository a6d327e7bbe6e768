"""Functions of the columns of tensors, compiled by XLA, once for every signature, where there is enough to compute."""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

# What XLA saves with so few weights is less than a training gains by not waiting for it.
FEW_WEIGHTS = 1 << 12


def by_xla(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` of tensors, compiled by XLA where one of them has more than `FEW_WEIGHTS` elements.

    No gradient passes through it: for that, TensorFlow would trace and compile it a second time.
    """
    return _without_gradient(
        function, lambda signature: max(math.prod(shape) for shape, _ in signature) > FEW_WEIGHTS
    )


def traced(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` of tensors, traced once for all of the same shapes and types. No gradient passes through it."""
    return _without_gradient(function, lambda signature: False)


def in_one_pass(function: Callable[..., Any], *tensors: tf.Tensor) -> Any:
    """`function` of `tensors`, compiled by XLA once for all of the same shapes and types."""
    return _of_signature(function, True, *_signature(tensors))(*tensors)


def _without_gradient(function: Callable[..., Any], jit: Callable[[list[Any]], bool]) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(*tensors: tf.Tensor) -> Any:
        constants = [tf.stop_gradient(tensor) for tensor in tensors]
        signature = _signature(constants)
        return _of_signature(function, jit(signature), *signature)(*constants)

    return call


@functools.cache
def _of_signature(
    function: Callable[..., Any], jit: bool, *signature: tuple[tf.TensorShape, tf.DType]
) -> Callable[..., Any]:
    return tf.function(function, jit_compile=jit, autograph=False)


def _signature(tensors: Sequence[tf.Tensor]) -> list[tuple[tuple[int, ...], tf.DType]]:
    # There is one function for each, because TensorFlow warns of retracing where one meets many; a network has
    # kernels of many shapes.
    return [(tuple(each.shape), each.dtype) for each in tensors]
