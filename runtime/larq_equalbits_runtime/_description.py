"""`model.json` beside a model: how its images are normalised, and what its classes are called."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from larq_equalbits_runtime._errors import InputError


def _listed(found: Mapping[str, Any], name: str, kind: type) -> tuple[Any, ...]:
    """The list by this name, whose members are all real numbers (`kind` is float) or all of another kind."""
    values = found.get(name)
    kinds = {int, float} if kind is float else {kind}
    if values is not None and not (isinstance(values, list) and {*map(type, values)} <= kinds):
        raise TypeError(f"{name} must be a list of {kind.__name__}")
    return tuple(map(kind, values or ()))


@dataclass(frozen=True)
class Description:
    """What the conversion wrote about a model.

    Attributes:
        path: the file.
        input_shape: (height, width, channels) of images; empty where the file does not say.
        mean: of each channel, subtracted from images on the scale 0 to 1; empty likewise.
        std: of each channel, by which they are then divided; empty likewise.
        labels: the name of each class, empty likewise.
        dataset: the data set that the model was trained on, "" likewise.
    """

    path: Path
    input_shape: tuple[int, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    labels: tuple[str, ...]
    dataset: str

    @classmethod
    def beside(cls, model: Path, content: bytes) -> "Description | None":
        """That of the model at this path and with these bytes; None where there is none.

        Raises:
            InputError: a file that is no description, or that of another model.
        """
        path = model.with_suffix(".json")
        if not path.is_file():
            return None
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            expected = found["sha256"]
            shape = _listed(found, "input_shape", int)
            mean, std = _listed(found, "mean", float), _listed(found, "std", float)
            labels = _listed(found, "labels", str)
        except (
            ValueError,
            KeyError,
            TypeError,
            AttributeError,
            OSError,
            ArithmeticError,
            RecursionError,
        ) as error:
            raise InputError(
                f"{path} must be what larq-equalbits convert wrote beside the model, but is not: "
                f"{type(error).__name__}: {error}."
            ) from error
        if expected != hashlib.sha256(content).hexdigest():
            raise InputError(
                f"{path} describes another model than {model}: copy both again, or convert again."
            )
        # Images are normalised in float32.
        limits = np.finfo(np.float32)
        least, most = float(limits.tiny), float(limits.max)
        usable = all(
            least <= s <= most and abs(m) <= most and (1 + abs(m)) / s <= most
            for m, s in zip(mean, std, strict=False)
        )
        if len(mean) != len(std) or not usable:
            raise InputError(
                f"{path} must have a mean and a std above 0 for each channel, and float32 must have what "
                f"they make of images, but it has {mean}, {std}."
            )
        return cls(path, shape, mean, std, labels, str(found.get("dataset") or ""))

    def require(self, shape: tuple[int, ...], classes: int) -> None:
        """Checks that the description is one of images of this shape and of so many classes.

        Args:
            shape: (height, width, channels) of the network's input.
            classes: the number of its scores.

        Raises:
            InputError: where mean and std are missing, or are those of other images; where labels are given, but not
                one for each class.
        """
        if not self.mean:
            raise InputError(
                f"{self.path} does not say how images are normalised: convert the run that was trained "
                "(larq-equalbits convert runs/NAME), not a bare model."
            )
        if self.input_shape not in ((), shape):
            raise InputError(
                f"{self.path} must describe images of shape {shape}, which the model takes, but has {self.input_shape}."
            )
        if len(self.mean) != shape[-1]:
            raise InputError(
                f"{self.path} must have one mean for each of {shape[-1]} channels, but has {len(self.mean)}."
            )
        if len(self.labels) not in (0, classes):
            raise InputError(
                f"{self.path} must have one label for each of {classes} classes, but has {len(self.labels)}."
            )

    def label(self, number: int) -> str:
        """The name of a class, its number where there are no names."""
        return self.labels[number] if self.labels else str(number)
