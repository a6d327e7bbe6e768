"""What a conversion says about itself: a row per layer, the verification, and the bytes."""

import dataclasses
import functools
import json
from typing import Any

from larq_equalbits._errors import InputError, check_fields, check_kind, fits
from larq_equalbits._files import parse_json
from larq_equalbits._text import Shown, cells, names_column, share
from larq_equalbits.export import accounting, judging, runtimes
from larq_equalbits.export.flatbuffer import Model, read_model
from larq_equalbits.export.judging import OutputVerification


@dataclasses.dataclass(frozen=True)
class LayerReport:
    """What became of one layer that has weights.

    Attributes:
        name: the layer's name, with those of the models around it; of a bare file, its tensor's name.
        operator: the operators that it became, joined by " + ".
        binary: whether all of its multiplications run on binary kernels.
        bytes: what is stored in the file for its operators and for those after it up to the next layer with weights, as
            normalizations and activations. What several layers share counts for the first.
        weights: how its weights are stored: "1 bit", "2 bits" (pruned), "int8" or "float32"; "" where it has none in
            the file, and joined by " + " where it has several.
        reason: why it is not binary where it is not.
        rewrite: what was done to the layer before conversion; "" for nothing.
        expected: whether the layer should be binary: it has a binary kernel and a binary input.

    Examples:
        >>> LayerReport("conv", "LceBconv2d", binary=True, bytes=1152).to_dict()["operator"]
        'LceBconv2d'
    """

    name: str
    operator: str
    binary: bool
    bytes: int
    weights: str = ""
    reason: str = ""
    rewrite: str = ""
    expected: bool = False

    def to_dict(self) -> dict[str, Any]:
        """The attributes as plain values."""
        return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True)
class Verification:
    """How a file's outputs compare with Keras'.

    Attributes:
        images: how many inputs were compared.
        max_abs_diff: largest absolute difference between any two outputs.
        argmax_agreement: the share of equal decisions, of the output where it is smallest; a decision is the largest
            value along the last axis, the side of a threshold, or a value.
        keras_accuracy: share of right decisions in Keras, of the first output with labels; None without labels.
        tflite_accuracy: the same of the file.
        first_difference: where a file without integers does not pass: a clause on the first layer whose outputs
            part, found by converting once more; "" elsewhere.
        outputs: what was found for each output.
        integers: whether the file computes in integers, so differences are larger.
        generated: whether nobody gave the inputs: they are random, or of those that ranges were measured on.

    Examples:
        >>> verification = Verification(images=100, max_abs_diff=1e-6, argmax_agreement=0.99)
        >>> verification.differing, verification.within(0.01), verification.within(0.0)
        (1, True, False)
    """

    images: int
    max_abs_diff: float
    argmax_agreement: float
    keras_accuracy: float | None = None
    tflite_accuracy: float | None = None
    first_difference: str = ""
    outputs: list[OutputVerification] = dataclasses.field(default_factory=list)
    integers: bool = False
    generated: bool = False

    @classmethod
    def of(cls, images: int, outputs: list[OutputVerification], integers: bool) -> "Verification":
        """The verification that `outputs` make."""
        labelled = next((output for output in outputs if output.keras_accuracy is not None), None)
        return cls(
            images,
            max((output.max_abs_diff for output in outputs), default=0.0),
            min((output.agreement for output in outputs), default=1.0),
            labelled.keras_accuracy if labelled else None,
            labelled.tflite_accuracy if labelled else None,
            outputs=outputs,
            integers=integers,
        )

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Verification":
        """The verification of which `to_dict` gave these values."""
        outputs = [OutputVerification(**output) for output in values.get("outputs", [])]
        return cls(**{**values, "outputs": outputs})

    def to_dict(self) -> dict[str, Any]:
        """The attributes as plain values."""
        return dataclasses.asdict(self)

    @property
    def bound(self) -> float:
        """How far outputs may be from Keras' where nobody says otherwise; see `judging.OutputVerification.distance`."""
        return judging.INTEGER_BOUND if self.integers else judging.BOUND

    @property
    def differing(self) -> int:
        """How many decisions differ, of the output where their share is largest."""
        worst = max(self.outputs, key=lambda output: 1 - output.agreement, default=None)
        return worst.differing if worst else self.images - round(self.argmax_agreement * self.images)

    def within(self, tolerance: float, bound: float | None = None) -> bool:
        """Whether no output has more than the share `tolerance` (0 to 1) of differing decisions, and none is further
        from Keras than `bound` deviations."""
        if not self.outputs:
            return self.differing <= tolerance * self.images + 1e-6
        limit = self.bound if bound is None else bound
        return all(output.within(tolerance, limit) for output in self.outputs)


