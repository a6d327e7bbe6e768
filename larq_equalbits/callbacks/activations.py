"""How balanced the binary activations of a model are on a batch of examples."""

import contextlib
from collections import Counter
from typing import Any

import tensorflow as tf

from larq_equalbits._bits.counting import BitCounts, count_codes, total
from larq_equalbits._bits.kernels import named_layers, quantized_kernels, told_apart
from larq_equalbits._errors import InputError


def _input_quantized_layers(model: tf.keras.Model) -> dict[str, Any]:
    """The layers with an `input_quantizer` of their own, by the name of their kernel or by theirs."""
    found: dict[int, tuple[tf.keras.layers.Layer, str]] = {}
    for layer, path in named_layers(model):
        # A wrapper answers with what is its layer's.
        if callable(vars(layer).get("input_quantizer")):
            found.setdefault(id(layer), (layer, "/".join(path)))
    kernels = quantized_kernels(model)
    owned = Counter(id(kernel.layer) for kernel in kernels)
    known = {id(kernel.layer): kernel.name for kernel in kernels if owned[id(kernel.layer)] == 1}
    names = told_apart([known.get(id(layer), name) for layer, name in found.values()])
    return dict(zip(names, (layer for layer, _ in found.values()), strict=True))


class ActivationProbe:
    """Counts the codes of the binary activations of every Larq layer on one fixed batch.

    Equal Bits, Fig. 1b, shows the entropies that follow from them. A layer has the name of its kernel.

    The binary activations of a layer are what its `input_quantizer` answers; a code is their sign. The
    batch runs in inference mode, eagerly, so the model's own functions are neither retraced nor changed.

    Args:
        model: a Keras model with an `input_quantizer` in at least one of its layers.
        batch: what the model is called with: a tensor or array, or a structure of them.

    Raises:
        InputError: where the model cannot be called with `batch`.
    """

    def __init__(self, model: tf.keras.Model, batch: Any):
        self._model = model
        self._batch = tf.nest.map_structure(tf.convert_to_tensor, batch)
        self._check_shape()
        try:
            model(self._batch, training=False)
        except NotImplementedError as error:
            raise InputError(
                f"probe must be None for {model.name!r}, which has no call: its batch cannot run through the model."
            ) from error
        except (ValueError, TypeError, tf.errors.InvalidArgumentError) as error:
            raise InputError(f"probe must be a batch that {model.name!r} accepts, but: {error}") from error
        self._layers = _input_quantized_layers(model)
        if not self._layers:
            raise InputError(
                f"probe needs binary activations, but no layer of {model.name!r} has an input_quantizer."
            )

    def _check_shape(self) -> None:
        expected = getattr(self._model, "input_shape", None) if self._model.built else None
        if not isinstance(expected, tuple) or not isinstance(self._batch, tf.Tensor):
            return
        if not self._batch.shape[1:].is_compatible_with(expected[1:]) or not self._batch.shape.rank:
            shape = (None, *expected[1:])
            raise InputError(f"probe must have shape {shape}, but got {tuple(self._batch.shape)}.")

    def observe(self) -> dict[str, BitCounts]:
        """Runs the batch and returns the counts per channel for every layer that was called, by its name."""
        recorded: dict[str, list[BitCounts]] = {}
        with contextlib.ExitStack() as restore:
            for name, layer in self._layers.items():
                # Straight into the instance: Keras would track the replacement as a new sublayer.
                own, quantizer = vars(layer), layer.input_quantizer
                restore.callback(own.__setitem__, "input_quantizer", quantizer)
                own["input_quantizer"] = _recording(quantizer, recorded.setdefault(name, []))
            self._model(self._batch, training=False)
        return {name: total(calls) for name, calls in recorded.items() if calls}


def _recording(quantizer: Any, calls: list[BitCounts]) -> Any:
    def record(inputs: tf.Tensor) -> tf.Tensor:
        outputs = quantizer(inputs)
        if not isinstance(outputs, tf.Tensor) or not hasattr(outputs, "numpy"):
            raise InputError(
                "probe: this model calls its layers inside a tf.function, where they are out of sight."
            )
        calls.append(count_codes(outputs))
        return outputs

    return record
