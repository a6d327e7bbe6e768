"""Binary weights of layers that multiply in float, in one byte or one bit each.

LCE has no kernel for binary weights on float activations and stores such a kernel as floats. Here the constant is
stored small, and operators that stand before the layer make the floats again:

    int8   codes (-1, 0, +1) with one scale per filter -> DEQUANTIZE. Every TensorFlow Lite does that once, when the
           file is loaded: the same floats, the same speed.
    bits   packed words (1 stands for -1) -> LceDequantize -> MUL by the scales. A kernel with zeros is half the sum of
           two that agree where it is not zero (two bits a weight). LCE's runtime does that at every inference,
           larq-equalbits-runtime once.

The floats are the former ones to the bit, so nothing else in the file changes.
"""

import dataclasses
import math
from typing import Any

import numpy as np

from larq_equalbits._errors import InputError, invalid
from larq_equalbits.export import writing

FORMS = ("int8", "bits", "float32")

# Where the filters of a kernel, which is always the second input, lie.
_FILTER_AXIS = {
    "CONV_2D": 0,
    "DEPTHWISE_CONV_2D": 3,
    "FULLY_CONNECTED": 0,
    "TRANSPOSE_CONV": 0,
    "CONV_3D": 4,
    "CONV_3D_TRANSPOSE": 3,
}
_SMALLEST_SCALE = float(np.finfo(np.float32).tiny)
# Versions from which DEQUANTIZE takes 8-bit integers with one scale, and with one per filter.
_DEQUANTIZE, _DEQUANTIZE_BY_FILTER = 2, 5


def check(form: str, float_layers: str) -> None:
    """Checks `convert`'s argument `binary_weights`.

    Raises:
        InputError: an unknown form, or "bits" with layers in 8-bit integers.
    """
    if not (isinstance(form, str) and form in FORMS):
        raise invalid("binary_weights", form, f"one of {', '.join(FORMS)}")
    if form == "bits" and float_layers == "int8":
        raise InputError(
            'binary_weights (--binary-weights) must be "int8" or "float32" where float_layers (--float-layers) is '
            '"int8", but got "bits": layers in 8-bit integers keep their own form, one byte a weight.'
        )


