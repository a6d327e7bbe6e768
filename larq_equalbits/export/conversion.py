"""From a Keras model to a .tflite file of which every layer is accounted for."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from larq_equalbits import _files
from larq_equalbits._errors import ConversionError, InputError, check_kind, invalid
from larq_equalbits.data import Data
from larq_equalbits.export import checks, gate, integers, model_json, packing, rows, writing
from larq_equalbits.export import classifier as last
from larq_equalbits.export.feeding import input_specs, named_batches
from larq_equalbits.export.flatbuffer import read_model
from larq_equalbits.export.functions import Served, to_bytes
from larq_equalbits.export.graph import has_binary_input
from larq_equalbits.export.lowering import Leaf, lower
from larq_equalbits.export.precision import in_float32
from larq_equalbits.export.results import ConversionReport
from larq_equalbits.export.rewrites import select

TYPES = ("float32", "int8")


def _calibration(
    model: tf.keras.Model, data: Any, float_layers: str, types: Mapping[str, str]
) -> Iterator[dict[str, np.ndarray]] | None:
    """The batches to measure ranges on, None where nothing is to become an integer; checks the arguments.

    Raises:
        InputError: an unknown type, integer inputs or outputs of a float model, or integers without data.
    """
    for argument, value in {"float_layers": float_layers, **types}.items():
        if not (isinstance(value, str) and value in TYPES):
            raise invalid(argument, value, f"one of {', '.join(TYPES)}")
        if value == "int8" and float_layers != "int8":
            raise invalid(
                argument, value, 'float32, without --int8-io, unless float_layers (--float-layers) is "int8"'
            )
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
    images: Any = None,
    source: str | None = None,
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
        model: a built Keras 2 model: functional, Sequential, nested or subclassed. Of one in mixed precision a float32
            copy with the same codes is converted, and compared with the file.
        path: where to write the file, and `model.json` beside it with the suffix .json, each whole or not at all; None
            writes none. No other kind of file is replaced.
        strict: raise where a layer with binary kernel and input became float.
        verify_on: inputs to compare Keras and the file on, as `fit` and `evaluate` take them, with labels or without;
            see `verify`. None takes the test split of `images`, or without them a few dozen random inputs, in seconds;
            False leaves the comparison out.
        images: the `data.Data` that the model was trained on; its normalisation and the names of its classes go into
            `model.json`.
        source: the name of the Keras model's file, for `model.json`.
        tolerance: the share of decisions, 0 to 1, that may differ from Keras', of each output.
        bound: how far each output may be from Keras': the rms of the differences, in deviations of Keras' values over
            the inputs (0 for the same network, 1 and more for another one). Default: 0.1, and 0.5 for "int8" layers.
        decisions: what outputs decide, see `verify`.
        rewrites: names among `rewrites.REWRITES` to apply; all by default.
        float_layers: "int8" computes the layers that are not binary in 8-bit integers, see `integers`. The largest
            outputs then differ from Keras' on some inputs, so `tolerance` has to allow for it.
        calibrate_on: for "int8", inputs as for `verify_on`, on which ranges are measured: some hundred training
            images.
        input_type: "int8" for integer inputs, with "int8" layers alone. An application then gives
            ``round(x / scale) + zero_point``; `audit(path).inputs` has both numbers, and so has `model.json`.
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

    Examples:
        >>> report = convert(model, verify_on=np.zeros((1, 8, 8, 32), "f"))
        >>> [(layer.name, layer.binary) for layer in report.layers]
        [('conv', True), ('dense', False)]
        >>> report.verification.argmax_agreement
        1.0
    """
    for argument, value in {"strict": strict, "keep_names": keep_names}.items():
        check_kind(argument, value, int | np.bool_ | None, "True or False")
    gate.check(tolerance, bound)
    packing.check(binary_weights, float_layers)
    last.check(classifier)
    if images is not None and not isinstance(images, Data):
        raise invalid("images", images, "the data.Data that the model was trained on")
    if path is not None:
        _files.check_tflite_target(path)
    chosen = select(rewrites)
    checks.check(model)
    if images is not None:
        _check_images(images, model)
    model = in_float32(model)
    checks.check_input_types(model)
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
    listed, owners = rows.of_layers(read_model(content).whole, leaves, float_layers)
    if not keep_names:
        content = writing.slim(content)
    report = ConversionReport(content, listed, None, float_layers, owners)
    _check_inputs(report, leaves)
    failed = [layer for layer in report.layers if layer.expected and not layer.binary]
    if strict and failed:
        reasons = "; ".join(
            f"{layer.name} ({layer.operator or 'missing'}): {layer.reason}" for layer in failed
        )
        raise ConversionError(
            f"these layers should be binary and are not: {reasons}. strict=False (--no-strict) converts anyway."
        )
    allowed = {"tolerance": tolerance, "bound": bound, "decisions": decisions}
    if verify_on is None and images is not None:
        verify_on = images.test
    if verify_on is None:
        report = gate.verified(model, report, calibration[:1] or None, **allowed, given=False)
    elif verify_on is not False:
        report = gate.verified(model, report, verify_on, **allowed)
    if path is not None:
        with _files.replacing(path) as temporary:
            temporary.write_bytes(report.tflite)
        model_json.write(Path(path).with_suffix(".json"), report, images, source)
    return report


