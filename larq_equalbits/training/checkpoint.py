"""The state of a training after an epoch, in one file that appears whole or not at all."""

import dataclasses
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from larq_equalbits import _files
from larq_equalbits._errors import InputError, is_whole

_META = "state.json"


@dataclasses.dataclass
class State:
    """Everything besides variables that the next epoch depends on.

    Attributes:
        epoch: epochs that are finished.
        seed: of the order of the images and of their augmentation; None where an older version wrote the file.
        best: the highest value of the monitored metric, and its epoch (from 0); None before the first.
        callbacks: the states of the callbacks that have one, in their order.
    """

    epoch: int
    seed: int | None
    best: tuple[float, int] | None = None
    callbacks: list[Any] = dataclasses.field(default_factory=list)


def variables(model: tf.keras.Model) -> list[tf.Variable]:
    """The variables that a training of the compiled `model`, its optimizer built, changes, in a fixed order.

    The model's weights, the states of its random generators (dropout), and the optimizer's variables with
    its step counter.
    """
    found: dict[int, tf.Variable] = {}
    holders = [getattr(layer, "_random_generator", None) for layer in model._flatten_layers()]
    generators = [getattr(holder, "_generator", None) for holder in holders]
    states = [generator.state for generator in generators if generator is not None]
    for variable in (*model.variables, *states, *model.optimizer.variables):
        found.setdefault(id(variable), variable)
    return list(found.values())


def _name(index: int) -> str:
    return f"{index:05}"


def save(
    path: str | os.PathLike[str], values: Sequence[np.ndarray], names: Sequence[str], state: State
) -> None:
    """Writes `state`, and values and names in the order of `variables`; until the end of it the former file stays."""
    meta = json.dumps({"names": list(names), "state": dataclasses.asdict(state)})
    arrays = {_name(index): value for index, value in enumerate(values)}
    with _files.replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **{_META: np.frombuffer(meta.encode(), np.uint8)}, **arrays)
        file.flush()
        os.fsync(file.fileno())


def read_state(path: str | os.PathLike[str]) -> State:
    """The state in `path`, without the variables.

    Raises:
        InputError: no checkpoint, or a damaged one.
    """
    return _read(path)[0]


def _read(path: str | os.PathLike[str]) -> tuple[State, list[str], list[np.ndarray]]:
    if not Path(path).is_file():
        raise InputError(f"resume needs the checkpoint of a run, but there is no {os.fspath(path)}.")
    try:
        arrays = _files.read_arrays(path)
        meta = _files.parse_json(arrays[_META].tobytes(), _META)
        found = {"seed": None, **meta["state"]}
        fields = [field.name for field in dataclasses.fields(State)]
        state, names = State(**{name: found[name] for name in fields}), meta["names"]
        values = [arrays[_name(index)] for index in range(len(names))]
        if state.best is not None:
            state.best = (float(state.best[0]), int(state.best[1]))
        if not (is_whole(state.epoch, 0) and isinstance(state.callbacks, list)):
            raise InputError(f"{_META} must hold the state of a training, but holds {state}")
    except (InputError, KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise InputError(
            f"resume needs an intact checkpoint, but {os.fspath(path)} is damaged: {error}"
        ) from error
    return state, names, values


def restore(path: str | os.PathLike[str], model: tf.keras.Model, callbacks: int) -> State:
    """Gives the compiled `model` and its optimizer the values that `save` wrote; so many `callbacks` have a state.

    Raises:
        InputError: no checkpoint, a damaged one, that of another model or with other callbacks: names the first
            difference, and leaves the model as it was.
    """
    state, names, values = _read(path)
    if len(state.callbacks) != callbacks:
        raise InputError(
            f"resume needs the callbacks that the run was begun with, {len(state.callbacks)} with a state, but "
            f"got {callbacks}."
        )
    targets = variables(model)
    if len(targets) != len(values):
        raise InputError(
            f"resume needs a checkpoint of the model {model.name!r} with {len(targets)} variables, but "
            f"{os.fspath(path)} holds {len(values)}."
        )
    for target, name, value in zip(targets, names, values, strict=True):
        own = (tuple(target.shape), target.name, target.dtype.as_numpy_dtype)
        if own != (value.shape, name, value.dtype):
            raise InputError(
                f"resume needs a checkpoint of the model {model.name!r} with {target.name} of shape "
                f"{tuple(target.shape)}, but {os.fspath(path)} holds {name} of shape {value.shape}."
            )
    for target, value in zip(targets, values, strict=True):
        target.assign(value)
    return state
