"""A model as one function of named inputs, and that function through LCE's converter."""

import keyword
import re
import tempfile
from collections.abc import Collection, Mapping
from typing import Any

import tensorflow as tf
from larq.quantized_variable import QuantizedVariable
from tensorflow.lite.python import schema_py_generated as schema

from larq_equalbits._errors import ConversionError, InputError, require
from larq_equalbits._keras.building import eagerly
from larq_equalbits.export import operands, writing
from larq_equalbits.export.flatbuffer import read_model

Range = tuple[float, float]
# Operators beside the schema's and LCE's that every TensorFlow Lite has.
_KNOWN = ("AudioSpectrogram", "Mfcc", "NumericVerify", "TFLite_Detection_PostProcess")
# With the constants that Keras gives them, they end the process inside the converter.
_CRASHING = ("Bincount", "DenseBincount")


def input_names(model: tf.keras.Model, count: int) -> list[str]:
    """The names of the inputs of `model`, in its order."""
    return list(getattr(model, "input_names", None) or [f"input_{i + 1}" for i in range(count)])


def output_names(model: tf.keras.Model, count: int) -> list[str]:
    """The names of the outputs of `model`, in its order."""
    names = list(getattr(model, "output_names", None) or [])
    return names if len(names) == count else [f"output_{i + 1}" for i in range(count)]


def _keys(structure: Any, names: list[str]) -> dict[str, str]:
    """The names of what stands in a mapping, by its keys; none for another structure."""
    named = tf.nest.pack_sequence_as(structure, names)
    plain = isinstance(named, Mapping) and all(isinstance(name, str) for name in named.values())
    return {str(key): name for key, name in named.items()} if plain else {}


def input_keys(model: tf.keras.Model) -> dict[str, str]:
    """The names of the inputs of `model` by the keys of the mapping that it takes."""
    (structure, *_), _ = model.save_spec()
    return _keys(structure, input_names(model, len(tf.nest.flatten(structure))))


def output_keys(model: tf.keras.Model) -> dict[str, str]:
    """The names of the outputs of `model` by the keys of the mapping that it answers with, as far as it is known."""
    structure = getattr(model, "_nested_outputs", None)
    return _keys(structure, output_names(model, len(tf.nest.flatten(structure))))


def by_name(values: Mapping[str, Any], names: Collection[str], keys: Mapping[str, str]) -> dict[str, Any]:
    """`values` by `names`, where they may be by the `keys` of the model's mapping instead, as `fit` takes them."""
    if set(values) <= set(names):
        return dict(values)
    return {keys.get(key, key): value for key, value in values.items()}


def arrange(model: tf.keras.Model, named: Mapping[str, Any]) -> Any:
    """Inputs by name in the structure in which `model` takes them."""
    (structure, *_), _ = model.save_spec(dynamic_batch=False)
    names = input_names(model, len(tf.nest.flatten(structure)))
    return tf.nest.pack_sequence_as(structure, [named[name] for name in names])


def bounded(values: tf.Tensor, limits: Range) -> tf.Tensor:
    """`values` through a fake-quant operator, which tells the converter that they lie between `limits`."""
    return tf.quantization.fake_quant_with_min_max_args(values, *limits)


def _argument_names(names: list[str]) -> list[str]:
    """The names of inputs, numbered ones where TensorFlow's functions cannot take one of them for an argument's."""
    fit = all(
        re.fullmatch("[a-zA-Z][a-zA-Z0-9_]*", name) and not keyword.iskeyword(name) and name != "self"
        for name in names
    )
    return names if fit else [f"input_{i + 1}" for i in range(len(names))]


