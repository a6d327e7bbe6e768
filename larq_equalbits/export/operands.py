"""Constants that are added to a convolution or multiply it, in shapes that LCE's converter fuses rightly.

Into a binary convolution it fuses a constant of any shape, and reads a number for each filter from it: such a file
cannot be run, or has other thresholds than Keras.
"""

from typing import Any

import tensorflow as tf

_TAKES_CONSTANTS = ("Add", "AddV2", "Sub", "Mul", "RealDiv")
# What the converter fuses into the convolution before it, constants aside.
_FUSED = (
    *_TAKES_CONSTANTS,
    *("BiasAdd", "FusedBatchNormV3", "Relu", "Relu6", "Maximum", "Minimum"),
    *("Identity", "ExpandDims", "Squeeze", "Reshape"),
)


def fit(graph: Any) -> dict[str, tf.Tensor]:
    """Gives the constants of the function `graph` such shapes, where its own operators take them.

    One that differs between channels alone, as (1, 1, 1, channels), loses its axes of one place. One that differs
    between positions meets the convolution behind a reshape, over which nothing is fused.

    Returns:
        What stands for the output of an operator, by the name of the former tensor.
    """
    constant = {inner.op.name for _, inner in graph.captures}
    moved: dict[str, tf.Tensor] = {}
    for operation in graph.get_operations():
        inputs = list(operation.inputs)
        if operation.type == "Const" or (inputs and all(each.op.name in constant for each in inputs)):
            constant.add(operation.name)
            continue
        places = [place for place, each in enumerate(inputs) if each.op.name in constant]
        if operation.type not in _TAKES_CONSTANTS or len(places) != 1:
            continue
        taken, (output,) = inputs[places[0]], operation.outputs
        values = inputs[1 - places[0]]
        if not taken.shape.is_fully_defined() or not 1 < taken.shape.rank <= (values.shape.rank or 0):
            continue
        if not (_is_convolution(values, constant) and output.shape.is_fully_defined()):
            continue
        # The scope tells whose operator it is.
        with tf.name_scope(f"{operation.name.rpartition('/')[0]}/"):
            if taken.shape.num_elements() == taken.shape[-1]:
                pair = [values, tf.reshape(taken, [-1])]
            else:
                pair = [tf.reshape(tf.broadcast_to(each, output.shape), [1, -1]) for each in (values, taken)]
            constant.add(pair[1].op.name)
            x, y = reversed(pair) if places[0] == 0 else pair
            computed = getattr(tf.raw_ops, operation.type)(x=x, y=y)
            same = computed.shape == output.shape
            moved[output.name] = computed if same else tf.reshape(computed, output.shape)
        for reader in output.consumers():
            for place, each in enumerate(reader.inputs):
                if each is output:
                    reader._update_input(place, moved[output.name])
    return moved


def _is_convolution(values: tf.Tensor, constant: set[str]) -> bool:
    """Whether a convolution yields `values`, but for what the converter fuses into it."""
    while values.op.type in _FUSED:
        sources = [each for each in values.op.inputs if each.op.name not in constant]
        if len(sources) != 1 or _sizes(sources[0]) != _sizes(values):
            return False
        values = sources[0]
    return values.op.type == "Conv2D"


def _sizes(tensor: tf.Tensor) -> list[int | None]:
    return [size for size in tensor.shape if size != 1]
