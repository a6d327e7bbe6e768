"""Audit: what a .tflite file is made of, read back from the file itself."""

import dataclasses
import json
import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from larq_equalbits._text import Shown
from larq_equalbits.export import accounting, constants, kernels, lce, model_json
from larq_equalbits.export.flatbuffer import Model, Operator, read_model
from larq_equalbits.export.interpreter import Source, read_bytes
from larq_equalbits.export.lce import BINARY_OPERATOR
from larq_equalbits.export.results import LayerReport, table

_FLOAT_REASONS = {
    "DEPTHWISE_CONV_2D": "depthwise (or grouped): LCE has no binary operator for it",
    "CONV_3D": "3-D: LCE has no binary operator for it",
    "TRANSPOSE_CONV": "transposed: LCE has no binary operator for it",
    "CONV_3D_TRANSPOSE": "3-D transposed: LCE has no binary operator for it",
    "BATCH_MATMUL": "a matrix product of two computed tensors",
    "GATHER": "a table to look up in",
    "EMBEDDING_LOOKUP": "a table to look up in",
}

FLOAT_INPUT = "float input: no input quantizer right before it"
# What stands between a quantizer and a convolution without changing a value.
_LAYOUT = {"PAD", "PADV2", "RESHAPE", "TRANSPOSE", "SPACE_TO_BATCH_ND", "EXPAND_DIMS"}
_MOST_LAYOUT = 32
# Of a file in which layers share their weights more often than this allows, not all weights are looked at for a reason.
_LOOKED_AT_PER_BYTE = 16


@dataclasses.dataclass(frozen=True)
class Audit(Shown):
    """What a file holds.

    Attributes:
        bytes: the file's size.
        structure: what of it is no constant: tables, names and metadata. With the bytes of all rows it is the whole.
        layers: a row for each operator with weights, those inside loops and conditions after the others; last, by
            `model.json`, the layers that another one computes for.
        operators: how often each operator stands in the file.
        inputs: name, shape and type of each input, and of integers scale and zero point.
        outputs: the same of each output.
        tensors: name, shape, type and bytes of each tensor, 0 bytes for what is computed; a constant that several
            tensors share counts for each.

    Examples:
        >>> audited = audit(tflite)
        >>> audited.bytes == len(tflite) == audited.structure + sum(layer.bytes for layer in audited.layers)
        True
    """

    bytes: int
    structure: int
    layers: list[LayerReport]
    operators: dict[str, int]
    inputs: list[dict[str, Any]]
    outputs: list[dict[str, Any]]
    tensors: list[dict[str, Any]]

    def to_dict(self) -> dict[str, Any]:
        """The attributes as plain values."""
        return dataclasses.asdict(self)

    def to_json(self) -> str:
        """The attributes as JSON."""
        return json.dumps(self.to_dict(), indent=2)

    def __rich__(self) -> Any:
        """A table of the layers, with the operators and the count of tensors below it."""
        from rich.console import Group
        from rich.text import Text

        counted = ", ".join(f"{count} {name}" for name, count in self.operators.items())
        size = f"{self.bytes:,} bytes, {self.structure:,} of them structure; {len(self.tensors)} tensors"
        return Group(table(self.layers), Text(f"{size}; operators: {counted}"))


def _before(operator: Operator, producers: Mapping[int, Operator]) -> list[str]:
    """The names of the operators before `operator`, back to the first that changes more than the layout."""
    names: list[str] = []
    source = producers.get(operator.inputs[0]) if operator.inputs else None
    while source is not None and len(names) < _MOST_LAYOUT:
        names.append(source.name)
        lays_out = source.name in _LAYOUT and source.inputs
        source = producers.get(source.inputs[0]) if lays_out else None
    return names


def _why_not(model: Model, kernel: int) -> str:
    """Why LCE takes the kernel of a convolution or dense operator for float, as far as its values are known."""
    values = constants.values(model, kernel)
    if values is None or values.ndim < 2 or values.dtype != np.float32:
        return ""
    return kernels.why_not(np.moveaxis(values, 0, -1))


def _reason(model: Model, operator: Operator, look: bool) -> str:
    if not accounting.has_weights(model, operator):
        return "no weights: constants alone"
    if operator.name in _FLOAT_REASONS:
        return _FLOAT_REASONS[operator.name]
    if len(operator.inputs) < 2:
        return "the file names no kernel for it"
    before = _before(operator, model.producers)
    if before[-1:] != ["LceDequantize"]:
        return FLOAT_INPUT
    kernel = model.tensors[operator.inputs[1]]
    if operator.inputs[1] not in constants.find(model):
        return "kernel is not a constant: the quantizer was not folded"
    dense = operator.name == "FULLY_CONNECTED"
    if not dense and kernel.shape[-1:] != model.tensors[operator.inputs[0]].shape[-1:]:
        return "grouped: LCE has no binary operator that runs it"
    if "TRANSPOSE" in before:
        return "channels_first: LCE's binary kernels are channels_last"
    reason = _why_not(model, operator.inputs[1]) if look else ""
    if reason:
        return reason
    if dense:
        return "dense: LCE has no binary dense operator, but would have one for it as a convolution"
    if "PADV2" in before:
        return "padded with another value than 0 or 1, for which LCE has no binary operator"
    if "RESHAPE" in before:
        return "one-dimensional: LCE would have a binary operator for it as a convolution of height 1"
    return "the converter left it float"


