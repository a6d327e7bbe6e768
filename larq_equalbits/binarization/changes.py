"""What became of the layers of a model that was made binary."""

import dataclasses
import json
from typing import Any

from larq_equalbits._errors import InputError
from larq_equalbits._files import parse_json
from larq_equalbits._text import Shown, cells, share


@dataclasses.dataclass(frozen=True)
class LayerChange:
    """What became of one layer.

    Attributes:
        name: the layer's name, with those of the models and layers around it.
        before: its class.
        after: its class in the twin.
        weights: number of weights in its kernels.
        binary: whether its kernels are binary.
        binary_input: whether it quantizes its input.
        reason: why it was left as it was, or its input float, and what else was changed.
    """

    name: str
    before: str
    after: str
    weights: int
    binary: bool
    binary_input: bool
    reason: str = ""


@dataclasses.dataclass(frozen=True)
class BinarizationReport(Shown):
    """A row for each layer that has a kernel, and for each activation that was replaced.

    Attributes:
        layers: in the order of the model.
    """

    layers: list[LayerChange]

    @property
    def binary_share(self) -> float:
        """The share of the kernels' weights that is binary, 0 to 1."""
        total = sum(layer.weights for layer in self.layers)
        return sum(layer.weights for layer in self.layers if layer.binary) / total if total else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain values."""
        return {
            "binary_share": self.binary_share,
            "layers": [dataclasses.asdict(layer) for layer in self.layers],
        }

    def to_json(self) -> str:
        """Everything as JSON."""
        return json.dumps(self.to_dict(), indent=2)

    @classmethod
    def from_json(cls, text: str) -> "BinarizationReport":
        """The report that `to_json` wrote.

        Raises:
            InputError: where the text is no such report.
        """
        try:
            return cls([LayerChange(**layer) for layer in parse_json(text, "text")["layers"]])
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"text must be the JSON of a binarization report, but is not: {error}"
            ) from error

    def __rich__(self) -> Any:
        """A table of the layers, with the binary share below it."""
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        table = Table("layer", "before", "after", "weights", "kernel", "input", "why")
        for layer in self.layers:
            kernel, given = (
                ("binary" if binary else "float") if layer.weights else ""
                for binary in (layer.binary, layer.binary_input)
            )
            row = (layer.name, layer.before, layer.after, f"{layer.weights:,}", kernel, given, layer.reason)
            table.add_row(*cells(*row))
        return Group(table, Text(f"{share(self.binary_share)} of the weights in kernels are binary"))
