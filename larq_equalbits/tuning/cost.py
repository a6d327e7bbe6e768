"""What a converted file costs on a processor, estimated from its operators."""

import math

from larq_equalbits.export import flatbuffer

# Instructions for each multiplication with addition, by the type of the weights.
_FLOAT, _INT8, _BINARY = 0.35, 0.27, 4.1 / 128
_WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV", "LceBconv2d")


def instructions(tflite: bytes) -> float:
    """Instructions of one inference on one thread of a 64-bit ARM, as an estimate.

    A multiplication with addition counts as 0.35 in float, 0.27 in int8 and 4.1/128 in binary (channels filled up to
    32), every number that another operator puts out as 1. A pruned kernel counts as the two
    binary ones that it is in the file.

    Raises:
        InputError: no TensorFlow Lite file, or a damaged one.
    """
    model = flatbuffer.read_model(tflite).whole
    total = 0.0
    for operator in model.operators:
        outputs = [math.prod(model.tensors[index].shape) for index in operator.outputs if index >= 0]
        if operator.name not in _WEIGHTED:
            total += sum(outputs)
            continue
        # A transposed convolution takes its output's shape before them.
        places = (2, 1) if operator.name == "TRANSPOSE_CONV" else (0, 1)
        given, kernel = (model.tensors[operator.inputs[place]] for place in places)
        if operator.name == "TRANSPOSE_CONV":
            products = math.prod(given.shape) * math.prod(kernel.shape[:-1])
        elif operator.name == "DEPTHWISE_CONV_2D":
            products = outputs[0] * math.prod(kernel.shape[1:3])
        else:
            products = outputs[0] * math.prod(kernel.shape[1:])
        if operator.name == "LceBconv2d":
            total += _BINARY * 32 * products
        else:
            total += (_INT8 if kernel.dtype == "int8" and given.dtype == "int8" else _FLOAT) * products
    return total
