"""The last layer's weights in 16-bit floats, of which every runtime makes 32-bit ones when it loads the file."""

from typing import Any

import numpy as np

from larq_equalbits._errors import invalid
from larq_equalbits.export import writing

FORMS = ("float32", "float16")

_LAYERS = ("FULLY_CONNECTED", "CONV_2D")
# What stands between the last layer and an output of the model.
_AFTER = ("SOFTMAX", "LOGISTIC", "RESHAPE", "TANH")
# The version from which DEQUANTIZE takes 16-bit floats.
_DEQUANTIZE = 3


def check(form: str) -> None:
    """Checks `convert`'s argument `classifier`; InputError for an unknown form."""
    if not (isinstance(form, str) and form in FORMS):
        raise invalid("classifier", form, f"one of {', '.join(FORMS)}")


def pack(content: bytes, form: str) -> bytes:
    """The .tflite file `content` with the float kernel of the layer before each output stored in `form`.

    The outputs then move by the rounding of 16-bit floats. A kernel that another operator reads too, or that has values
    beyond 65,504, stays as it is.
    """
    if form == "float32":
        return content
    model = writing.opened(content)
    if writing.is_external(model):
        return content
    graph = model.subgraphs[0]
    writer = writing.Graph(model, graph)
    before = len(graph.operators)
    for operator in _last(model, graph):
        index = int(operator.inputs[1])
        tensor = graph.tensors[index]
        kernel = writing.floats(model, tensor)
        if kernel is None or _readers(model, tensor.buffer) != 1:
            continue
        small = kernel.astype(np.float16)
        if not np.isfinite(small).all():
            continue
        buffer = model.buffers[tensor.buffer]
        stored = writer.tensor("float16", tensor.shape, "FLOAT16", tensor.buffer)
        buffer.data = np.frombuffer(small.tobytes(), np.uint8)
        tensor.buffer = 0
        made = writer.operator("DEQUANTIZE", _DEQUANTIZE, [stored], index)
        graph.operators.insert(graph.operators.index(operator), made)
    return writing.to_bytes(model) if len(graph.operators) > before else content


def _last(model: Any, graph: Any) -> list[Any]:
    """The operators that compute the outputs of the graph, but for what shapes or squashes them."""
    producers = {int(index): operator for operator in graph.operators for index in operator.outputs}
    found = {}
    for output in graph.outputs:
        operator = producers.get(int(output))
        while operator is not None and writing.operator_name(model, operator) in _AFTER:
            operator = producers.get(int(operator.inputs[0]))
        if operator is not None and writing.operator_name(model, operator) in _LAYERS:
            found[id(operator)] = operator
    return list(found.values())


def _readers(model: Any, buffer: int) -> int:
    return sum(
        graph.tensors[index].buffer == buffer
        for graph in model.subgraphs
        for operator in graph.operators
        for index in operator.inputs
        if index >= 0
    )