def weights(model: Model, operator: Operator) -> str:
    """How the weights of `operator` are stored: "1 bit", "2 bits", or the type of its largest constant."""
    if operator.name == BINARY_OPERATOR and not lce.doubt(model, operator):
        return "1 bit"
    largest = _largest(model, operator)
    return "" if largest is None else largest[1].form


def kernel_size(model: Model, operator: Operator) -> int:
    """The number of weights in the operator's largest constant."""
    largest = _largest(model, operator)
    return 0 if largest is None else largest[0]


def kernel_buffers(model: Model, operator: Operator) -> tuple[int, ...]:
    """Where the operator's largest constant lies in the file; nowhere for one without constants."""
    largest = _largest(model, operator)
    return () if largest is None else tuple(model.tensors[index].buffer for index in largest[1].tensors)


def _largest(model: Model, operator: Operator) -> tuple[int, constants.Stored] | None:
    """The largest constant that `operator` takes, with the number of values that it takes."""
    taken = constants.of(model, operator)
    sizes = {place: math.prod(model.tensors[operator.inputs[place]].shape) for place in taken}
    place = max(sizes, key=lambda place: sizes[place], default=None)
    return None if place is None else (sizes[place], taken[place])


def scopes(model: Model, tensor: int) -> list[int]:
    """The numbers of the name scopes made by the export that stand in the name of the tensor at the index `tensor`.

    The converter cuts long names, so only a scope's number is sure to be whole.
    """
    return [int(number) for number in re.findall(r"(?:^|[;/])q(\d+)_", model.tensors[tensor].name)]


def filters(model: Model, operator: Operator) -> np.ndarray:
    """The kernel of an LceBconv2d of a file that LCE wrote as booleans (out, size), True for -1.

    The file pads the channels of each position to whole words of 32 bits; how many there are, the operator says.
    """
    kernel = model.tensors[operator.inputs[1]]
    out, height, width, words = kernel.shape
    channels = lce.attributes(operator)["channels_in"]
    bits = np.unpackbits(kernel.data, bitorder="little").reshape(out, height, width, 32 * words)
    return bits[..., :channels].reshape(out, -1).astype(bool)


def row(model: Model, operator: Operator, size: int, look: bool = True) -> LayerReport:
    """What one operator is, to which `size` bytes of constants belong, seen from the file alone.

    With `look` the values of its weights are looked at where they tell why it is float.
    """
    doubt = lce.doubt(model, operator)
    binary = operator.name == BINARY_OPERATOR and not doubt
    name = model.tensors[operator.outputs[0]].name if operator.outputs else ""
    return LayerReport(
        name=re.sub(r"^q\d+_", "", name.split(";")[0]),
        operator=operator.name,
        binary=binary,
        bytes=size,
        weights=weights(model, operator),
        reason=doubt or ("" if binary else _reason(model, operator, look)),
    )


def _as_recorded(found: LayerReport, name: str, known: LayerReport | None) -> LayerReport:
    """What the file shows of an operator of the layer `name`, with what only its conversion knew."""
    if known is None:
        return dataclasses.replace(found, name=name)
    return dataclasses.replace(
        found,
        name=name,
        weights=found.weights if " + " in known.operator else known.weights,
        reason=found.reason and (known.reason or found.reason),
        rewrite=known.rewrite,
        expected=known.expected,
    )


def audit(tflite: Source) -> Audit:
    """Reads a .tflite file back: its operators, its layers, and which of them are binary.

    Nothing of the file is run, so a damaged one does no harm.

    Args:
        tflite: path or bytes of the file, of whatever LCE model. Beside a path, the `model.json` that was written with
            the file tells the layers' names, what was done to them, and why they are not binary, as `convert` did;
            without one the names are those of tensors, or numbers, and the reasons those that the file shows.

    Raises:
        InputError: a file that is no .tflite, or a damaged one.

    Examples:
        >>> print(*(layer.operator for layer in audit(tflite).layers))
        LceBconv2d FULLY_CONNECTED
    """
    content = read_bytes(tflite)
    model = read_model(content).whole
    operators: dict[str, int] = {}
    for operator in model.operators:
        operators[operator.name] = operators.get(operator.name, 0) + 1
    shares = accounting.shares(model)
    report = None if isinstance(tflite, bytes) else model_json.recorded(tflite, content)
    left = _LOOKED_AT_PER_BYTE * len(content)
    layers = []
    for position, size in shares.items():
        left -= kernel_size(model, model.operators[position])
        layers.append(row(model, model.operators[position], size, look=left >= 0))
    layers = [
        found if found.name else dataclasses.replace(found, name=f"{found.operator} {position}")
        for found, position in zip(layers, shares, strict=True)
    ]
    if report is not None and len(report.owners) == len(layers):
        known = {layer.name: layer for layer in report.layers}
        layers = [
            _as_recorded(found, name, known.get(name))
            for found, name in zip(layers, report.owners, strict=True)
        ]
        layers += [layer for layer in report.layers if layer.name not in report.owners]
    return Audit(
        len(content),
        accounting.structure(model, len(content)),
        layers,
        operators,
        [tensor.describe() for tensor in model.inputs],
        [tensor.describe() for tensor in model.outputs],
        [tensor.describe() | {"bytes": tensor.bytes} for tensor in model.tensors],
    )