def _check_images(images: Data, model: tf.keras.Model) -> None:
    """Refuses images that cannot be the model's: `model.json` would describe others, and name other classes."""
    shapes = [spec.shape for spec in input_specs(model).values()]
    if not any(shape.is_compatible_with([None, *images.input_shape]) for shape in shapes):
        wanted = ", ".join(str(tuple(shape[1:])) for shape in shapes)
        raise invalid(
            "images", f"images of shape {images.input_shape}", f"of the shape that the model takes, {wanted}"
        )
    # A single unit tells two classes apart.
    classes = max(
        (max(output.shape[-1] or 0, 2) for output in model.outputs or ()), default=images.num_classes
    )
    if images.num_classes > classes:
        raise invalid(
            "images", f"{images.num_classes} classes", f"of no more classes than the model's {classes}"
        )


def _check_inputs(report: ConversionReport, leaves: list[Leaf]) -> None:
    """Refuses a file in which the input of a layer is two values where Keras has others: it is another network."""
    binary = {row.name for row in report.layers if row.binary}
    for leaf in leaves:
        if leaf.name in binary and getattr(leaf.layer, "groups", 1) != 1:
            checks.refuse_groups(leaf.name, leaf.layer)
        quantizer = getattr(leaf.layer, "input_quantizer", None)
        if leaf.name in binary and quantizer is not None and not has_binary_input(leaf.layer):
            kind = type(quantizer).__name__
            if quantizer.precision is None:
                raise InputError(
                    f"the input quantizer of the layer {leaf.name} must say how many bits it gives, but the class "
                    f"{kind} has no attribute precision: write precision = 1 in it, if that are -1 and +1."
                )
            raise ConversionError(
                f"the layer {leaf.name} became a binary operator, but its input quantizer, "
                f"{kind}, gives {quantizer.precision} bits: the file would be another network. "
                "Use ste_sign; or Larq's ste_tern with the rewrite not_binary and without ternary_weight_networks."
            )


def float_size(model: tf.keras.Model) -> int:
    """The size in bytes of the same network as a float TensorFlow Lite file, by TensorFlow's own converter.

    Examples:
        >>> float_size(model) > len(tflite)
        True
    """
    checks.check(model)
    model = in_float32(model)
    checks.check_input_types(model)
    with lower(model, []):
        served = Served(model)
        converter = tf.lite.TFLiteConverter.from_concrete_functions([served.serve], served)
        return len(converter.convert())
