"""LCE's interpreter or our runtime on one file, with inputs and outputs by the names that Keras gave them."""

import dataclasses
import importlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from larq_equalbits._errors import InputError, check_kind, invalid, require
from larq_equalbits.export import lce
from larq_equalbits.export.flatbuffer import Tensor, read_model

Source = str | os.PathLike[str] | bytes

#: LCE's interpreter, and LiteRT with our runtime.
RUNTIMES = ("lce", "litert")


def check_source(source: Any, argument: str = "tflite") -> None:
    """Raises InputError for what is no path and no bytes; it calls them `argument`."""
    check_kind(argument, source, str | os.PathLike | bytes, "the path of a .tflite file, or its bytes")


def read_bytes(source: Source) -> bytes:
    """The bytes of a path, or the bytes that were given."""
    check_source(source)
    return source if isinstance(source, bytes) else Path(source).read_bytes()


def batched(shape: Sequence[int]) -> str:
    """The shape of a batch, in words: "(n, 8, 8, 1)" for a tensor of shape (1, 8, 8, 1)."""
    return f"({', '.join(map(str, ['n', *shape[1:]]))})"


@dataclasses.dataclass
class Runner:
    """A file that can be run.

    Attributes:
        inputs: the file's inputs in its own order.
        outputs: the file's outputs in its own order.
        tensors: all tensors of the file.
    """

    inputs: list[Tensor]
    outputs: list[Tensor]
    tensors: list[Tensor]
    _interpreter: Any

    def predict(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The outputs by name for a batch of inputs by name, which is run one by one."""
        ordered = [self._fit(tensor, inputs[tensor.key]) for tensor in self.inputs]
        rows = [
            self._interpreter.predict([one[i : i + 1] for one in ordered]) for i in range(len(ordered[0]))
        ]
        columns = zip(*rows, strict=True)
        return {
            tensor.key: tensor.decode(np.concatenate(column))
            for tensor, column in zip(self.outputs, columns, strict=True)
        }

    def _fit(self, tensor: Tensor, values: np.ndarray) -> np.ndarray:
        if values.shape[1:] != tensor.shape[1:]:
            raise invalid(
                f"inputs[{tensor.key!r}]",
                f"an array of shape {values.shape}",
                f"of shape {batched(tensor.shape)}",
            )
        return tensor.encode(values)


class _LiteRT:
    """Our runtime with the one method of LCE's interpreter that is used here."""

    def __init__(self, content: bytes, threads: int):
        self._interpreter = import_runtime().Interpreter(content, threads, ternary=False)
        self._inputs = [detail["index"] for detail in self._interpreter.get_input_details()]
        self._outputs = [detail["index"] for detail in self._interpreter.get_output_details()]

    def predict(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The stored outputs for the stored inputs of one image."""
        for index, array in zip(self._inputs, arrays, strict=True):
            self._interpreter.set_tensor(index, array)
        self._interpreter.invoke()
        return [self._interpreter.get_tensor(index) for index in self._outputs]


def import_runtime() -> Any:
    """The module of our runtime; ImportError where it is missing, with the command that installs it."""
    try:
        return importlib.import_module("larq_equalbits_runtime")
    except ModuleNotFoundError as error:
        if error.name not in ("larq_equalbits_runtime", "ai_edge_litert"):
            raise
        raise ImportError(
            f"This needs {error.name}, which is not installed: pip install larq-equalbits-runtime (in a clone: "
            "pip install ./runtime)."
        ) from error


def check_runtime(runtime: Any) -> None:
    """Checks the name of what runs a file; InputError for another one."""
    if not (isinstance(runtime, str) and runtime in RUNTIMES):
        raise invalid("runtime", runtime, '"lce" or "litert"')


def opened(content: bytes, argument: str, threads: int = 1, runtime: str = "lce") -> Any:
    """An interpreter on the bytes of a .tflite file.

    Args:
        content: the file.
        argument: what an error calls it.
        threads: number of threads.
        runtime: "lce" for LCE's own, "litert" for our runtime with LCE's bits.

    Raises:
        InputError: a file that it cannot run.
        ImportError: where it is not installed, with the command that installs it.
    """
    check_runtime(runtime)
    model = read_model(content)
    lce.check(model, argument)
    if runtime == "litert":
        module = import_runtime()
        try:
            return _LiteRT(content, threads)
        except module.InputError as error:
            raise InputError(f"{argument} must be a file that our runtime can run, but: {error}") from error
    module = require("deploy", "larq_compute_engine.tflite.python.interpreter")
    try:
        # On x86-64 the default kernel is several times slower; on ARM the option changes nothing that is measured here.
        # In the body of a loop the indirect one answers wrongly.
        looped = any(
            operator.name == lce.BINARY_OPERATOR for inner in model.inner for operator in inner.operators
        )
        return module.Interpreter(content, num_threads=threads, use_indirect_bgemm=not looped).interpreter
    except RuntimeError as error:
        raise InputError(
            f"{argument} must be a file that LCE can run, but its interpreter says: {error}"
        ) from error


def load(source: Source, *, runtime: str = "lce") -> Runner:
    """An interpreter on a .tflite file.

    Args:
        source: path or bytes.
        runtime: "lce" or "litert"; see `opened`.

    Raises:
        InputError: a file that is no .tflite, or that the interpreter cannot run.
        ImportError: where the interpreter is not installed.
    """
    content = read_bytes(source)
    model = read_model(content)
    return Runner(model.inputs, model.outputs, model.tensors, opened(content, "tflite", runtime=runtime))
