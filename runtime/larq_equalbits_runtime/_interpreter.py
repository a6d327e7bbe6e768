"""LiteRT's interpreter with the delegate, and an answer to whole batches in one call."""

import os
import re
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import interpreter as litert

from larq_equalbits_runtime._errors import InputError, first_line, invalid, is_whole
from larq_equalbits_runtime._library import load_delegate, version

Model = str | os.PathLike[str] | bytes
Arrays = np.ndarray | Sequence[np.ndarray] | Mapping[str, np.ndarray]

#: Images that run at once: enough to share the work of a call, few enough for a small memory.
_BATCH = 16

#: Where the system gives no more threads, LiteRT ends the process.
MOST_THREADS = 1024


def _content(model: Model) -> bytes:
    if isinstance(model, (bytes, bytearray, memoryview)):
        return bytes(model)
    if not isinstance(model, (str, os.PathLike)):
        raise invalid("model", type(model).__name__, "the path or the bytes of a .tflite file")
    try:
        return Path(model).read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"model must be a file that can be read, but {os.fspath(model)}: {reason}."
        ) from error


def _explain(error: Exception) -> InputError:
    """What LiteRT says of a model that it cannot run, in one line."""
    # Operators of TensorFlow itself have names that begin with Flex.
    unknown = re.search(r"(?<=unresolved custom op: )[^\s.]+|(?<=\()Flex\w+(?=\) failed)", str(error))
    if unknown:
        return InputError(
            f"model has the operator {unknown[0]}, which neither LiteRT nor this runtime knows."
        )
    if "larq-equalbits: the interface of" in str(error):
        return InputError(
            f"ai-edge-litert must be a version whose interface larq-equalbits-runtime {version()} knows "
            f"(1.0.0 to 2.3), but got {metadata.version('ai-edge-litert')}: pip install ai-edge-litert==2.3.0."
        )
    return InputError(f"model must be a .tflite file that LiteRT can run, but it says: {first_line(error)}")


