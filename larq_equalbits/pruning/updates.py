"""Constraints that tell when the optimizer has updated their variable."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf


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
