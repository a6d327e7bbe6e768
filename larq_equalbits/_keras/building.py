"""Models run on symbols: what a model takes, and a call that makes its variables and computes nothing."""

import contextlib
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from larq_equalbits._errors import InputError


@contextlib.contextmanager
def eagerly() -> Iterator[None]:
    """Within the block, a model that calls its layers inside a `tf.function` of its own calls them directly.

    Such a function would keep what it traced of a changed model, constants and all, after the model is itself again;
    and what it computes could not be seen from outside.
    """
    former = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(former)


def run(
    model: tf.keras.Model, given: tuple[tuple[Any, ...], dict[str, Any]], training: bool = False
) -> tf.Graph:
    """The graph of a call of `model` with the arguments `given`, which builds it too."""

    def call(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return model(*args, **{**kwargs, "training": training})

    function = tf.function(call, autograph=False)
    with eagerly():
        return function.get_concrete_function(*given).graph


def specification(model: tf.keras.Model) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Tensor specifications with which `model` can be called; InputError where it was never built or called."""
    if getattr(model, "inputs", None) is not None:
        return (
            tf.nest.map_structure(lambda tensor: tf.TensorSpec(tensor.shape, tensor.dtype), model.input),
        ), {}
    args, kwargs = getattr(model, "_saved_model_arg_spec", None) or ((), {})
    if args:
        wanted = {name: value for name, value in kwargs.items() if name != "training"}
        return tuple(args), wanted
    shape = getattr(model, "_build_input_shape", None)
    if model.built and shape is not None:
        return (_specified(shape),), {}
    raise InputError(
        f"model {model.name!r} must be built: call it once on an input, or give its input shape."
    )


def _specified(shape: Any) -> Any:
    if isinstance(shape, dict):
        return {name: _specified(one) for name, one in shape.items()}
    if isinstance(shape, tf.TensorShape) or all(size is None or isinstance(size, int) for size in shape):
        return tf.TensorSpec(shape, tf.keras.backend.floatx())
    return [_specified(one) for one in shape]