@dataclasses.dataclass(frozen=True)
class ConversionReport(Shown):
    """A converted model and what is known about it.

    Attributes:
        tflite: the file's bytes.
        layers: a row for each layer with weights, in the order of the file.
        verification: None where no inputs were given to verify on.
        float_layers: "float32" or "int8": the type of the layers that are not binary.
        owners: the name of the layer of each operator with weights, in the order of the file, by which `audit` knows
            the layers of a file without names.
        runtimes: the names of what runs the file.
        structure: what of the file is no constant, in bytes.

    Examples:
        >>> report = ConversionReport(tflite, lqe.export.audit(tflite).layers)
        >>> ConversionReport.from_json(report.to_json(), tflite).layers == report.layers
        True
    """

    tflite: bytes = dataclasses.field(repr=False)
    layers: list[LayerReport]
    verification: Verification | None = None
    float_layers: str = "float32"
    owners: list[str] = dataclasses.field(default_factory=list, repr=False)

    def __post_init__(self) -> None:
        """Checks the file's bytes."""
        check_kind("tflite", self.tflite, bytes, "the bytes of a .tflite file")

    @functools.cached_property
    def _read(self) -> Model:
        return read_model(self.tflite)

    @functools.cached_property
    def runtimes(self) -> tuple[str, ...]:
        """What runs the file: all of `runtimes.NAMES`, or those that know LCE's operators."""
        return runtimes.of(self._read)

    @functools.cached_property
    def structure(self) -> int:
        """What of the file is no constant, in bytes; with the bytes of all layers it is the whole."""
        return accounting.structure(self._read.whole, len(self.tflite))

    def to_dict(self) -> dict[str, Any]:
        """Everything but the bytes, as plain values."""
        return {
            "tflite_bytes": len(self.tflite),
            "structure_bytes": self.structure,
            "float_layers": self.float_layers,
            "runtimes": list(self.runtimes),
            "layers": [layer.to_dict() for layer in self.layers],
            "owners": self.owners,
            "verification": self.verification.to_dict() if self.verification else None,
        }

    def to_json(self) -> str:
        """Everything but the bytes as JSON; `from_json` takes the bytes back beside it."""
        return json.dumps(self.to_dict(), indent=2)

    @classmethod
    def from_json(cls, text: str, tflite: bytes) -> "ConversionReport":
        """The report that `to_json` wrote about the file with these bytes.

        Raises:
            InputError: where the text is no such report, or tells of a file of another size.
        """
        try:
            values = parse_json(text, "text")
            if not fits(values.get("owners", []), list[str]):
                raise ValueError("owners are no names of layers")
            report = cls(
                tflite,
                [LayerReport(**layer) for layer in values["layers"]],
                Verification.from_dict(values["verification"]) if values["verification"] else None,
                values["float_layers"],
                values.get("owners", []),
            )
            size = values["tflite_bytes"]
            check_fields(*report.layers)
            if report.verification is not None:
                check_fields(report.verification, *report.verification.outputs)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"text must be the JSON of a conversion report, but is not: {error}") from error
        if size != len(tflite):
            raise InputError(
                f"tflite must be the file of the report, of {size} bytes, but has {len(tflite)}."
            )
        return report

    def __rich__(self) -> Any:
        """A table of the layers, with the verification below it."""
        from rich.console import Group
        from rich.text import Text

        described = runtimes.describe(self._read)
        size = f"{len(self.tflite):,} bytes, {self.structure:,} of them structure; runs on {described}"
        lines: list[Any] = [table(self.layers), Text(size)]
        if self.verification is not None:
            lines.append(Text(describe(self.verification)))
        return Group(*lines)


def table(layers: list[LayerReport]) -> Any:
    """The rows as a rich table."""
    from rich import box
    from rich.table import Table

    result = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    names_column(result, "layer", [layer.name for layer in layers], 20)
    for name in ("operator", "binary", "weights"):
        result.add_column(name, no_wrap=True)
    result.add_column("bytes", justify="right", no_wrap=True)
    result.add_column("why not binary, or rewritten")
    for layer in layers:
        mark = "yes" if layer.binary else ("NO" if layer.expected else "no")
        note = layer.reason + (f" ({layer.rewrite})" if layer.reason and layer.rewrite else layer.rewrite)
        result.add_row(*cells(layer.name, layer.operator, mark, layer.weights, f"{layer.bytes:,}", note))
    return result


def describe(verification: Verification) -> str:
    """One sentence on a verification."""
    classes = all(output.rule == "argmax" for output in verification.outputs)
    inputs = "random inputs" if verification.generated and not verification.integers else "inputs"
    same = "same class on" if classes else "same decisions:"
    sentence = (
        f"{verification.images} {inputs} against Keras: {same} {share(verification.argmax_agreement)}, "
        f"largest difference {verification.max_abs_diff:.3g}"
    )
    if verification.keras_accuracy is not None:
        sentence += (
            f"; accuracy {verification.keras_accuracy:.4f} in Keras, {verification.tflite_accuracy:.4f} here"
        )
    if len(verification.outputs) > 1:
        each = (_of_output(output) for output in verification.outputs)
        sentence += f" (by output: {', '.join(each)})"
    return sentence + (f"; {verification.first_difference}" if verification.first_difference else "")


def _of_output(output: OutputVerification) -> str:
    accuracy = (
        ""
        if output.keras_accuracy is None
        else f", accuracy {output.keras_accuracy:.4f} and {output.tflite_accuracy:.4f}"
    )
    return f"{output.name} {share(output.agreement)}{accuracy}"
