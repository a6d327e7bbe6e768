"""A .tflite file as objects that can be changed, and back to bytes, by the schema that TensorFlow ships."""

from typing import Any

import flatbuffers
import numpy as np
from tensorflow.lite.python import schema_py_generated as schema

# TensorFlow Lite reads constants where they lie; its kernels want them at multiples of this.
_ALIGNMENT = 16


class _AlignedBuffer(schema.BufferT):
    """A buffer whose bytes begin at a multiple of 16; the schema's own begin anywhere."""

    def Pack(self, builder: Any) -> Any:  # noqa: N802, a name of the schema
        data = None
        if self.data is not None and len(self.data):
            octets = np.asarray(self.data, np.uint8).tobytes()
            builder.StartVector(1, len(octets), _ALIGNMENT)
            builder.head -= len(octets)
            builder.Bytes[builder.head : builder.head + len(octets)] = octets
            data = builder.EndVector()
        schema.BufferStart(builder)
        if data is not None:
            schema.BufferAddData(builder, data)
        return schema.BufferEnd(builder)


def opened(content: bytes) -> Any:
    """The file as a `ModelT` of the schema."""
    return schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))


def to_bytes(model: Any) -> bytes:
    """The file of a `ModelT`."""
    for buffer in model.buffers:
        buffer.__class__ = _AlignedBuffer
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def is_external(model: Any) -> bool:
    """Whether constants lie outside the flatbuffer, as in files above 2 GiB."""
    return any(buffer.offset > 1 for buffer in model.buffers)


def floats(model: Any, tensor: Any) -> np.ndarray | None:
    """The numbers of a float32 constant, in a row; None for any other tensor."""
    data = model.buffers[tensor.buffer].data
    if tensor.type != schema.TensorType.FLOAT32 or not _length(data):
        return None
    return np.frombuffer(np.asarray(data, np.uint8).tobytes(), "<f4")


def operator_name(model: Any, operator: Any) -> str:
    """The name of an operator, as `flatbuffer.Operator` has it; "" for a custom one."""
    code = model.operatorCodes[operator.opcodeIndex]
    number = max(code.builtinCode, code.deprecatedBuiltinCode)
    names = {value: key for key, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)}
    name = names.get(number, "")
    return "" if name == "CUSTOM" else name


def slim(content: bytes) -> bytes:
    """The .tflite file `content` without what no runtime reads.

    Those are the names of tensors that are no input and no output, quantization without a scale, and shape signatures
    of shapes that are all known. Operators, tensors and constants stay in their order.
    """
    model = opened(content)
    if is_external(model):
        return content
    for graph in model.subgraphs:
        named = (
            {int(index) for index in (*graph.inputs, *graph.outputs)} if graph is model.subgraphs[0] else ()
        )
        for index, tensor in enumerate(graph.tensors):
            if index not in named:
                tensor.name = None
            quantization = tensor.quantization
            if quantization is not None and quantization.details is None and not _length(quantization.scale):
                tensor.quantization = None
            if _length(tensor.shapeSignature) and min(tensor.shapeSignature) >= 0:
                tensor.shapeSignature = None
    return to_bytes(model)


def _length(vector: Any) -> int:
    return 0 if vector is None else len(vector)


class Graph:
    """One graph of a `ModelT`, to which tensors and operators are added."""

    def __init__(self, model: Any, graph: Any) -> None:
        self.model = model
        self.graph = graph

    def buffer(self, data: np.ndarray) -> int:
        """The index of a new buffer that holds `data`."""
        made = schema.BufferT()
        made.data = np.frombuffer(np.ascontiguousarray(data).tobytes(), np.uint8)
        self.model.buffers.append(made)
        return len(self.model.buffers) - 1

    def tensor(self, name: str, shape: Any, dtype: str, buffer: int = 0) -> int:
        """The index of a new tensor, of a type in the schema's words."""
        made = schema.TensorT()
        made.name, made.shape, made.buffer = name, [int(size) for size in shape], buffer
        made.type = getattr(schema.TensorType, dtype)
        made.hasRank = True
        self.graph.tensors.append(made)
        return len(self.graph.tensors) - 1

    def scaled(self, tensor: int, scales: np.ndarray, axis: int) -> None:
        """Says that integers stand for real numbers: real = scale * stored, with one scale, or one along `axis`."""
        quantization = schema.QuantizationParametersT()
        quantization.scale = np.asarray(scales, np.float32)
        quantization.zeroPoint = np.zeros(len(scales), np.int64)
        quantization.quantizedDimension = axis if len(scales) > 1 else 0
        self.graph.tensors[tensor].quantization = quantization

    def operator(self, name: str, version: int, inputs: list[int], output: int) -> Any:
        """A new operator, which stands nowhere in the graph yet."""
        made = schema.OperatorT()
        made.opcodeIndex = self._code(name, version)
        made.inputs, made.outputs = list(inputs), [output]
        options = {"ADD": "AddOptions", "MUL": "MulOptions", "DEQUANTIZE": "DequantizeOptions"}.get(name)
        if options is not None:
            made.builtinOptionsType = getattr(schema.BuiltinOptions, options)
            made.builtinOptions = getattr(schema, f"{options}T")()
        return made

    def _code(self, name: str, version: int) -> int:
        number = getattr(schema.BuiltinOperator, name, schema.BuiltinOperator.CUSTOM)
        custom = name if number == schema.BuiltinOperator.CUSTOM else None
        for index, code in enumerate(self.model.operatorCodes):
            known = code.customCode.decode() if isinstance(code.customCode, bytes) else code.customCode
            same = max(code.builtinCode, code.deprecatedBuiltinCode) == number
            if same and (known or None) == custom and code.version == version:
                return index
        made = schema.OperatorCodeT()
        made.builtinCode, made.customCode, made.version = number, custom, version
        # Readers older than schema version 3a look here; 127 is their mark for a number that does not fit.
        made.deprecatedBuiltinCode = min(number, 127)
        self.model.operatorCodes.append(made)
        return len(self.model.operatorCodes) - 1
