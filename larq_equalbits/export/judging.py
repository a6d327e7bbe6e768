"""One judge of two sets of outputs, those of a reference and those of a file: what is decided, and how far they differ.

Every output counts. What an output decides depends on its rule:

- "argmax": the class with the largest value along the last axis, for each input or each of its positions (pixels);
- a number: for each value whether it is above that threshold;
- "values": nothing is decided (regression); a value counts as another where it differs by more than 1 % of the range
  of the reference's values of its unit, and the distance is that of the unit where it is largest.

Decisions between which rounding chooses, because the reference's values lie within 1e-5 of the largest, count as equal.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from larq_equalbits._errors import invalid
from larq_equalbits.export.flatbuffer import Model

Rule = str | float

BOUND = 0.1
"""How far a file may be from Keras: the rms of the differences, as a share of the deviation of Keras' values."""
INTEGER_BOUND = 0.5
"""The same for a file with integers."""
_OTHER_VALUE = 0.01
_ROUNDING = 1e-5
# What changes no value between a sigmoid and an output.
_LAYOUT = {"RESHAPE", "SQUEEZE", "EXPAND_DIMS", "TRANSPOSE", "DEQUANTIZE", "QUANTIZE"}


@dataclasses.dataclass(frozen=True)
class OutputVerification:
    """How one output of a file compares with the reference's.

    Attributes:
        name: the output's name.
        rule: "argmax", "values", or the threshold.
        decisions: how many decisions were compared.
        differing: how many of them differ.
        max_abs_diff: the largest absolute difference.
        distance: the rms of the differences as a share of the deviation of the reference's values over the inputs:
            about 0 for the same network, 1 and more for another one; of "values" that of the unit where it is largest.
        keras_accuracy: the share of right decisions in the reference; None without labels.
        tflite_accuracy: the same of the file.
    """

    name: str
    rule: Rule
    decisions: int
    differing: int
    max_abs_diff: float
    distance: float
    keras_accuracy: float | None = None
    tflite_accuracy: float | None = None

    @property
    def agreement(self) -> float:
        """The share of equal decisions."""
        return 1 - self.differing / self.decisions if self.decisions else 1.0

    def within(self, tolerance: float, bound: float) -> bool:
        """Whether at most the share `tolerance` of the decisions differ, and `distance` is `bound` at most."""
        # Counts, as 1 - 0.0004 is a little more than 9996 / 10000 or a little less.
        return self.differing <= tolerance * self.decisions + 1e-6 and self.distance <= bound

    def describe(self, images: int, tolerance: float, bound: float) -> str:
        """A clause on what is wrong, for so many inputs."""
        found = []
        if self.differing > tolerance * self.decisions + 1e-6:
            what = {"argmax": "another class than Keras", "values": "another value than Keras"}.get(
                str(self.rule), f"the other side of {self.rule} than Keras"
            )
            where = "inputs" if self.decisions == images else f"positions of {images} inputs"
            found.append(f"gives {what} on {self.differing} of {self.decisions} {where}")
        if self.distance > bound:
            found.append(
                f"is {self.distance:.3g} deviations of Keras' values away from them, where bound allows {bound:g}"
            )
        wrong = f"the output {self.name!r} of the file {' and '.join(found)}"
        return f"{wrong} (largest difference {self.max_abs_diff:.3g})"


def rules(
    model: Model, decisions: Any = None, trained: Mapping[str, Rule] = MappingProxyType({})
) -> dict[str, Rule]:
    """The rule of each output of a file, by the output's name.

    Args:
        model: the file. An output that a sigmoid yields is held against 0.5, another one of one unit has values, and
            any other classes along the last axis.
        decisions: "argmax", "values" or a threshold for all outputs, or a mapping from names of outputs to those.
        trained: by the names of outputs what they were trained for: 0.0 for logits of yes and no, "values" for
            regression, which leaves what a sigmoid or a softmax yields as it is.

    Raises:
        InputError: names that are no outputs, or other rules.
    """
    found = {
        tensor.key: _rule(model, tensor.name, tensor.shape, trained.get(tensor.key))
        for tensor in model.outputs
    }
    given = decisions if isinstance(decisions, Mapping) else dict.fromkeys(found, decisions)
    if unknown := set(given) - set(found):
        raise invalid("decisions", sorted(unknown), f"for outputs among {list(found)}")
    for name, rule in given.items():
        number = isinstance(rule, int | float) and not isinstance(rule, bool) and np.isfinite(rule)
        if not (rule is None or number or (isinstance(rule, str) and rule in ("argmax", "values"))):
            raise invalid("decisions", rule, '"argmax", "values" or a threshold')
        if rule is not None:
            found[name] = float(rule) if number else rule
    return found


