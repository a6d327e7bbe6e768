"""Small .tflite files, operator by operator."""

import flatbuffers
import numpy as np
from flatbuffers import flexbuffers
from tensorflow.lite.python import schema_py_generated as schema

TYPES = {
    np.dtype(np.float32): schema.TensorType.FLOAT32,
    np.dtype(np.int32): schema.TensorType.INT32,
    np.dtype(np.int8): schema.TensorType.INT8,
    np.dtype(np.bool_): schema.TensorType.BOOL,
    np.dtype(np.int64): schema.TensorType.INT64,
}


class File:
    """A graph under construction. Tensors are numbers, as in the file."""

    def __init__(self):
        self.model = schema.ModelT()
        self.model.version = 3
        self.model.buffers = [schema.BufferT()]
        self.model.operatorCodes = []
        self.graph = schema.SubGraphT()
        self.graph.tensors, self.graph.operators = [], []
        self.model.subgraphs = [self.graph]

    def tensor(self, shape, dtype, data=None, *, scale=None, zero_point=0):
        """A tensor of a shape and type; constant where there are data (an array, or bytes as they are)."""
        made = schema.TensorT()
        made.shape, made.type = list(shape), TYPES[np.dtype(dtype)]
        made.name = f"tensor{len(self.graph.tensors)}"
        made.buffer = 0
        if data is not None:
            octets = data if isinstance(data, bytes) else np.ascontiguousarray(data, dtype).tobytes()
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(octets, np.uint8)
            self.model.buffers.append(buffer)
            made.buffer = len(self.model.buffers) - 1
        if scale is not None:
            made.quantization = schema.QuantizationParametersT()
            made.quantization.scale, made.quantization.zeroPoint = [scale], [zero_point]
        self.graph.tensors.append(made)
        return len(self.graph.tensors) - 1

    def constant(self, array, **options):
        """A constant of an array's shape and type."""
        return self.tensor(array.shape, array.dtype, array, **options)

    def _operator(self, code, inputs, outputs):
        self.model.operatorCodes.append(code)
        made = schema.OperatorT()
        made.opcodeIndex = len(self.model.operatorCodes) - 1
        made.inputs, made.outputs = list(inputs), list(outputs)
        self.graph.operators.append(made)
        return made

    def custom(self, name, inputs, outputs, attributes=None, *, octets=None):
        """An operator by name, with a map of integers, or with any bytes, as its attributes."""
        code = schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
        code.customCode, code.version = name, 1
        made = self._operator(code, inputs, outputs)
        if attributes is not None:
            octets = bytes(flexbuffers.Dumps(attributes))
        if octets is not None:
            made.customOptions = np.array(list(octets), np.uint8)

    def _arithmetic(self, kind, options, inputs, output, activation):
        code = schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = kind
        code.version = 1
        made = self._operator(code, inputs, [output])
        made.builtinOptionsType = getattr(schema.BuiltinOptions, options)
        made.builtinOptions = getattr(schema, f"{options}T")()
        made.builtinOptions.fusedActivationFunction = activation

    def add(self, inputs, output, activation=0):
        """TensorFlow Lite's own ADD."""
        self._arithmetic(schema.BuiltinOperator.ADD, "AddOptions", inputs, output, activation)

    def multiply(self, inputs, output, activation=0):
        """TensorFlow Lite's own MUL."""
        self._arithmetic(schema.BuiltinOperator.MUL, "MulOptions", inputs, output, activation)

    def dense(self, inputs, output):
        """TensorFlow Lite's own FULLY_CONNECTED."""
        code = schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.FULLY_CONNECTED
        code.version = 1
        made = self._operator(code, inputs, [output])
        made.builtinOptionsType = schema.BuiltinOptions.FullyConnectedOptions
        made.builtinOptions = schema.FullyConnectedOptionsT()

    def sign(self, inputs, outputs, subgraph=0):
        """Gives the file a signature: numbers of tensors by their names."""
        made = schema.SignatureDefT()
        made.signatureKey, made.subgraphIndex = "serving_default", subgraph
        made.inputs, made.outputs = [], []
        for entries, named in ((made.inputs, inputs), (made.outputs, outputs)):
            for name, index in named.items():
                entries.append(schema.TensorMapT())
                entries[-1].name, entries[-1].tensorIndex = name, index
        self.model.signatureDefs = [made]

    def finish(self, inputs, outputs):
        """The bytes of the file."""
        self.graph.inputs, self.graph.outputs = list(inputs), list(outputs)
        builder = flatbuffers.Builder(4096)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


CONVOLUTION = {
    "stride_height": 1,
    "stride_width": 1,
    "dilation_height_factor": 1,
    "dilation_width_factor": 1,
    "padding": 0,
    "pad_values": 1,
    "channels_in": 32,
    "fused_activation_function": 0,
}


def convolution(file, x, filters, output, attributes, *, multiplier=None, bias=None, thresholds=None):
    """An LceBconv2d on packed filters; absent inputs are -1."""
    optional = [-1 if array is None else file.constant(array) for array in (multiplier, bias, thresholds)]
    file.custom("LceBconv2d", [x, file.constant(filters), *optional], [output], attributes)


def run(content, *inputs, resize=False, threads=1, **options):
    """What LiteRT with the runtime's delegate answers: one array, or a list of them."""
    from ai_edge_litert.interpreter import Interpreter, load_delegate
    from larq_equalbits_runtime import library_path

    delegate = load_delegate(library_path(), {name: str(value) for name, value in options.items()})
    interpreter = Interpreter(model_content=content, num_threads=threads, experimental_delegates=[delegate])
    details = interpreter.get_input_details()
    if resize:
        for detail, array in zip(details, inputs, strict=True):
            interpreter.resize_tensor_input(detail["index"], array.shape)
    interpreter.allocate_tensors()
    for detail, array in zip(details, inputs, strict=True):
        interpreter.set_tensor(detail["index"], array)
    interpreter.invoke()
    outputs = [interpreter.get_tensor(detail["index"]) for detail in interpreter.get_output_details()]
    return outputs[0] if len(outputs) == 1 else outputs
