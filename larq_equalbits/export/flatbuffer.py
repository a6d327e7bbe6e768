"""A .tflite file as operators and tensors, read by the schema that TensorFlow ships.

A damaged file gets an error and nothing else: every length is held against the size of the file before it is used, and
so is all that is read, for offsets may lead to one vector again and again.
"""

import dataclasses
import functools
import struct
from typing import Any

import numpy as np

from larq_equalbits._errors import InputError

_IDENTIFIER = b"TFL3"
_NOTHING = np.zeros(0, np.uint8)
# The bytes of an entry in a vector of tables, with the table that it leads to.
_SMALLEST_TABLE = 24
# The constants of a file, and their sizes in bytes.
_Buffers = tuple[list[Any], list[int]]


@dataclasses.dataclass(frozen=True)
class Tensor:
    """A tensor of the file.

    Attributes:
        name: its name.
        key: of an input or output its name in Keras, from the file's signature; its own name without one.
        shape: with the batch of 1 in front.
        dtype: its type in numpy's words; "resource" and the like for what numpy does not know.
        bytes: the size of its constant, 0 for what is computed.
        scale: of a quantized tensor: real = scale * (stored - zero_point); 0 where it is not quantized.
        zero_point: see `scale`.
        data: the bytes of its constant, a view of the file.
        buffer: where its constant lies; tensors may share it.
        scales: all scales of a quantized tensor, one or as many as `axis` has places.
        axis: see `scales`.
    """

    name: str
    key: str
    shape: tuple[int, ...]
    dtype: str
    bytes: int
    scale: float
    zero_point: int
    data: np.ndarray = dataclasses.field(repr=False, compare=False)
    buffer: int = dataclasses.field(default=0, repr=False)
    scales: np.ndarray = dataclasses.field(default_factory=lambda: _NOTHING, repr=False, compare=False)
    axis: int = dataclasses.field(default=0, repr=False)

    def describe(self) -> dict[str, Any]:
        """Name, shape and type, and of integers that stand for real numbers scale and zero point."""
        known = {"name": self.key, "shape": list(self.shape), "dtype": self.dtype}
        return known | ({"scale": self.scale, "zero_point": self.zero_point} if self.scale else {})

    def encode(self, values: np.ndarray) -> np.ndarray:
        """Real `values` as the tensor stores them."""
        if self.scale and np.issubdtype(values.dtype, np.floating):
            limits = np.iinfo(self.dtype)
            values = np.clip(np.round(values / self.scale) + self.zero_point, limits.min, limits.max)
        return np.ascontiguousarray(values, self.dtype)

    def decode(self, stored: np.ndarray) -> np.ndarray:
        """The real numbers that `stored` stands for."""
        if not self.scale:
            return stored
        return ((stored.astype(np.float32) - self.zero_point) * self.scale).astype(np.float32)


@dataclasses.dataclass(frozen=True)
class Operator:
    """An operator of the file.

    Attributes:
        name: its name.
        inputs: the indices of its tensors, -1 for an input that is left out.
        outputs: the same.
        options: the bytes of a custom operator's options; of LCE's operators a flexbuffer.
    """

    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: bytes = dataclasses.field(default=b"", repr=False)


@dataclasses.dataclass(frozen=True, eq=False)
class Model:
    """One graph of a file, the first for a whole file.

    Attributes:
        tensors: its tensors.
        operators: in the order of computation.
        inputs: those of the tensors that are given.
        outputs: those that are answered.
        inner: the other graphs, of the first one alone: bodies of loops and branches of conditions.
    """

    tensors: list[Tensor]
    operators: list[Operator]
    inputs: list[Tensor]
    outputs: list[Tensor]
    inner: list["Model"] = dataclasses.field(default_factory=list)

    @functools.cached_property
    def producers(self) -> dict[int, Operator]:
        """The operator that computes each tensor, by the tensor's index."""
        return {index: one for one in self.operators for index in one.outputs}

    @functools.cached_property
    def whole(self) -> "Model":
        """This graph and the inner ones as one: their tensors and operators one after the other."""
        tensors: list[Tensor] = []
        operators: list[Operator] = []
        for graph in (self, *self.inner):
            start = len(tensors)
            for operator in graph.operators:
                inputs = tuple(index + start if index >= 0 else index for index in operator.inputs)
                outputs = tuple(index + start if index >= 0 else index for index in operator.outputs)
                operators.append(dataclasses.replace(operator, inputs=inputs, outputs=outputs))
            tensors += graph.tensors
        return Model(tensors, operators, self.inputs, self.outputs)


class _Reader:
    """Vectors of a flatbuffer as lists, none longer than the file allows, nor all of them together."""

    def __init__(self, content: bytes):
        self.size = len(content)
        # A sound file is read hardly twice, for those who write one may share vectors, but do so seldom.
        self.left = 3 * self.size

    def each(self, table: Any, name: str) -> list[Any]:
        length = self.length(table, name)
        self._take(length * _SMALLEST_TABLE)
        return [getattr(table, name)(index) for index in range(length)]

    def length(self, table: Any, name: str, width: int = 4) -> int:
        length = getattr(table, f"{name}Length")()
        if length * width > self.size:
            raise ValueError(f"{name} would hold {length} entries")
        return length

    def numbers(self, table: Any, name: str) -> tuple[int, ...]:
        length = self.length(table, name)
        self._take(length * 4)
        # Without entries the schema's reader answers 0, not an empty array.
        return tuple(getattr(table, f"{name}AsNumpy")().tolist()) if length else ()

    def octets(self, table: Any, name: str) -> bytes:
        length = self.length(table, name, 1)
        self._take(length)
        return getattr(table, f"{name}AsNumpy")().tobytes() if length else b""

    def text(self, value: bytes | None) -> str:
        self._take(len(value or b""))
        return "" if value is None else value.decode("utf-8", "replace")

    def _take(self, size: int) -> None:
        self.left -= size
        if self.left < 0:
            raise ValueError("its tables and vectors take more than the file")


