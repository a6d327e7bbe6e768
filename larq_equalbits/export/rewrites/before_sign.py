"""What cannot change a sign disappears before one: a hard tanh, and a multiplication by a positive number."""

from typing import Any

import larq
import numpy as np
import tensorflow as tf

from larq_equalbits.export.lowering import Leaf, Lowering, identity

_SIGNS = (larq.quantizers.SteSign, larq.quantizers.ApproxSign, larq.quantizers.SwishSign)


def _keeps_sign(layer: Any) -> bool:
    if type(layer) is tf.keras.layers.Activation:
        return layer.activation is larq.activations.hard_tanh
    if type(layer) is tf.keras.layers.Rescaling:
        # A factor that is not small cannot round a number to zero, which has the other sign.
        return bool(np.all(np.asarray(layer.scale) >= 1e-3)) and bool(np.all(np.asarray(layer.offset) == 0))
    return False


def only_signs(lowering: Lowering, leaf: Leaf) -> bool:
    """Whether nothing but the sign of what `leaf` yields is ever read."""
    consumers = lowering.graph.consumers(leaf.layer)
    return bool(consumers) and all(
        isinstance(getattr(layer, "input_quantizer", None), _SIGNS) for layer in consumers
    )


def apply(lowering: Lowering) -> None:
    """Takes away each such layer whose output only signs read."""
    for leaf in lowering.leaves.values():
        if _keeps_sign(leaf.layer) and only_signs(lowering, leaf):
            leaf.call, leaf.moved = identity, True
            leaf.rewrite.append("taken away before a sign")