def _rule(model: Model, name: str, shape: tuple[int, ...], trained: Rule | None) -> Rule:
    if trained == 0.0:
        return trained
    producers = dict(model.producers)
    place = next(index for index, tensor in enumerate(model.tensors) if tensor.name == name)
    operator = producers.pop(place, None)
    while operator is not None and operator.name in _LAYOUT and operator.inputs:
        operator = producers.pop(operator.inputs[0], None)
    if operator is not None and operator.name == "LOGISTIC":
        return 0.5
    softmax = operator is not None and operator.name == "SOFTMAX"
    classes = len(shape) > 1 and shape[-1] > 1 and (trained is None or softmax)
    return "argmax" if classes else "values"


def truth(labels: Any, shape: tuple[int, ...], rule: Rule, argument: str = "labels") -> np.ndarray | None:
    """The decisions that `labels` mean, in the shape of those about values of `shape`, whose first axis is the inputs.

    Raises:
        InputError: labels of another shape; its message calls them `argument`.
    """
    if rule == "values" or labels is None:
        return None
    labels = np.asarray(labels)
    if rule == "argmax":
        positions = shape[:-1]
        wanted = f"{shape[0]} class numbers" if len(shape) == 2 else f"class numbers of shape {positions}"
        column = labels.shape[-1:] == (1,) and labels.shape[:-1] in _forms(positions)
        if column or labels.shape in _forms(positions):
            return _class_numbers(labels.reshape(-1), shape[-1], argument).reshape(positions)
        if labels.shape in _forms(shape) and _numbers(labels):
            labels = labels.reshape(shape)
            if (labels >= 0).all() and np.allclose(labels.sum(axis=-1), 1, atol=1e-3):
                return labels.argmax(axis=-1)
            raise invalid(
                argument,
                "rows with negative numbers or another sum",
                'one-hot, rows that sum to 1, unless decisions are "values" (regression)',
            )
        raise invalid(argument, f"an array of shape {labels.shape}", f"{wanted}, or one-hot of shape {shape}")
    if labels.shape not in _forms(shape) or not _numbers(labels):
        raise invalid(argument, f"an array of shape {labels.shape}", f"0 and 1 of shape {shape}")
    return labels.reshape(shape) > 0.5


def _class_numbers(labels: np.ndarray, classes: int, argument: str) -> np.ndarray:
    """`labels` (n,) as whole numbers, each that of a class.

    Args:
        labels: integers, or floats that are whole.
        classes: of the model; with fewer than 2 its answers are no classes, and any whole number will do.
        argument: the name of the labels in messages.

    Raises:
        InputError: no whole numbers, or one that is no class.
    """
    whole = labels.dtype.kind in "biu" or (
        labels.dtype.kind == "f" and (np.isfinite(labels) & (labels == np.floor(labels))).all()
    )
    if not whole:
        raise invalid(argument, f"an array of {labels.dtype}: {labels[:3]}...", "whole numbers")
    if classes > 1 and labels.size and not (labels.min() >= 0 and labels.max() < classes):
        found = [labels.min().item(), labels.max().item()]
        raise invalid(argument, found, f"from 0 to {classes - 1}, the classes of the model")
    return labels.astype(np.int64)


def _numbers(labels: np.ndarray) -> bool:
    return labels.dtype.kind in "biuf" and bool(np.isfinite(labels).all())


