"""`model.json` beside a model: how its images are normalised, and what its classes are called."""

import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path

from larq_equalbits_runtime._errors import InputError


@dataclass(frozen=True)
class Description:
    """What the conversion wrote about a model.

    Attributes:
        path: the file.
        mean: of each channel, subtracted from images on the scale 0 to 1; empty where the file does not say.
        std: of each channel, by which they are then divided; empty likewise.
        labels: the name of each class, empty likewise.
        dataset: the data set that the model was trained on, "" likewise.
    """

    path: Path
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
            mean, std = (tuple(map(float, found.get(name) or ())) for name in ("mean", "std"))
            labels = tuple(map(str, found.get("labels") or ()))
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
        if len(mean) != len(std) or not all(map(math.isfinite, mean + std)) or min(std, default=1) <= 0:
            raise InputError(
                f"{path} must have a mean and a std above 0 for each channel, but has {mean}, {std}."
            )
        return cls(path, mean, std, labels, str(found.get("dataset") or ""))

    def require(self, channels: int) -> None:
        """Checks that images of so many channels can be normalised.

        Raises:
            InputError: where mean and std are missing, or are those of other images.
        """
        if not self.mean:
            raise InputError(
                f"{self.path} does not say how images are normalised: convert the run that was trained "
                "(larq-equalbits convert runs/NAME), not a bare model."
            )
        if len(self.mean) != channels:
            raise InputError(
                f"{self.path} must have one mean for each of {channels} channels, but has {len(self.mean)}."
            )

    def label(self, number: int) -> str:
        """The name of a class, its number where it has none."""
        return self.labels[number] if number < len(self.labels) else str(number)
