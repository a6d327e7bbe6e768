"""Quantizers of inputs to three values in a form that LCE does not take for a sign."""

from collections.abc import Callable
from typing import Any

import larq
import tensorflow as tf

from larq_equalbits.export.lowering import Lowering


def _step(inputs: tf.Tensor) -> tf.Tensor:
    """1 above 0, 0 elsewhere. LCE takes every tf.sign for a sign of two values, and no comparison for one."""
    return tf.cast(inputs > 0, inputs.dtype)


def _sign(inputs: tf.Tensor) -> tf.Tensor:
    return _step(inputs) - _step(-inputs)


def values(quantizer: Any) -> Callable[[tf.Tensor], tf.Tensor] | None:
    """What `quantizer` computes, without tf.sign; None for other quantizers than Larq's SteTern.

    SteTern that takes its threshold from the whole batch answers otherwise for each batch, which no file can.
    """
    if type(quantizer) is larq.quantizers.SteTern and not quantizer.ternary_weight_networks:
        threshold = quantizer.threshold_value
        return lambda inputs: _sign(_sign(inputs + threshold) + _sign(inputs - threshold))
    return None


def apply(lowering: Lowering) -> None:
    """Puts them in place of input quantizers and activations, and of the layers that are such quantizers."""
    for leaf in lowering.leaves.values():
        if alone := values(leaf.layer):
            leaf.call = _call(alone)
        for name in ("input_quantizer", "activation"):
            if inside := values(getattr(leaf.layer, name, None)):
                lowering.replace(leaf, name, inside)


def _call(compute: Callable[[tf.Tensor], tf.Tensor]) -> Callable[..., tf.Tensor]:
    return lambda inputs, *args, **kwargs: compute(inputs)