class Interpreter(litert.Interpreter):
    """LiteRT's interpreter on one model, its tensors allocated, with the operators of Larq Compute Engine.

    Whatever LiteRT's interpreter can do, this one can. A model without Larq Compute Engine's operators runs as it does
    in LiteRT.

    Args:
        model: path or bytes of a .tflite file.
        num_threads: from 1 to 1024, for LiteRT's kernels and for the binary ones.
        ternary: whether the two binary kernels of a pruned convolution run as one. Answers then differ from those of
            Larq Compute Engine in the last bits, for one rounding takes the place of three; False gives its bits.
        kernel: the bit kernels, "auto" for the fastest that the processor has; see `load_delegate`.

    Raises:
        InputError: a file that is none, is damaged, or has operators that nobody here knows; another bad argument.
    """

    def __init__(self, model: Model, num_threads: int = 1, ternary: bool = True, *, kernel: str = "auto"):
        if not (is_whole(num_threads, 1) and num_threads <= MOST_THREADS):
            raise invalid("num_threads", num_threads, f"a whole number from 1 to {MOST_THREADS}")
        content = _content(model)
        if content[4:8] != b"TFL3":
            raise InputError(
                f"model must be a .tflite file, but these {len(content)} bytes lack its identifier (TFL3)."
            )
        delegate = load_delegate(ternary=ternary, kernel=kernel)
        try:
            super().__init__(
                model_content=content, num_threads=num_threads, experimental_delegates=[delegate]
            )
            self.allocate_tensors()
            self._names = {kind: self._read_names(kind) for kind in ("inputs", "outputs")}
        except (ValueError, RuntimeError, TypeError) as error:
            raise _explain(error) from error
        self._one_by_one = False
        self._batch = self._rows(self.get_input_details())

    @staticmethod
    def _rows(details: Sequence[Mapping[str, Any]]) -> int:
        """The size of the first axis of the inputs, 0 where it is none of images."""
        sizes = {int(detail["shape"][0]) if len(detail["shape"]) else 0 for detail in details}
        return sizes.pop() if len(sizes) == 1 else 0

    def names(self, kind: str) -> list[str]:
        """The names of the "inputs" or "outputs" in the model's order: those of Keras where the file has them.

        Raises:
            InputError: another kind.
        """
        if kind not in self._names:
            raise invalid("kind", kind, '"inputs" or "outputs"')
        return list(self._names[kind])

    def _read_names(self, kind: str) -> list[str]:
        details = self.get_input_details() if kind == "inputs" else self.get_output_details()
        # Several outputs may be one tensor.
        known: dict[int, list[str]] = {}
        signatures = self.get_signature_list()
        runner = self.get_signature_runner(next(iter(signatures))) if len(signatures) == 1 else None
        # A signature may be that of another graph, or of none that the file has: LiteRT looks there unasked.
        if runner is not None and getattr(runner, "_subgraph_index", 0) == 0:
            found = runner.get_input_details() if kind == "inputs" else runner.get_output_details()
            for name, detail in found.items():
                known.setdefault(int(detail["index"]), []).append(name)
        names = []
        for detail in details:
            left = known.get(int(detail["index"])) or [detail["name"]]
            names.append(left.pop(0) if len(left) > 1 else left[0])
        return names

    def predict(self, inputs: Arrays) -> np.ndarray | dict[str, np.ndarray]:
        """The answers for a batch of any size.

        Several images run at once where the model can be resized, else one after another.

        Args:
            inputs: an array (n, ...) of real numbers, or for several inputs a mapping from their names, or a sequence
                in the model's order. An integer input takes real numbers, which are rounded by its scale and zero
                point, or values of its own type as they are stored.

        Returns:
            An array (n, ...); for several outputs a dictionary by their names. Integers that stand for real numbers
            come back as these, in float32.

        Raises:
            InputError: names, shapes or types that are not the model's; a model whose inputs have no common first axis.
        """
        details = self.get_input_details()
        arrays = self._arranged(inputs, details)
        rows = {len(array) for array in arrays}
        if len(rows) != 1:
            raise invalid("inputs", [array.shape for array in arrays], "arrays of one length")
        (count,) = rows
        if not self._batch:
            raise InputError(
                "predict needs inputs with one first axis for images: use set_tensor and invoke."
            )
        size = self._batch if self._one_by_one else max(1, min(count, _BATCH))
        parts: list[list[np.ndarray]] = []
        start = 0
        while start < count:
            part = [array[start : start + size] for array in arrays]
            answers = self._run(part, details)
            if answers is None:
                self._one_by_one, size = True, self._batch
                continue
            parts.append(answers)
            start += size
        return self._named(parts)

    def _arranged(self, inputs: Arrays, details: Sequence[Mapping[str, Any]]) -> list[np.ndarray]:
        """The arrays in the model's order and as its tensors store them."""
        names = self.names("inputs")
        if isinstance(inputs, Mapping):
            if set(inputs) != set(names):
                raise invalid("inputs", sorted(map(str, inputs)), f"a mapping from {', '.join(names)}")
            given: list[Any] = [inputs[name] for name in names]
        elif isinstance(inputs, Sequence) and len(details) > 1:
            given = list(inputs)
        else:
            given = [inputs]
        if len(given) != len(details):
            raise invalid("inputs", f"{len(given)} arrays", f"one array for each of {', '.join(names)}")
        return [
            _encoded(array, detail, name) for array, detail, name in zip(given, details, names, strict=True)
        ]

    def _resize(self, rows: int, details: Sequence[Mapping[str, Any]]) -> None:
        if self._rows(self.get_input_details()) != rows:
            for detail in details:
                self.resize_tensor_input(detail["index"], [rows, *map(int, detail["shape"][1:])])
        self.allocate_tensors()

    def _run(self, part: list[np.ndarray], details: Sequence[Mapping[str, Any]]) -> list[np.ndarray] | None:
        """The outputs for one batch as they are stored; None where the model cannot be resized to it."""
        rows = len(part[0])
        try:
            if rows != self._rows(self.get_input_details()):
                self._resize(rows, details)
            for detail, array in zip(details, part, strict=True):
                self.set_tensor(detail["index"], array)
            self.invoke()
        except (RuntimeError, ValueError) as error:
            self._refuse(rows, details, error)
            return None
        outputs = self.get_output_details()
        answers = [self.get_tensor(detail["index"]) for detail in outputs]
        if any(not answer.ndim or len(answer) != rows for answer in answers):
            shapes = [answer.shape for answer in answers]
            self._refuse(rows, details, RuntimeError(f"for {rows} rows it answers shapes {shapes}"))
            return None
        return answers

    def _refuse(self, rows: int, details: Sequence[Mapping[str, Any]], error: Exception) -> None:
        """Goes back to the file's own batch, or gives up where that was what failed."""
        if rows == self._batch:
            raise InputError(
                f"inputs must be some that the model can answer, but: {first_line(error)}"
            ) from error
        if self._one_by_one:
            raise InputError(
                f"inputs must have a multiple of {self._batch} rows: the model cannot be resized."
            ) from error
        self._resize(self._batch, details)

    def _named(self, parts: list[list[np.ndarray]]) -> np.ndarray | dict[str, np.ndarray]:
        details = self.get_output_details()
        if parts:
            columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
        else:
            columns = [np.empty((0, *detail["shape"][1:]), detail["dtype"]) for detail in details]
        decoded = [_decoded(column, detail) for column, detail in zip(columns, details, strict=True)]
        if len(decoded) == 1:
            return decoded[0]
        return dict(zip(self.names("outputs"), decoded, strict=True))


def _encoded(values: Any, detail: Mapping[str, Any], name: str) -> np.ndarray:
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise InputError(f"inputs[{name!r}] must be an array of numbers, but: {first_line(error)}") from error
    expected = tuple(map(int, detail["shape"]))
    if array.dtype.kind not in "fiub":
        raise invalid(f"inputs[{name!r}]", f"an array of {array.dtype}", "an array of numbers")
    if array.ndim != len(expected) or array.shape[1:] != expected[1:]:
        shape = ", ".join(["n", *map(str, expected[1:])])
        raise invalid(f"inputs[{name!r}]", f"an array of shape {array.shape}", f"of shape ({shape})")
    scale, zero = detail["quantization"]
    kind = np.dtype(detail["dtype"])
    if scale and array.dtype != kind:
        if not np.isfinite(array).all():
            raise InputError(f"inputs[{name!r}] must be finite: {kind} has no NaN and no infinity.")
        limits = np.iinfo(kind)
        array = np.clip(np.round(array / scale) + zero, limits.min, limits.max)
    return np.ascontiguousarray(array, kind)


def _decoded(stored: np.ndarray, detail: Mapping[str, Any]) -> np.ndarray:
    scale, zero = detail["quantization"]
    if not scale:
        return stored
    return ((stored.astype(np.float32) - zero) * scale).astype(np.float32)
