"""The papers' networks, built from plain Larq layers."""

from collections.abc import Callable

import tensorflow as tf

from larq_equalbits.errors import invalid
from larq_equalbits.zoo.conv import conv2

_BUILDERS: dict[str, Callable[..., tf.keras.Model]] = {builder.__name__: builder for builder in (conv2,)}

__all__ = ["get", "list_models", *_BUILDERS]


def list_models() -> list[str]:
    """The names of all networks."""
    return list(_BUILDERS)


def get(name: str) -> Callable[..., tf.keras.Model]:
    """The builder of the network called `name`.

    Raises:
        InputError: for an unknown name.
    """
    if name not in _BUILDERS:
        raise invalid("model", name, f"one of {list_models()}")
    return _BUILDERS[name]
