"""What cannot be converted is refused before the converter sees it, with what to do instead."""

from typing import Any

import larq
import tensorflow as tf
from larq.quantized_variable import QuantizedVariable

from larq_equalbits._errors import InputError
from larq_equalbits.export import graph

# LCE's own bit-packing: a group that is no multiple of this is not a group of whole words.
_PACKED_CHANNELS = 32
_INPUT_TYPES = ("float32", "int8", "int16", "int32", "int64", "uint8", "bool")
_LOCALLY_CONNECTED = (tf.keras.layers.LocallyConnected1D, tf.keras.layers.LocallyConnected2D)


def check_built(model: Any, argument: str = "model") -> None:
    """Refuses what is no Keras 2 model, or has no known input; an error calls it `argument`.

    Raises:
        InputError: says which of them.
    """
    if not isinstance(model, tf.keras.Model):
        raise InputError(
            f"{argument} must be a Keras 2 model, but got {type(model).__module__}.{type(model).__name__}."
        )
    if not model.built or model.save_spec() is None:
        raise InputError(
            f"{argument} {model.name!r} must be built with a known input: give its first layer an input_shape, "
            "or call it on a batch once."
        )


def check(model: Any) -> None:
    """Refuses a model that LCE cannot convert, or converts to a file that it cannot run.

    Raises:
        InputError: no Keras model, an unbuilt one, inputs beside the first argument or of strings, one output for a
            batch, unknown dimensions, grouped binary convolutions, a padding that has no binary kernel, a kernel
            of two layers, a stateful recurrent layer, or a locally connected one with implementation=3.
    """
    check_built(model)
    (_, *further), named = model.save_spec()
    if any(isinstance(spec, tf.TensorSpec) for spec in tf.nest.flatten((further, named))):
        raise InputError(
            f"model {model.name!r} must take all its inputs as the first argument of call, but was called with a "
            "tensor as another one: pass a list or a mapping, or convert a functional model that calls this one."
        )
    for spec in tf.nest.flatten(model.save_spec()):
        if isinstance(spec, tf.TensorSpec) and (spec.shape.rank is None or None in spec.shape[1:].as_list()):
            raise InputError(
                f"model {model.name!r} must have inputs whose dimensions are all known but the first, "
                f"but got {spec.shape}: build it with a fixed image size."
            )
        if isinstance(spec, tf.TensorSpec) and spec.dtype == tf.string:
            raise InputError(
                f"model {model.name!r} must have inputs of numbers, but got strings: look them up outside the model."
            )
    for output in tf.nest.flatten(getattr(model, "outputs", None) or ()):
        if output.shape.rank == 0:
            raise InputError(
                f"model {model.name!r} must have an answer for each input of a batch, but its output "
                f"{output.name!r} is a single number for all of them."
            )
    for layer in model._flatten_layers():
        if isinstance(layer, tf.keras.layers.RNN) and layer.stateful:
            raise InputError(
                f"layer {layer.name!r} must have no state between batches, which a .tflite does not keep: build it "
                "with stateful=False and copy the weights."
            )
    owners: dict[int, str] = {}
    for name, layer in graph.leaves(model).items():
        _check_layer(name, layer)
        for variable in vars(layer).values():
            if isinstance(variable, QuantizedVariable):
                owner = owners.setdefault(id(variable.latent_variable), name)
                if owner != name:
                    raise InputError(
                        f"layer {name!r} must have a kernel of its own, but has that of {owner!r}: call one layer "
                        "twice instead."
                    )


def check_input_types(model: tf.keras.Model) -> None:
    """Refuses inputs of a type that no file has, of a model that is in float32 if it was in mixed precision.

    Raises:
        InputError: names the type, and those that are possible.
    """
    for spec in tf.nest.flatten(model.save_spec()):
        if isinstance(spec, tf.TensorSpec) and spec.dtype.name not in _INPUT_TYPES:
            raise InputError(
                f"model {model.name!r} must have inputs of {', '.join(_INPUT_TYPES)}, but got {spec.dtype.name}: "
                "cast inside the model."
            )


def _check_layer(name: str, layer: Any) -> None:
    if getattr(layer, "implementation", None) == 3 and isinstance(layer, _LOCALLY_CONNECTED):
        raise InputError(
            f"layer {name!r} must have implementation=1 or 2: 3 multiplies by a sparse tensor, which LCE's converter "
            "does not take."
        )
    if not isinstance(layer, larq.layers.QuantConv2D) or layer.input_quantizer is None:
        return
    if layer.kernel_quantizer is None:
        return
    if layer.groups != 1:
        refuse_groups(name, layer)
    if layer.padding == "same" and float(tf.keras.backend.get_value(layer.pad_values)) not in (0.0, 1.0):
        raise InputError(
            f"layer {name!r} pads with {layer.pad_values}, which makes LCE fall back to float: use pad_values=1 or 0."
        )


def refuse_groups(name: str, layer: Any) -> None:
    """Raises the error for a binary convolution in groups, whose input are signs."""
    channels = layer.kernel.shape[2]
    fate = "converts, and then fails at run time" if channels % _PACKED_CHANNELS == 0 else "goes to float"
    raise InputError(
        f"layer {name!r} has {layer.groups} groups of {channels} channels, which {fate} in LCE: "
        "split the channels, convolve each part by a layer of its own, and concatenate."
    )
