"""What cannot change a sign disappears before one: positive factors, divisors and slopes, and a hard tanh."""

from typing import Any

import larq
import numpy as np
import tensorflow as tf

from larq_equalbits.export.graph import as_written
from larq_equalbits.export.lowering import Call, Leaf, Lowering, identity

_KERAS = tf.keras.layers
_SIGNS = (larq.quantizers.SteSign, larq.quantizers.ApproxSign, larq.quantizers.SwishSign)
# Larq's layers of these kinds are subclasses of them.
_WITH_ACTIVATION = (
    _KERAS.Conv1D,
    _KERAS.Conv2D,
    _KERAS.Conv3D,
    _KERAS.DepthwiseConv2D,
    _KERAS.SeparableConv1D,
    _KERAS.SeparableConv2D,
    _KERAS.Dense,
)
# Of a maximum, too, the sign depends on the signs of its terms alone.
_PASSES_SIGNS = (_KERAS.Dropout, _KERAS.Flatten, _KERAS.MaxPooling2D, _KERAS.Reshape)
# A factor that is not small cannot round a number to zero, which has the other sign.
_SMALLEST_FACTOR = 1e-3


def only_signs(lowering: Lowering, leaf: Leaf) -> bool:
    """Whether nothing but the sign of what `leaf` yields is ever read."""
    return bool(_readers(lowering, leaf))


def _readers(lowering: Lowering, leaf: Leaf) -> list[Leaf]:
    """The layers that read the sign of what `leaf` yields; none where anything else of it is read."""
    found: list[Leaf] = []
    for layer in lowering.graph.consumers(leaf.layer):
        consumer = lowering.leaves.get(id(layer))
        if consumer is None:
            return []
        if reads_sign(layer):
            found.append(consumer)
            continue
        passes = type(layer) in _PASSES_SIGNS or _without(lowering, consumer) is not None
        further = _readers(lowering, consumer) if passes else []
        if not further:
            return []
        found += further
    return found


def reads_sign(layer: Any) -> bool:
    """Whether `layer` takes the sign of its input first, or is one."""
    if isinstance(layer, _SIGNS):
        return as_written(layer)
    argument = "activation" if type(layer) is _KERAS.Activation else "input_quantizer"
    quantizer = getattr(layer, argument, None)
    return isinstance(quantizer, _SIGNS) and as_written(quantizer) and as_written(layer)


def _keeps_form(call: Any) -> bool:
    """Whether a layer yields tensors of the type and shape that it takes."""
    taken, yielded = call.keras_inputs[0], call.outputs
    return (taken.dtype, taken.shape) == (yielded.dtype, yielded.shape)


def _of_function(lowering: Lowering, layer: Any) -> Call | None:
    """What is left of a layer that Keras made of `x * c`, `c * x` or `x / c` with positive c; None elsewhere."""
    call = lowering.graph.calls.get(id(layer))
    if call is None or layer.symbol not in ("math.multiply", "math.truediv"):
        return None
    # A model that was loaded gives the second operand by name.
    operands = dict(zip(("x", "y"), call.call_args, strict=False)) | call.call_kwargs
    computed = {id(tensor) for tensor in call.keras_inputs}
    constants = [name for name in ("x", "y") if id(operands[name]) not in computed]
    divides = layer.symbol == "math.truediv"
    if len(constants) != 1 or not _keeps_form(call) or (divides and constants == ["x"]):
        return None
    with np.errstate(divide="ignore"):
        factor = np.asarray(operands[constants[0]], np.float32) ** (-1 if divides else 1)
    if not (np.isfinite(factor).all() and (factor >= _SMALLEST_FACTOR).all()):
        return None
    return (lambda x, y, **kwargs: tf.identity(y)) if constants == ["x"] else identity


def _without(lowering: Lowering, leaf: Leaf) -> Call | None:
    """What a layer that cannot change a sign computes once that is left out; None for any other layer."""
    layer = leaf.layer
    if type(layer) is _KERAS.Activation and layer.activation is larq.activations.hard_tanh:
        return identity
    if type(layer) in (_KERAS.PReLU, _KERAS.LeakyReLU):
        return identity if np.all(np.asarray(layer.alpha) >= _SMALLEST_FACTOR) else None
    if type(layer) is _KERAS.Rescaling:
        exact = np.all(np.asarray(layer.scale) >= _SMALLEST_FACTOR) and np.all(np.asarray(layer.offset) == 0)
        call = lowering.graph.calls.get(id(layer))
        return identity if exact and call is not None and _keeps_form(call) else None
    return _of_function(lowering, layer) if type(layer).__name__ == "TFOpLambda" else None


def keeps_sign(lowering: Lowering, leaf: Leaf) -> bool:
    """Whether `leaf` is a layer of its own that cannot change a sign."""
    return _without(lowering, leaf) is not None


def _fused(layer: Any) -> bool:
    return (
        isinstance(layer, _WITH_ACTIVATION)
        and as_written(layer)
        and layer.activation is larq.activations.hard_tanh
    )


def apply(lowering: Lowering) -> None:
    """Takes away each such layer, and each such activation of a layer, whose output only signs read."""
    for leaf in lowering.leaves.values():
        call, fused = _without(lowering, leaf), _fused(leaf.layer)
        if call is None and not fused:
            continue
        readers = _readers(lowering, leaf)
        if not readers:
            continue
        if call is not None:
            leaf.call, leaf.moved = call, True
            for reader in readers:
                reader.rewrite.append(f"{leaf.name} taken away before its sign")
        else:
            lowering.replace(leaf, "activation", tf.keras.activations.linear)
            leaf.moved = True
            leaf.rewrite.append("hard tanh taken away before a sign")