class Served(tf.Module):
    """A model as one function of named inputs, with a batch of one.

    Larq's variables stay out of the module: it holds the plain ones inside them.

    Args:
        model: a model that is lowered.
        inputs: the ranges of the inputs by name, where they are to be integers.
        outputs: the ranges of the outputs by name, where they are to be integers.
        watched: filled while the model is traced with further tensors to yield, by name.
    """

    def __init__(
        self,
        model: tf.keras.Model,
        inputs: Mapping[str, Range] | None = None,
        outputs: Mapping[str, Range] | None = None,
        watched: Mapping[str, tf.Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.held = [
            variable.latent_variable if isinstance(variable, QuantizedVariable) else variable
            for variable in model.variables
        ]
        (structure, *_), _ = model.save_spec(dynamic_batch=False)
        flat = tf.nest.flatten(structure)
        specs = [tf.TensorSpec([1, *spec.shape[1:]], spec.dtype) for spec in flat]

        names = input_names(model, len(flat))
        # Under which names they are served, and the model's own.
        self.renamed = dict(zip(_argument_names(names), names, strict=True))

        def serve(**arguments: tf.Tensor) -> dict[str, tf.Tensor]:
            named = {self.renamed[argument]: value for argument, value in arguments.items()}
            given = {name: bounded(value, inputs[name]) if inputs else value for name, value in named.items()}
            answers = tf.nest.flatten(model(arrange(model, given), training=False))
            graph = tf.compat.v1.get_default_graph()
            # What the branch of a condition or the body of a loop computed cannot leave it.
            found = {name: value for name, value in (watched or {}).items() if value.graph is graph}
            found |= zip(output_names(model, len(answers)), answers, strict=True)
            moved = operands.fit(graph)
            found = {name: moved.get(value.name, value) for name, value in found.items()}
            return found | {name: bounded(found[name], limits) for name, limits in (outputs or {}).items()}

        with eagerly():
            self.serve = tf.function(serve).get_concrete_function(
                **dict(zip(self.renamed, specs, strict=True))
            )


def to_bytes(served: Served, input_type: tf.DType, output_type: tf.DType) -> bytes:
    """The .tflite file that LCE makes of `served`, with inputs and outputs of these types.

    Raises:
        InputError: an operator that ends the process inside the converter, or that no interpreter has; names it.
            Tables, and weights of layers that are none of the model's.
        ConversionError: what else the converter does not take, with its first error.
    """
    converter = require("deploy", "larq_compute_engine")
    definition = served.serve.graph.as_graph_def()
    nodes = [*definition.node, *(node for each in definition.library.function for node in each.node_def)]
    for node in nodes:
        if node.op in _CRASHING:
            raise InputError(
                f"model must have no operator {node.op} ({node.name}), which crashes LCE's converter: Discretization, "
                'CategoryEncoding and Hashing have it with any output_mode but "int". Compute that outside the model.'
            )
        if node.op == "Erfc":
            raise InputError(
                f"model must have no operator Erfc ({node.name}), which no interpreter has: gelu has it with "
                "approximate=False. Use tf.nn.gelu(x, approximate=True)."
            )
    with tempfile.TemporaryDirectory() as folder:
        try:
            tf.saved_model.save(served, folder, signatures={"serving_default": served.serve})
        except AssertionError as error:
            read = re.search("Trackable referencing this tensor = (.*)", str(error))
            raise InputError(
                "model must read nothing but weights of its own layers, but reads "
                f"{read[1] if read else 'another variable'}: look values up in tables outside the model, and make a "
                "layer that a function or a Lambda calls one of the model's layers."
            ) from error
        try:
            content = converter.convert_saved_model(
                folder, inference_input_type=input_type, inference_output_type=output_type, target="arm"
            )
        except Exception as error:
            lines = [line.strip() for line in str(error).splitlines() if line.strip()]
            said = next(
                (line for line in lines if "error:" in line), lines[0] if lines else type(error).__name__
            )
            reason = said.partition("error: ")[2] or said
            for node in nodes:
                if node.op in ("If", "StatelessIf"):
                    reason += (
                        f" No weights can stand inside a condition ({node.name}): compute both branches."
                    )
                    break
            raise ConversionError(f"LCE's converter cannot convert this model: {reason}") from error
    _check_operators(content)
    if all(argument == name for argument, name in served.renamed.items()):
        return content
    model = writing.opened(content)
    for entry in model.signatureDefs[0].inputs:
        entry.name = served.renamed[entry.name.decode()]
    return writing.to_bytes(model)


def _check_operators(content: bytes) -> None:
    known = {*vars(schema.BuiltinOperator), *_KNOWN}
    for operator in read_model(content).whole.operators:
        if operator.name not in known and not operator.name.startswith("Lce"):
            raise InputError(
                f"model must have no operator {operator.name}, which no interpreter has in this form: some are "
                "for float32 alone, or for at most four dimensions. Compute that in float32, or in another way."
            )
