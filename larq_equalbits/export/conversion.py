"""From a Keras model to a .tflite file of which every layer is accounted for."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import larq
import numpy as np
import tensorflow as tf

from larq_equalbits import _files
from larq_equalbits._errors import ConversionError, InputError, invalid
from larq_equalbits.export import (
    accounting,
    auditing,
    checks,
    gate,
    integers,
    kernels,
    lce,
    model_json,
    packing,
    writing,
)
from larq_equalbits.export import classifier as last
from larq_equalbits.export.flatbuffer import Model, Operator, read_model
from larq_equalbits.export.functions import Served, to_bytes
from larq_equalbits.export.graph import as_written, has_binary_input
from larq_equalbits.export.lowering import BINARY_KINDS, Leaf, lower
from larq_equalbits.export.results import ConversionReport, LayerReport
from larq_equalbits.export.rewrites import select
from larq_equalbits.export.verification import named_batches

TYPES = ("float32", "int8")


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
            reasons.append(
                f"{type(layer).__name__} computes otherwise than {base}, so that it is not rewritten"
            )
    return "; ".join(filter(None, reasons)) or from_file


def _fingerprint(negative: np.ndarray) -> tuple[tuple[int, ...], bytes]:
    """What tells kernels apart whose filters, (out, n) with True for -1, may each be given the other sign.

    LCE turns a filter over where a negative factor comes after it and before a sign.
    """
    return negative.shape, np.packbits(negative ^ negative[:, :1]).tobytes()


def _binary_kernels(leaf: Leaf) -> list[np.ndarray]:
    """The kernels (n, out) that the leaf hands to binary convolutions."""
    if leaf.parts is not None:
        found = leaf.parts.kernels
    else:
        found = [kernel for kernel in leaf.kernels.values() if kernel.ndim == 4]
    return [kernel.reshape(-1, kernel.shape[-1]) for kernel in found]


def _binary_owners(model: Model, leaves: list[Leaf]) -> tuple[dict[int, Leaf], dict[str, Leaf]]:
    """The leaf of each binary convolution, by the operator's position; and which leaf computes for which other.

    The converter merges two layers of equal kernels that take the same input: one operator then computes both.

    Its bits tell. Among leaves of equal bits the scope in the name of its input or output does, as far as one is left
    in it: the input is often named after the layer itself, the output after the next one, whose sign it takes too.
    """
    alike: dict[Any, dict[str, Leaf]] = {}
    for leaf in leaves:
        for kernel in _binary_kernels(leaf):
            alike.setdefault(_fingerprint(kernel.T < 0), {})[leaf.name] = leaf
    found: dict[Any, list[int]] = {}
    for position, operator in enumerate(model.operators):
        if operator.name == lce.BINARY_OPERATOR:
            found.setdefault(_fingerprint(auditing.filters(model, operator)), []).append(position)
    owners: dict[int, Leaf] = {}
    merged: dict[str, Leaf] = {}
    for fingerprint in found.keys() & alike.keys():
        candidates = alike[fingerprint]
        taken: dict[str, list[int]] = {name: [] for name in candidates}
        for position in found[fingerprint]:
            operator = model.operators[position]
            for tensor in (operator.inputs[0], operator.outputs[0]):
                numbers = [n for n in auditing.scopes(model, tensor) if n < len(leaves)]
                named = [leaves[number].name for number in numbers if leaves[number].name in taken]
                if named:
                    break
            taken[min(named or taken, key=lambda name: len(taken[name]))].append(position)
        for name, positions in taken.items():
            # A layer whose sign the converter merged with that of another has no scope left.
            richest = max(taken.values(), key=len)
            if not positions and len(richest) > 1:
                positions.append(richest.pop())
            owners.update(dict.fromkeys(positions, candidates[name]))
        first = owners[found[fingerprint][0]]
        merged.update({name: first for name, positions in taken.items() if not positions})
    return owners, merged


def _owners(model: Model, leaves: list[Leaf]) -> tuple[dict[int, Leaf], dict[str, Leaf]]:
    """The leaf of each operator with weights, by the operator's position; and which leaf computes for which other.

    A binary convolution is known by its bits, everything else by its name scope, and what computes an output of the
    model (which carries the output's name) by the number of its weights.
    """
    owners, merged = _binary_owners(model, leaves)
    nameless: list[tuple[int, list[Leaf]]] = []
    for position, operator in enumerate(model.operators):
        if operator.name != lce.BINARY_OPERATOR and accounting.has_weights(model, operator):
            numbers = auditing.scopes(model, operator.outputs[0])
            scoped = [leaves[number] for number in numbers if number < len(leaves)]
            scoped = scoped or _recurrent(leaves, model.tensors[operator.outputs[0]].name)
            # A fused operator carries the scopes of all its layers, as far as the converter leaves their names: the one
            # with a kernel is meant.
            with_kernel = sorted(filter(_kernel_size, scoped), key=lambda leaf: not leaf.kernels)
            if with_kernel:
                owners[position] = with_kernel[0]
            else:
                nameless.append((position, scoped))
    for position, scoped in nameless:
        weights = auditing.kernel_size(model, model.operators[position])
        taken = {id(leaf) for leaf in owners.values()}
        alike = [leaf for leaf in leaves if id(leaf) not in taken and _kernel_size(leaf) == weights]
        if alike or scoped:
            owners[position] = (alike or scoped)[0]
    return owners, merged


def _recurrent(leaves: list[Leaf], name: str) -> list[Leaf]:
    """The cells whose layers stand in the name of a tensor: Keras' loops compute for the cell without calling it."""
    parts = set(re.split("[/;]", name))
    return [leaf for leaf in leaves if leaf.name.split("/")[-2:-1] and leaf.name.split("/")[-2] in parts]


def _kernel_size(leaf: Leaf) -> int:
    """The number of weights in the largest kernel of the leaf, 0 without one."""
    own = [kernel.size for kernel in leaf.kernels.values()]
    for name in ("kernel", "depthwise_kernel", "pointwise_kernel"):
        kernel = leaf.replaced.get(name, getattr(leaf.layer, name, None))
        if kernel is not None and name not in leaf.kernels:
            own.append(int(np.prod(kernel.shape)))
    return max(own, default=0)


def _rows(model: Model, leaves: list[Leaf], float_layers: str) -> tuple[list[LayerReport], list[str]]:
    """A row for each layer, and the name of the layer of each operator with weights."""
    owners, merged = _owners(model, leaves)
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
    binary = all(operator.name == lce.BINARY_OPERATOR for operator in operators)
    weights = _weights(model, leaf, operators)
    reason = "" if binary else _why_float(leaf, auditing.row(model, operators[0], size).reason)
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


def _calibration(
    model: tf.keras.Model, data: Any, float_layers: str, types: Mapping[str, str]
) -> Iterator[dict[str, np.ndarray]] | None:
    """The batches to measure ranges on, None where nothing is to become an integer; checks the arguments.

    Raises:
        InputError: an unknown type, integer inputs or outputs of a float model, or integers without data.
    """
    for argument, value in {"float_layers": float_layers, **types}.items():
        if value not in TYPES:
            raise invalid(argument, value, f"one of {', '.join(TYPES)}")
        if value == "int8" and float_layers != "int8":
            raise invalid(argument, value, 'float32 unless float_layers is "int8"')
    ends = {
        "input_type": tf.nest.flatten(model.save_spec()[0]),
        "output_type": getattr(model, "outputs", None),
    }
    for argument, tensors in ends.items():
        for tensor in tensors or ():
            if types[argument] == "int8" and tensor.dtype != tf.float32:
                wanted = f"float32 for model {model.name!r}, which has {tensor.dtype.name} there already"
                raise invalid(argument, "int8", wanted)
    if float_layers == "float32":
        return None
    if data is None:
        raise InputError(
            "calibrate_on must be inputs to measure ranges on, for instance some hundred training images, but got None."
        )
    return named_batches(model, data)


def _kept(
    batches: Iterator[dict[str, np.ndarray]], first: list[dict[str, np.ndarray]]
) -> Iterator[dict[str, np.ndarray]]:
    """The batches; the inputs of the first one, a few dozen at most, are added to `first`."""
    for batch in batches:
        if not first:
            first.append({name: values[:32] for name, values in batch.items()})
        yield batch


def convert(
    model: tf.keras.Model,
    path: str | os.PathLike[str] | None = None,
    strict: bool = True,
    *,
    verify_on: Any = None,
    tolerance: float = 0.0,
    bound: float | None = None,
    decisions: Any = None,
    rewrites: Sequence[str] | None = None,
    float_layers: str = "float32",
    calibrate_on: Any = None,
    input_type: str = "float32",
    output_type: str = "float32",
    binary_weights: str = "int8",
    classifier: str = "float32",
    keep_names: bool = False,
) -> ConversionReport:
    """Converts `model` through Larq Compute Engine, reads the file back, and verifies it.

    Kernels become constants first (whatever their quantizers are made of), layers that LCE has no binary operator for
    are rewritten exactly, and the file is read back: each layer with weights is accounted for. The caller's model
    is never touched.

    Args:
        model: a built Keras 2 model with float32 layers: functional, Sequential, nested or subclassed.
        path: where to write the file, and `model.json` beside it with the suffix .json, each whole or not at all; None
            writes none. No other kind of file is replaced.
        strict: raise where a layer with binary kernel and input became float.
        verify_on: inputs to compare Keras and the file on, as `fit` and `evaluate` take them, with labels or without;
            see `verify`. None takes a few dozen random inputs, in seconds; False leaves the comparison out.
        tolerance: the share of decisions, 0 to 1, that may differ from Keras', of each output.
        bound: how far each output may be from Keras': the rms of the differences, in deviations of Keras' values over
            the inputs (0 for the same network, 1 and more for another one). Default: 0.1, and 0.5 for "int8" layers.
        decisions: what outputs decide, see `verify`.
        rewrites: names among `rewrites.REWRITES` to apply; all by default.
        float_layers: "int8" computes the layers that are not binary in 8-bit integers, see `integers`. The largest
            outputs then differ from Keras' on some inputs, so that `tolerance` has to allow for it.
        calibrate_on: for "int8", inputs as for `verify_on`, on which ranges are measured: some hundred training
            images.
        input_type: "int8" for integer inputs, with "int8" layers alone. An application then gives
            ``round(x / scale) + zero_point``; `audit(path).inputs` has both numbers, and so has the `model.json` that
            `save` writes.
        output_type: the same of the outputs.
        binary_weights: how binary kernels are stored whose input is float, for which LCE has no operator: "int8", one
            byte a weight, with the same answers at the same speed on every runtime; "bits", one bit a weight (two
            where it is pruned), for LCE's runtime, which unpacks them at every inference, and larq-equalbits-runtime,
            which does so once; "float32". The report's `runtimes` says what runs the file.
        classifier: "float16" stores the kernel before each output, where it is float, in half its bytes; the outputs
            move by its rounding.
        keep_names: keep the names of inner tensors in the file, for profilers; without them it is smaller, and
            `model.json` tells the layers.

    Returns:
        The file's bytes, a row for each layer, and the verification.

    Raises:
        InputError: a model that cannot be converted, or a wrong argument; the message says why, and what to do.
        ConversionError: strict, and a layer is float that should be binary; or outputs differ by more than `tolerance`
            or `bound` allows. Nothing is written then.
        ImportError: without larq-compute-engine.
    """
    gate.check(tolerance, bound)
    packing.check(binary_weights, float_layers)
    last.check(classifier)
    if path is not None:
        model_json.check_target(path)
    chosen = select(rewrites)
    checks.check(model)
    batches = _calibration(
        model, calibrate_on, float_layers, {"input_type": input_type, "output_type": output_type}
    )
    calibration: list[dict[str, np.ndarray]] = []
    with lower(model, chosen) as lowering:
        ranges = None if batches is None else integers.insert(model, lowering, _kept(batches, calibration))
        served = Served(
            model,
            ranges.inputs if ranges and input_type == "int8" else None,
            ranges.outputs if ranges and output_type == "int8" else None,
        )
        content = to_bytes(served, tf.as_dtype(input_type), tf.as_dtype(output_type))
    content = last.pack(packing.pack(content, binary_weights), classifier)
    leaves = list(lowering.leaves.values())
    rows, owners = _rows(read_model(content).whole, leaves, float_layers)
    if not keep_names:
        content = writing.slim(content)
    report = ConversionReport(content, rows, None, float_layers, owners)
    _check_inputs(report, leaves)
    failed = [layer for layer in report.layers if layer.expected and not layer.binary]
    if strict and failed:
        reasons = "; ".join(
            f"{layer.name} ({layer.operator or 'missing'}): {layer.reason}" for layer in failed
        )
        raise ConversionError(
            f"these layers should be binary and are not: {reasons}. strict=False converts anyway."
        )
    allowed = {"tolerance": tolerance, "bound": bound, "decisions": decisions}
    if verify_on is None:
        report = gate.sampled(model, report, inputs=calibration[:1] or None, **allowed)
    elif verify_on is not False:
        report = gate.verified(model, report, verify_on, **allowed)
    if path is not None:
        save(report, path)
    return report


def _check_inputs(report: ConversionReport, leaves: list[Leaf]) -> None:
    """Refuses a file in which the input of a layer is two values where Keras has others: it is another network."""
    binary = {row.name for row in report.layers if row.binary}
    for leaf in leaves:
        quantizer = getattr(leaf.layer, "input_quantizer", None)
        if leaf.name in binary and quantizer is not None and not has_binary_input(leaf.layer):
            raise ConversionError(
                f"the layer {leaf.name} became a binary operator, but its input quantizer, "
                f"{type(quantizer).__name__}, gives {quantizer.precision} bits: the file would be another network. "
                "Use ste_sign; or Larq's ste_tern with the rewrite not_binary and without ternary_weight_networks."
            )


def save(
    report: ConversionReport, path: str | os.PathLike[str], images: Any = None, source: str | None = None
) -> None:
    """Writes the file to `path`, and what describes it beside it, with the suffix .json and the file's hash.

    Args:
        report: the conversion.
        path: a new file, or a .tflite that is replaced.
        images: the `data.Data` that the model was trained on, which tells how images are normalised.
        source: the name of the Keras model's file.

    Raises:
        InputError: another kind of file is there under either name, or the suffix is .json.
    """
    model_json.check_target(path)
    with _files.replacing(path) as temporary:
        temporary.write_bytes(report.tflite)
    model_json.write(Path(path).with_suffix(".json"), report, images, source)


def float_size(model: tf.keras.Model) -> int:
    """The size in bytes of the same network as a float TensorFlow Lite file, by TensorFlow's own converter."""
    checks.check(model)
    with lower(model, []):
        served = Served(model)
        converter = tf.lite.TFLiteConverter.from_concrete_functions([served.serve], served)
        return len(converter.convert())
