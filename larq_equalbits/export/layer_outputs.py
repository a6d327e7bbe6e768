"""Where the outputs of a converted model first part from Keras': layer by layer, in a file that yields them all."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from larq_equalbits.export import checks
from larq_equalbits.export.feeding import input_specs, named_batch
from larq_equalbits.export.functions import Served, arrange, eagerly, to_bytes
from larq_equalbits.export.interpreter import load
from larq_equalbits.export.lowering import Leaf, Lowering, lower
from larq_equalbits.export.precision import in_float32
from larq_equalbits.export.reference import exact_signs
from larq_equalbits.export.rewrites import select

# Sums of floats round in another order in LCE; a bit that flips changes a sum by two scales.
TOLERANCE = 1e-3


@dataclasses.dataclass(frozen=True)
class LayerDifference:
    """How one layer's output in the file compares with Keras'.

    Attributes:
        name: the layer's name, with those of the models around it.
        max_abs_diff: largest absolute difference.
        max_abs: largest absolute output in Keras.

    Examples:
        >>> LayerDifference("conv", max_abs_diff=0.5, max_abs=4.0).max_abs_diff
        0.5
    """

    name: str
    max_abs_diff: float
    max_abs: float

    @property
    def parts(self) -> bool:
        """Whether they differ by more than rounding: by more than 1e-3 of the largest output."""
        return self.max_abs_diff > TOLERANCE * max(self.max_abs, 1e-6)


def _watch(leaf: Leaf, outputs: dict[str, Any]) -> None:
    call = leaf.call

    def watched(*args: Any, **kwargs: Any) -> Any:
        answer = call(*args, **kwargs)
        # Of a shared layer the last call counts, in Keras and in the file.
        if isinstance(answer, tf.Tensor) and answer.dtype == tf.float32:
            outputs[leaf.scope] = answer
        return answer

    leaf.call = watched


def _watched(lowering: Lowering) -> dict[str, Any]:
    outputs: dict[str, Any] = {}
    for leaf in lowering.leaves.values():
        if not leaf.moved:
            _watch(leaf, outputs)
    return outputs


def compare_layers(
    model: tf.keras.Model, inputs: Mapping[str, np.ndarray], rewrites: Any = None
) -> list[LayerDifference]:
    """Compares the output of every layer in Keras with that in a file that yields all of them.

    The file is converted for the purpose, and LCE fuses less in it: a difference that only fusing makes shows in no
    layer. Layers whose work a rewrite moved into another one are left out.

    Args:
        model: the Keras model; of one in mixed precision a float32 copy with the same codes.
        inputs: arrays (n, ...) by the names of the inputs.
        rewrites: as for `convert`.

    Returns:
        A row for each layer, in the order of the model.

    Raises:
        InputError: what is no built Keras model, inputs whose names, shapes or types are not the model's, or rewrites
            as for `convert`.

    Examples:
        >>> [each.name for each in compare_layers(model, {model.input_names[0]: np.zeros((1, 8, 8, 32), "f")})]
        ['conv', 'global_average_pooling2d', 'dense']
    """
    checks.check_built(model)
    model = in_float32(model)
    chosen = select(rewrites)
    inputs = named_batch(
        model, {name: tuple(spec.shape) for name, spec in input_specs(model).items()}, inputs
    )
    with exact_signs(model):
        with lower(model, []) as lowering, eagerly():
            keras = _watched(lowering)
            model(arrange(model, {key: tf.constant(value) for key, value in inputs.items()}), training=False)
            expected = {scope: answer.numpy() for scope, answer in keras.items()}
        with lower(model, chosen) as lowering:
            content = to_bytes(Served(model, watched=_watched(lowering)), tf.float32, tf.float32)
    names = {leaf.scope: leaf.name for leaf in lowering.leaves.values()}
    found = load(content).predict(inputs)
    rows = []
    for scope, answer in expected.items():
        if scope in found and found[scope].size == answer.size:
            difference = float(np.max(np.abs(found[scope].reshape(answer.shape) - answer)))
            rows.append(LayerDifference(names[scope], difference, float(np.max(np.abs(answer)))))
    return rows


def first_difference(model: tf.keras.Model, inputs: Mapping[str, np.ndarray]) -> str:
    """One clause on where the outputs for `inputs` part."""
    for row in compare_layers(model, inputs):
        if row.parts:
            return (
                f"they part at layer {row.name!r}, whose outputs differ by up to {row.max_abs_diff:.3g} "
                f"(the largest is {row.max_abs:.3g})"
            )
    return (
        "no layer alone differs: sums that LCE's fused operators round otherwise turned the sign of a value next to 0, "
        "or the file is not of this model"
    )
