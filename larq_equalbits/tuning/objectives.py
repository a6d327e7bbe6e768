"""What a search makes greater or smaller: one metric, or the weighted sum of several."""

import importlib
from collections.abc import Sequence
from typing import Any

from larq_equalbits import _choices
from larq_equalbits._errors import invalid, is_positive
from larq_equalbits.tuning.keras_2 import keras_tuner

_MultiObjective: Any = importlib.import_module("keras_tuner.src.engine.objective").MultiObjective


class Weighted(_MultiObjective):
    r"""\(\sum_i s_i a_i x_i\), to be made smaller: \(x_i\) are the metrics, \(a_i\) the weights, \(s_i\) is 1 where
    smaller is better and -1 otherwise.

    Args:
        objectives: keras-tuner's Objectives.
        weights: one for each.
    """

    def __init__(self, objectives: Sequence[Any], weights: Sequence[float]) -> None:
        super().__init__(list(objectives))
        self.weights = list(weights)

    def get_value(self, logs: dict[str, float]) -> float:
        """The sum for the metrics `logs`."""
        return sum(
            weight * logs[each.name] * (1 if each.direction == "min" else -1)
            for each, weight in zip(self.objectives, self.weights, strict=True)
        )


def read(described: Any) -> Any:
    """The objective that `describe` described."""
    if not isinstance(described, list):
        return keras_tuner.Objective(described["name"], described["direction"])
    each = [read({key: one[key] for key in ("name", "direction")}) for one in described]
    weights = [one.get("weight") for one in described]
    return each if None in weights else Weighted(each, weights)


def describe(objective: Any) -> Any:
    """An objective of keras-tuner as JSON values."""
    if isinstance(objective, Weighted):
        return [
            {**describe(each), "weight": weight}
            for each, weight in zip(objective.objectives, objective.weights, strict=True)
        ]
    if hasattr(objective, "objectives"):
        return [describe(each) for each in objective.objectives]
    return {"name": objective.name, "direction": objective.direction}


def objective(name: Any, direction: str | None = None) -> Any:
    """What a search makes greater or smaller, as keras-tuner's Objective.

    Args:
        name: a key of Keras' `logs` (``val_accuracy``, ``bit_entropy``, ``<layer>/bit_entropy``, ...), of the
            run's results (``test_accuracy``, ...), or of the converted file ``tflite_bytes`` and ``instructions`` (see
            `tuning.cost`); an Objective or a list of several, which keras-tuner adds up; or a dict from names to
            weights above 0, whose sum of weight times value counts, less is better ones added, others taken away.
        direction: "min" or "max"; by default greater is better of what ends in accuracy or entropy, smaller of
            what ends in loss, bytes or instructions.

    Raises:
        InputError: another direction, or none for a key of which it is not known; weights that are none.

    Examples:
        >>> objective("val_accuracy").direction, objective("tflite_bytes").direction
        ('max', 'min')
    """
    if isinstance(name, dict):
        for key, weight in name.items():
            if not is_positive(weight):
                raise invalid(f"the weight of {key}", weight, "a number above 0")
        if len(name) < 2:
            raise invalid("objective", name, "weights for at least two names")
        return Weighted([objective(each, direction) for each in name], [float(w) for w in name.values()])
    if isinstance(name, list | tuple):
        return [objective(each, direction) for each in name]
    if isinstance(name, keras_tuner.Objective):
        return name
    return keras_tuner.Objective(name, _choices.direction(name, direction))
