"""Functions of the columns of tensors, compiled by XLA, once for every signature, where there is enough to compute."""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf
from tf_keras.src.utils.control_flow_util import GraphOrParentsInXlaContext

# What XLA saves with so few weights is less than a training gains by not waiting for it.
FEW_WEIGHTS = 1 << 12

# Kernels with the same number of rows share the program of so many columns, and what it reads stays in the cache.
_COLUMNS = 64


def whole(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` of tensors, compiled by XLA where one of them has more than `FEW_WEIGHTS` elements.

    No gradient passes through it: for that, TensorFlow would trace and compile it a second time.
    """

    @functools.wraps(function)
    def call(*tensors: tf.Tensor) -> Any:
        constants = [tf.stop_gradient(tensor) for tensor in tensors]
        signature = _signature(constants)
        few = max(math.prod(shape) for shape, _ in signature) <= FEW_WEIGHTS
        return _of_signature(function, not few, *signature)(*constants)

    return call


def in_blocks(function: Callable[..., Any]) -> Callable[..., Any]:
    """`whole` of a `function` of tensors whose last axis are columns, each answered by itself; of scalars too.

    It takes blocks of columns where their number allows, so that kernels share what takes long to compile, and stay in
    the cache where they are read again and again. What reads them once or twice is quicker as a `whole`: splitting
    copies them. On a GPU, and inside a program that is compiled as a whole, it takes all columns at once.
    """
    of_block = whole(function)

    @functools.wraps(function)
    def call(*tensors: tf.Tensor) -> Any:
        columns = tensors[0].shape[-1]
        if columns % _COLUMNS or columns == _COLUMNS or _takes_whole():
            return of_block(*tensors)
        blocks = columns // _COLUMNS
        split = [tf.split(each, blocks, axis=-1) if each.shape.rank else [each] * blocks for each in tensors]
        answers = [of_block(*block) for block in zip(*split, strict=True)]
        return tf.nest.map_structure(lambda *parts: tf.concat(parts, axis=-1), *answers)

    return call


def in_one_pass(function: Callable[..., Any], *tensors: tf.Tensor) -> Any:
    """`function` of `tensors`, compiled by XLA once for all of the same shapes and types."""
    return _of_signature(function, True, *_signature(tensors))(*tensors)


def traced(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` of tensors, traced once for all of the same shapes and types. No gradient passes through it."""

    @functools.cache
    def of_signature(whole: bool, *signature: tuple[tf.TensorShape, tf.DType]) -> Callable[..., Any]:
        return tf.function(function, autograph=False)

    @functools.wraps(function)
    def call(*tensors: tf.Tensor) -> Any:
        constants = [tf.stop_gradient(tensor) for tensor in tensors]
        return of_signature(_takes_whole(), *_signature(constants))(*constants)

    return call


@functools.cache
def _of_signature(
    function: Callable[..., Any], by_xla: bool, *signature: tuple[tf.TensorShape, tf.DType]
) -> Callable[..., Any]:
    return tf.function(function, jit_compile=by_xla, autograph=False)


def _signature(tensors: Sequence[tf.Tensor]) -> list[tuple[tuple[int, ...], tf.DType]]:
    # There is one function for each, because TensorFlow warns of retracing where one meets many; a network has
    # kernels of many shapes.
    return [(tuple(each.shape), each.dtype) for each in tensors]


def _takes_whole() -> bool:
    in_program = GraphOrParentsInXlaContext(tf.compat.v1.get_default_graph())
    return bool(in_program or tf.config.list_logical_devices("GPU"))
