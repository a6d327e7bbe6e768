"""What became of the layers of a model that was made binary."""

import dataclasses
import json
from typing import Any

from larq_equalbits._errors import InputError
from larq_equalbits._files import parse_json
from larq_equalbits._text import Shown, cells, names_column, share


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
        from rich import box
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
        names_column(table, "layer", [layer.name for layer in self.layers], 20)
        names_column(
            table, "class", [name for layer in self.layers for name in (layer.before, layer.after)], 20
        )
        table.add_column("weights", justify="right", no_wrap=True)
        table.add_column("binary", min_width=len("kernel,"))
        table.add_column("why", overflow="fold")
        for layer in self.layers:
            became = layer.before if layer.after == layer.before else f"{layer.before} → {layer.after}"
            parts = {"kernel": layer.binary, "input": layer.binary_input}
            binary = ", ".join(filter(parts.get, parts)) or ("no" if layer.weights else "")
            table.add_row(*cells(layer.name, became, f"{layer.weights:,}", binary, layer.reason))
        return Group(table, Text(f"{share(self.binary_share)} of the weights in kernels are binary"))
