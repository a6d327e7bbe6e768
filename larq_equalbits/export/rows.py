"""The rows of a conversion's report: each layer with weights, and why it is not binary where it is not."""

import larq

from larq_equalbits.export import accounting, auditing, integers, kernels, lce, owning
from larq_equalbits.export.flatbuffer import Model, Operator
from larq_equalbits.export.graph import as_written
from larq_equalbits.export.lowering import BINARY_KINDS, Leaf
from larq_equalbits.export.results import LayerReport


def _why_float(leaf: Leaf, from_file: str) -> str:
    layer = leaf.layer
    kind = next((kind for kind in BINARY_KINDS if isinstance(layer, kind)), None)
    if not leaf.kernels:
        return "no kernel quantizer: a float layer"
    if layer.input_quantizer is None and not leaf.takes_signs:
        return "no input quantizer: its input is float (1/32)"
    quantizer = (
        "the layers before"
        if leaf.takes_signs
        else getattr(layer.input_quantizer, "name", type(layer.input_quantizer).__name__)
    )
    if not leaf.has_binary_input:
        return f"input not binary: {quantizer} gives {layer.input_quantizer.precision} bits"
    if isinstance(layer, larq.layers.QuantLocallyConnected1D | larq.layers.QuantLocallyConnected2D):
        return "locally connected: LCE has no binary operator for filters of their own at each position"
    if from_file == auditing.FLOAT_INPUT and layer.data_format == "channels_last":
        return f"input not binary to LCE, which does not see a sign in {quantizer}"
    if getattr(layer, "data_format", "channels_last") == "channels_first":
        return "channels_first: LCE's binary kernels are channels_last; build the layer with channels_last"
    reasons = []
    if kind is not None and leaf.parts is None:
        reasons += [
            kernels.why_not(kernel) for name, kernel in leaf.kernels.items() if name != "depthwise_kernel"
        ]
        if not as_written(layer):
            base = kind.__name__
            reasons.append(f"{type(layer).__name__} computes otherwise than {base}, so it is not rewritten")
    return "; ".join(filter(None, reasons)) or from_file


def of_layers(model: Model, leaves: list[Leaf], float_layers: str) -> tuple[list[LayerReport], list[str]]:
    """A row for each layer, and the name of the layer of each operator with weights."""
    owners, merged = owning.owners(model, leaves)
    owned: dict[str, list[Operator]] = {}
    sizes: dict[str, int] = {}
    rows: list[LayerReport] = []
    names: list[str] = []
    for position, size in accounting.shares(model).items():
        operator = model.operators[position]
        if position in owners:
            name = owners[position].name
            owned.setdefault(name, []).append(operator)
            sizes[name] = sizes.get(name, 0) + size
        else:
            rows.append(auditing.row(model, operator, size))
            name = rows[-1].name
        names.append(name)
    for leaf in leaves:
        if leaf.name in owned:
            rows.append(_row(model, leaf, owned[leaf.name], sizes[leaf.name], float_layers))
        elif leaf.name in merged:
            rewrite = [*leaf.rewrite, f"computed by {merged[leaf.name].name}, which is the same"]
            rows.append(
                LayerReport(
                    leaf.name,
                    lce.BINARY_OPERATOR,
                    True,
                    0,
                    "1 bit",
                    "",
                    ", ".join(rewrite),
                    leaf.expected,
                )
            )
        elif leaf.kernels:
            reason = "its operator could not be found in the file"
            rows.append(
                LayerReport(leaf.name, "", False, 0, "", reason, ", ".join(leaf.rewrite), leaf.expected)
            )
    return rows, names


def _weights(model: Model, leaf: Leaf, operators: list[Operator]) -> str:
    forms = dict.fromkeys(auditing.weights(model, operator) for operator in operators)
    if list(forms) == ["1 bit"] and leaf.parts is not None and len(leaf.parts.kernels) == 2:
        # Two kernels of one bit, whose outputs add.
        return "2 bits"
    return " + ".join(filter(None, forms))


def _takes_floats(model: Model, operator: Operator) -> bool:
    """Whether the kernel of `operator` is float where it multiplies, however it is stored."""
    return len(operator.inputs) > 1 and model.tensors[operator.inputs[1]].dtype == "float32"


def _row(model: Model, leaf: Leaf, operators: list[Operator], size: int, float_layers: str) -> LayerReport:
    doubt = next(filter(None, (lce.doubt(model, operator) for operator in operators)), "")
    binary = not doubt and all(operator.name == lce.BINARY_OPERATOR for operator in operators)
    weights = _weights(model, leaf, operators)
    reason = doubt if binary or doubt else _why_float(leaf, auditing.row(model, operators[0], size).reason)
    if float_layers == "int8" and not binary and _takes_floats(model, operators[0]):
        reason += f"; not int8: {integers.why_not(leaf) or 'the converter left it float'}"
    return LayerReport(
        name=leaf.name,
        operator=" + ".join(operator.name for operator in operators),
        binary=binary,
        bytes=size,
        weights=weights,
        reason=reason,
        rewrite=", ".join(leaf.rewrite),
        expected=leaf.expected,
    )