@functools.cache
def _enumeration(name: str) -> dict[int, str]:
    from tensorflow.lite.python import schema_py_generated as schema

    members = vars(getattr(schema, name)).items()
    return {value: key for key, value in members if isinstance(value, int)}


def _operator_names(model: Any, reader: _Reader) -> list[str]:
    names = _enumeration("BuiltinOperator")
    result = []
    for code in reader.each(model, "OperatorCodes"):
        # Files before schema version 3a keep the code in a field of one byte.
        builtin = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        custom = names.get(builtin) == "CUSTOM"
        result.append(reader.text(code.CustomCode()) if custom else names.get(builtin, f"operator {builtin}"))
    return result


def _tensor(tensor: Any, buffers: list[Any], sizes: list[int], reader: _Reader) -> Tensor:
    quantization = tensor.Quantization()
    scaled = quantization is not None and reader.length(quantization, "Scale") > 0
    zero = scaled and reader.length(quantization, "ZeroPoint", 8) > 0
    name = reader.text(tensor.Name())
    buffer = buffers[tensor.Buffer()]
    return Tensor(
        name=name,
        key=name,
        shape=reader.numbers(tensor, "Shape"),
        dtype=_enumeration("TensorType")[tensor.Type()].lower(),
        bytes=sizes[tensor.Buffer()],
        scale=float(quantization.Scale(0)) if scaled else 0.0,
        zero_point=int(quantization.ZeroPoint(0)) if zero else 0,
        data=buffer.DataAsNumpy() if reader.length(buffer, "Data", 1) else _NOTHING,
        buffer=tensor.Buffer(),
        scales=np.asarray(quantization.ScaleAsNumpy()) if scaled else _NOTHING,
        axis=int(quantization.QuantizedDimension()) if scaled else 0,
    )


def _named(root: Any, graph: Any, which: str, tensors: list[Tensor], reader: _Reader) -> list[Tensor]:
    """The inputs or the outputs of `graph` with their keys.

    One tensor may be an input and an output, or several outputs, each under a name of its own.
    """
    keys: dict[int, list[str]] = {}
    signatures = [each for each in reader.each(root, "SignatureDefs") if each.SubgraphIndex() == 0]
    for signature in signatures[:1]:
        for entry in reader.each(signature, which):
            keys.setdefault(entry.TensorIndex(), []).append(reader.text(entry.Name()))
    named = []
    for index in reader.numbers(graph, which):
        left = keys.get(index) or [tensors[index].name]
        key = left.pop(0) if len(left) > 1 else left[0]
        named.append(dataclasses.replace(tensors[index], key=key))
    return named


def _graph(graph: Any, names: list[str], buffers: _Buffers, reader: _Reader) -> Model:
    tensors = [_tensor(tensor, *buffers, reader) for tensor in reader.each(graph, "Tensors")]
    operators = []
    for operator in reader.each(graph, "Operators"):
        inputs, outputs = reader.numbers(operator, "Inputs"), reader.numbers(operator, "Outputs")
        for index in (*inputs, *outputs):
            if not -1 <= index < len(tensors):
                raise ValueError(f"an operator names the tensor {index} of {len(tensors)}")
        options = reader.octets(operator, "CustomOptions")
        operators.append(Operator(names[operator.OpcodeIndex()], inputs, outputs, options))
    computed = [index for operator in operators for index in operator.outputs if index >= 0]
    if len(set(computed)) < len(computed):
        raise ValueError("two operators compute one tensor")
    return Model(
        tensors,
        operators,
        [tensors[index] for index in reader.numbers(graph, "Inputs")],
        [tensors[index] for index in reader.numbers(graph, "Outputs")],
    )


def read_model(content: bytes) -> Model:
    """The operators and tensors of a file; InputError for bytes that are no .tflite file, or a damaged one."""
    if content[4:8] != _IDENTIFIER:
        raise InputError("tflite must be a TensorFlow Lite file, but its identifier is missing.")
    try:
        return _read(content)
    except (struct.error, LookupError, ValueError, TypeError, OverflowError, AttributeError) as error:
        raise InputError(
            f"tflite must be a whole TensorFlow Lite file, but it is damaged or cut short ({error})."
        ) from error


def _read(content: bytes) -> Model:
    from tensorflow.lite.python import schema_py_generated as schema

    reader = _Reader(content)
    root = schema.Model.GetRootAs(content, 0)
    if reader.length(root, "Subgraphs") == 0:
        raise ValueError("it holds no graph")
    sizes = []
    buffers = reader.each(root, "Buffers")
    for buffer in buffers:
        # A buffer beyond 2 GiB lies after the flatbuffer and is told by its offset and size.
        sizes.append(reader.length(buffer, "Data", 1) or int(buffer.Size()))
    names = _operator_names(root, reader)
    graphs = reader.each(root, "Subgraphs")
    model, *inner = (_graph(graph, names, (buffers, sizes), reader) for graph in graphs)
    taken = _named(root, graphs[0], "Inputs", model.tensors, reader)
    yielded = _named(root, graphs[0], "Outputs", model.tensors, reader)
    for which, named in (("Outputs", yielded), ("Inputs", taken)):
        for index, tensor in zip(reader.numbers(graphs[0], which), named, strict=True):
            model.tensors[index] = tensor
    return Model(model.tensors, model.operators, taken, yielded, inner)
