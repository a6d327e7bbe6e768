"""Functions of the columns of tensors, compiled by XLA, once for every signature, where there is enough to compute."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

# What XLA saves with so few weights is less than a training gains by not waiting for it.
FEW_WEIGHTS = 1 << 12

# A kernel of more columns than that, and than an eighth of its rows, is taken in two halves.
_FEW_COLUMNS = 64


def by_xla(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` of the columns of tensors, compiled by XLA where one has more than `FEW_WEIGHTS` elements.

    No gradient passes through it: for that, TensorFlow would trace and compile it a second time.

    Args:
        function: of tensors that have all the same last dimension, or rank 0; of such a tensor or a tuple of them.
            What it computes of a column depends on this column alone.
    """

    def whole(*tensors: tf.Tensor) -> Any:
        return _of_signature(function, _most(tensors) > FEW_WEIGHTS, *_signature(tensors))(*tensors)

    def call(*tensors: tf.Tensor) -> Any:
        columns = tensors[0].shape[-1]
        if columns % 2 or columns <= max(_most(tensors) // columns // 8, _FEW_COLUMNS):
            return whole(*tensors)
        # Networks double their filters where they halve their images: both halves of such a 3x3 kernel have the shape
        # of the kernels after it, so that no program is compiled for its own.
        halves = zip(
            *(tf.split(each, 2, axis=-1) if each.shape.rank else (each, each) for each in tensors),
            strict=True,
        )
        return tf.nest.map_structure(
            lambda *parts: tf.concat(parts, axis=-1), *(whole(*half) for half in halves)
        )

    return _without_gradient(function, call)


def traced(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` of tensors, traced once for all of the same shapes and types. No gradient passes through it."""
    return _without_gradient(
        function, lambda *tensors: _of_signature(function, False, *_signature(tensors))(*tensors)
    )


def in_one_pass(function: Callable[..., Any], *tensors: tf.Tensor) -> Any:
    """`function` of `tensors`, compiled by XLA once for all of the same shapes and types."""
    return _of_signature(function, True, *_signature(tensors))(*tensors)


def _without_gradient(function: Callable[..., Any], call: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def stopped(*tensors: tf.Tensor) -> Any:
        return call(*(tf.stop_gradient(tensor) for tensor in tensors))

    return stopped


@functools.cache
def _of_signature(
    function: Callable[..., Any], jit: bool, *signature: tuple[tf.TensorShape, tf.DType]
) -> Callable[..., Any]:
    return tf.function(function, jit_compile=jit, autograph=False)


def _most(tensors: Sequence[tf.Tensor]) -> int:
    return max(each.shape.num_elements() for each in tensors)


def _signature(tensors: Sequence[tf.Tensor]) -> list[tuple[tuple[int, ...], tf.DType]]:
    # There is one function for each, because TensorFlow warns of retracing where one meets many; a network has
    # kernels of many shapes.
    return [(tuple(each.shape), each.dtype) for each in tensors]