@dataclasses.dataclass(frozen=True)
class Codes:
    """A kernel as codes times a scale per filter.

    Attributes:
        values: int8 in {-1, 0, +1}, of the kernel's shape.
        scales: float32, one per filter, any where a filter is all zeros; a single one where all are equal.
        axis: the kernel's axis of filters.
        empty: (filters,), which filters are all zeros.
    """

    values: np.ndarray
    scales: np.ndarray
    axis: int
    empty: np.ndarray

    @property
    def pruned(self) -> bool:
        """Whether filters have zeros beside other weights, which take a second bit."""
        return not np.moveaxis(self.values, self.axis, -1)[..., ~self.empty].all()

    def bytes(self, form: str) -> int:
        """The size of the constants."""
        scales = 4 * self.scales.size
        if form == "int8":
            return int(self.values.size) + scales
        words = math.prod(self.values.shape[:-1]) * -(-self.values.shape[-1] // 32)
        return 4 * words * (2 if self.pruned else 1) + scales


def codes_of(kernel: np.ndarray, axis: int) -> Codes | None:
    """The codes of `kernel`; None where they times the scales would not be the kernel to the bit, or all zeros."""
    magnitudes = np.abs(kernel)
    others = tuple(i for i in range(kernel.ndim) if i != axis)
    scales = magnitudes.max(axis=others, keepdims=True)
    if not (np.isfinite(scales).all() and scales.any()):
        return None
    used = scales > 0
    if (scales[used] < _SMALLEST_SCALE).any() or not ((magnitudes == scales) | (kernel == 0)).all():
        return None
    empty = ~used.ravel()
    scales = np.where(used, scales, scales[used][0]).ravel()
    if (scales == scales[0]).all():
        scales = scales[:1]
    return Codes(np.sign(kernel).astype(np.int8), scales, axis, empty)


def packed_bits(negative: np.ndarray) -> np.ndarray:
    """LCE's words of a boolean array: 32 along the last axis, the first in the lowest bit, 1 for -1."""
    spare = -negative.shape[-1] % 32
    padded = np.pad(negative, [(0, 0)] * (negative.ndim - 1) + [(0, spare)])
    return np.packbits(padded, axis=-1, bitorder="little").view("<i4")


class _Kernels:
    """The kernels of one graph that are stored small, each once however many layers share it."""

    def __init__(self, model: Any, graph: Any, form: str, shared: dict[bytes, int]) -> None:
        self.writer = writing.Graph(model, graph)
        self.graph = graph
        self.form = form
        self.shared = shared
        self.done: dict[Any, int] = {}

    def produce(self, tensor: int, codes: Codes, form: str) -> list[Any]:
        """Operators that make the tensor, whose constant is taken away, from small constants."""
        kernel = self.graph.tensors[tensor]
        kernel.buffer = 0
        name = kernel.name.decode() if isinstance(kernel.name, bytes) else kernel.name
        if form == "int8":
            return self._integers(name, tensor, codes)
        return self._bits(name, tensor, codes)

    def _buffer(self, array: np.ndarray) -> int:
        # Normalizations give each use of a shared layer a kernel of its own, of the same codes.
        octets = array.tobytes()
        if octets not in self.shared:
            self.shared[octets] = self.writer.buffer(array)
        return self.shared[octets]

    def _integers(self, name: str, tensor: int, codes: Codes) -> list[Any]:
        buffer = self._buffer(codes.values)
        stored = self.writer.tensor(f"{name}/int8", codes.values.shape, "INT8", buffer)
        self.writer.scaled(stored, codes.scales, codes.axis)
        version = _DEQUANTIZE if codes.scales.size == 1 else _DEQUANTIZE_BY_FILTER
        return [self.writer.operator("DEQUANTIZE", version, [stored], tensor)]

    def _bits(self, name: str, tensor: int, codes: Codes) -> list[Any]:
        signs, factors = [codes.values < 0], codes.scales
        if codes.pruned:
            signs.append(codes.values <= 0)
            factors = factors * np.float32(0.5)
        elif codes.empty.any():
            factors = np.where(codes.empty, np.float32(0), factors)
        operators: list[Any] = []

        def stored(label: str, array: np.ndarray, shape: Any, dtype: str) -> int:
            return self.writer.tensor(f"{name}/{label}", shape, dtype, self._buffer(array))

        def computed(kind: str, label: str, inputs: list[int]) -> int:
            made = self.writer.tensor(f"{name}/{label}", codes.values.shape, "FLOAT32")
            operators.append(self.writer.operator(kind, 1, inputs, made))
            return made

        parts = []
        for i, words in enumerate(map(packed_bits, signs)):
            bits = stored(f"bits{i}", words, words.shape, "INT32")
            parts.append(computed("LceDequantize", f"signs{i}", [bits]))
        current = parts[0] if len(parts) == 1 else computed("ADD", "sum", parts)
        if (factors != 1).any():
            axes = [1] * codes.values.ndim
            axes[codes.axis] = factors.size
            computed("MUL", "product", [current, stored("scale", factors, axes, "FLOAT32")])
        # The last operator makes the kernel itself.
        self.graph.tensors.pop()
        operators[-1].outputs = [tensor]
        return operators


def pack(content: bytes, form: str) -> bytes:
    """The .tflite file `content` with the binary kernels of its float operators stored in `form`.

    A kernel is binary where each filter has one magnitude, zeros aside, in whatever file; other kernels, and those that
    would not become smaller, stay as they are.

    Args:
        content: a file.
        form: one of `FORMS`.
    """
    if form == "float32":
        return content
    model = writing.opened(content)
    if writing.is_external(model):
        return content
    uses = _uses(model)
    shared: dict[bytes, int] = {}
    changed = False
    for graph in model.subgraphs:
        kernels = _Kernels(model, graph, form, shared)
        operators: list[Any] = []
        for operator in graph.operators:
            axis = _FILTER_AXIS.get(writing.operator_name(model, operator))
            if axis is not None and len(operator.inputs) > 1 and operator.inputs[1] >= 0:
                operators += _packed(model, kernels, operator, axis, uses)
            operators.append(operator)
        changed = changed or len(operators) > len(graph.operators)
        graph.operators = operators
    if not changed:
        return content
    used = {tensor.buffer for graph in model.subgraphs for tensor in graph.tensors}
    used |= {entry.buffer for entry in model.metadata or ()}
    for index, buffer in enumerate(model.buffers):
        if index not in used:
            buffer.data = None
    return writing.to_bytes(model)


def _uses(model: Any) -> dict[int, bool]:
    """Whether a buffer is read as the kernel of float operators alone."""
    found: dict[int, bool] = {}
    for graph in model.subgraphs:
        outputs = {int(index) for index in graph.outputs}
        for index in outputs:
            found[graph.tensors[index].buffer] = False
        for operator in graph.operators:
            packs = writing.operator_name(model, operator) in _FILTER_AXIS
            for position, index in enumerate(operator.inputs):
                if index >= 0:
                    buffer = graph.tensors[index].buffer
                    found[buffer] = found.get(buffer, True) and packs and position == 1
    return found


def _packed(model: Any, kernels: _Kernels, operator: Any, axis: int, uses: dict[int, bool]) -> list[Any]:
    """The operators to put before `operator` for its kernel; it may be given the tensor of an equal kernel instead."""
    index = int(operator.inputs[1])
    tensor = kernels.graph.tensors[index]
    shape = tuple(int(size) for size in tensor.shape) if tensor.shape is not None else ()
    kernel = writing.floats(model, tensor)
    if kernel is None or axis >= len(shape):
        return []
    key = (tensor.buffer, shape, axis)
    if key in kernels.done:
        operator.inputs = [*operator.inputs]
        operator.inputs[1] = kernels.done[key]
        tensor.buffer = 0
        return []
    if not uses[tensor.buffer] or kernel.size != math.prod(shape):
        return []
    codes = codes_of(kernel.reshape(shape), axis)
    # A kernel of few input channels fills its words badly, so bits may take more than floats.
    forms = ("bits", "int8") if kernels.form == "bits" else ("int8",)
    smaller = [form for form in forms if codes is not None and codes.bytes(form) < kernel.nbytes]
    if codes is None or not smaller:
        return []
    kernels.done[key] = index
    return kernels.produce(index, codes, smaller[0])
