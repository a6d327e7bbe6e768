"""LCE's interpreter on one file, with inputs and outputs by the names that Keras gave them."""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from larq_equalbits._errors import InputError, invalid, require
from larq_equalbits.export.flatbuffer import Tensor, read_model

Source = str | os.PathLike[str] | bytes


def read_bytes(source: Source) -> bytes:
    """The bytes of a path, or the bytes that were given."""
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


def opened(content: bytes, argument: str, threads: int = 1) -> Any:
    """LCE's own interpreter on the bytes of a .tflite file.

    Args:
        content: the file.
        argument: what an error calls it.
        threads: number of threads.

    Raises:
        InputError: a file that LCE cannot run.
        ImportError: without larq-compute-engine, naming the extra to install.
    """
    module = require("deploy", "larq_compute_engine.tflite.python.interpreter")
    try:
        # On x86-64 the default kernel is several times slower; on ARM the option changes nothing that is measured here.
        return module.Interpreter(content, num_threads=threads, use_indirect_bgemm=True).interpreter
    except RuntimeError as error:
        raise InputError(
            f"{argument} must be a file that LCE can run, but its interpreter says: {error}"
        ) from error


def load(source: Source, *, threads: int = 1) -> Runner:
    """An interpreter on a .tflite file.

    Args:
        source: path or bytes.
        threads: number of threads.

    Raises:
        InputError: a file that is no .tflite, or that LCE cannot run.
        ImportError: without larq-compute-engine.
    """
    content = read_bytes(source)
    model = read_model(content)
    return Runner(model.inputs, model.outputs, model.tensors, opened(content, "tflite", threads))