def _forms(shape: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    """`shape`, and the same without axes of one place after the first."""
    return shape, (*shape[:1], *(size for size in shape[1:] if size != 1))


def by_output(labels: Any, names: Sequence[str]) -> list[Any]:
    """`labels` for each output: a mapping by name, a list in their order, or those of the first output alone.

    Raises:
        InputError: labels for an output that is none.
    """
    if isinstance(labels, Mapping):
        if unknown := set(labels) - set(names):
            raise invalid(
                "labels", f"labels for {sorted(map(str, unknown))}", f"for outputs among {list(names)}"
            )
        return [labels.get(name) for name in names]
    several = isinstance(labels, list | tuple) and any(np.ndim(each) for each in labels)
    if several and len(labels) == len(names):
        return list(labels)
    return [labels, *[None] * (len(names) - 1)]


class _Output:
    """What is known of one output after some batches."""

    def __init__(self, name: str, rule: Rule, labels: str) -> None:
        self.name, self.rule, self.labels = name, rule, labels
        self.decisions = self.differing = self.labelled = 0
        self.right = np.zeros(2, int)
        self.largest = 0.0
        self.rows = 0
        self.sums: Any = 0.0
        self.squares: Any = 0.0
        self.errors: Any = 0.0
        self.lowest: Any = np.inf
        self.highest: Any = -np.inf
        self.apart: list[np.ndarray] = []

    def add(self, expected: np.ndarray, found: np.ndarray, labels: Any) -> np.ndarray:
        """Which of the inputs (n,) differ in a decision."""
        count = len(expected)
        expected = expected.astype(np.float64).reshape(count, *expected.shape[1:] or (1,))
        found = found.astype(np.float64).reshape(expected.shape)
        if not expected.size:
            return np.zeros(count, bool)
        difference = np.abs(expected - found)
        self.largest = max(self.largest, float(difference.max()))
        units = expected.reshape(-1, expected.shape[-1])
        self.rows += len(units)
        self.sums = self.sums + units.sum(axis=0)
        self.squares = self.squares + np.square(units).sum(axis=0)
        self.errors = self.errors + np.square(difference).reshape(units.shape).sum(axis=0)
        self.lowest = np.minimum(self.lowest, units.min(axis=0))
        self.highest = np.maximum(self.highest, units.max(axis=0))
        rounding = _ROUNDING * float(np.abs(expected).max())
        if self.rule == "values":
            apart = difference.reshape(count, -1, expected.shape[-1]).max(axis=1)
            self.apart.append(apart)
            return (apart > self._other_value()).any(axis=1)
        if self.rule == "argmax":
            chosen, other = expected.argmax(axis=-1), found.argmax(axis=-1)
            taken = np.take_along_axis(expected, other[..., None], axis=-1)[..., 0]
            differing = expected.max(axis=-1) - taken > rounding
        else:
            threshold = float(self.rule)
            chosen, other = expected > threshold, found > threshold
            differing = (chosen != other) & (np.abs(expected - threshold) > rounding)
        self.decisions += differing.size
        self.differing += int(differing.sum())
        right = truth(labels, expected.shape, self.rule, self.labels)
        if right is not None:
            self.labelled += right.size
            self.right += [(chosen == right).sum(), (other == right).sum()]
        return differing.reshape(count, -1).any(axis=1)

    def _other_value(self) -> np.ndarray:
        magnitude = np.maximum(np.abs(self.lowest), np.abs(self.highest))
        spread = self.highest - self.lowest
        return _OTHER_VALUE * np.where(spread > 0, spread, magnitude) + _ROUNDING * magnitude

    def _distance(self) -> float:
        if not self.rows:
            return 0.0
        error, square = self.errors / self.rows, self.squares / self.rows
        variance = np.maximum(square - np.square(self.sums / self.rows), 0.0)
        varies = self.highest > self.lowest
        if self.rule != "values":
            error, square, variance, varies = error.mean(), square.mean(), variance.mean(), self.rows > 1
        # Of one row, or of one value alone, there is no deviation.
        deviation = np.sqrt(np.where(varies, variance, square))
        error = np.maximum(np.sqrt(error) - _ROUNDING * np.sqrt(square), 0.0)
        # A number that JSON has.
        return float(min(np.max(error / np.maximum(deviation, 1e-300)), 1e6))

    def verification(self) -> OutputVerification:
        decisions, differing = self.decisions, self.differing
        if self.apart:
            others = np.concatenate(self.apart) > self._other_value()
            decisions, differing = len(others), int(others.any(axis=1).sum())
        keras, tflite = (float(each) / self.labelled if self.labelled else None for each in self.right)
        return OutputVerification(
            self.name, self.rule, decisions, differing, self.largest, self._distance(), keras, tflite
        )


class Judge:
    """Compares outputs batch by batch.

    Args:
        names: the names of the outputs.
        rules: their rules, by name.
    """

    def __init__(self, names: Sequence[str], rules: Mapping[str, Rule]) -> None:
        self._outputs = [
            _Output(name, rules[name], f"labels of {name}" if len(names) > 1 else "labels") for name in names
        ]

    def add(
        self, expected: Sequence[np.ndarray], found: Sequence[np.ndarray], labels: Any = None
    ) -> np.ndarray:
        """Which of the inputs (n,) of a batch differ in a decision of any output.

        Args:
            expected: the reference's outputs (n, ...).
            found: the file's.
            labels: see `by_output` and `truth`; None for no labels.

        Raises:
            InputError: labels of another shape, or for an output that is none.
        """
        each = by_output(labels, [output.name for output in self._outputs])
        rows = [
            output.add(*given) for output, *given in zip(self._outputs, expected, found, each, strict=True)
        ]
        return np.any(rows, axis=0)

    def verdicts(self) -> list[OutputVerification]:
        """What was found, for each output."""
        return [output.verification() for output in self._outputs]
