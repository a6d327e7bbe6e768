"""Models in this process: LCE's interpreter or our runtime, and the Keras model they were converted from."""

import ctypes
import os
import platform
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from larq_equalbits._errors import InputError
from larq_equalbits.device.measured import Latency, Result
from larq_equalbits.device.models import Model
from larq_equalbits.device.settings import Settings
from larq_equalbits.export import verification
from larq_equalbits.export.functions import input_names, output_names
from larq_equalbits.export.interpreter import opened
from larq_equalbits.export.precision import in_float32
from larq_equalbits.export.reference import exact_signs

_CALLED = {"lce": "LCE's interpreter", "litert": "larq-equalbits-runtime"}


def runner(
    model: Model, threads: int = 1, runtime: str = "lce"
) -> Callable[[Sequence[np.ndarray]], list[np.ndarray]]:
    """What answers one image with the stored outputs: LCE's interpreter ("lce") or our runtime ("litert").

    Raises:
        InputError: where it cannot run the model.
        ImportError: where it is not installed, with the command that installs it.
    """
    interpreter = opened(model.data, f"model {model.name}", threads, runtime)
    return lambda sample: interpreter.predict(list(sample))


def join(model: Model, rows: Sequence[Sequence[np.ndarray]]) -> list[np.ndarray]:
    """The outputs of single images as one array for every output, in real numbers."""
    columns = zip(*rows, strict=True)
    return [
        tensor.decode(np.concatenate(column)) for tensor, column in zip(model.outputs, columns, strict=True)
    ]


def _resident_kib() -> float | None:
    """Memory of this process. Freed memory is given back first: a model that fits in it would seem to need none."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, AttributeError, TypeError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE") / 1024


def measure(
    model: Model, samples: Sequence[Sequence[np.ndarray]], threads: int, settings: Settings
) -> Result:
    """Runs `model` in this process: `rounds` times `warmup` and `repeats` inferences of the first image.

    The time includes handing the arrays over from Python. Memory is how much this process grew by the model and one
    inference, in KiB.
    """
    result = Result(model.name, "local", threads, len(model.data))
    # Libraries and threads that a first inference brings belong to no model.
    runner(model, threads, settings.runtime)(samples[0])
    before, start = _resident_kib(), time.perf_counter()
    run = runner(model, threads, settings.runtime)
    result.init_ms = 1000 * (time.perf_counter() - start)
    run(samples[0])
    after = _resident_kib()
    if before is not None and after is not None:
        result.memory_kib = max(0.0, after - before)
    result.outputs = join(model, list(map(run, samples)))
    measured = []
    for _ in range(settings.rounds):
        for _ in range(settings.warmup):
            run(samples[0])
        times = np.empty(settings.repeats)
        for position in range(settings.repeats):
            start = time.perf_counter()
            run(samples[0])
            times[position] = time.perf_counter() - start
        measured.append(Latency.of(1000 * times))
    result.latency = Latency.over(measured)
    result.notes.append(
        f"local: {_CALLED[settings.runtime]} in Python has no profiler; a profile needs lce_benchmark_model."
    )
    if threads > (os.cpu_count() or threads):
        result.notes.append(
            f"local: {threads} threads share {os.cpu_count()} cores; do not read that as a speed."
        )
    if platform.machine().lower() not in ("aarch64", "arm64"):
        result.notes.append(f"local is {platform.machine()}: its times say nothing about 64-bit ARM.")
    return result


def keras_outputs(
    keras_model: Any, model: Model, samples: Sequence[Sequence[np.ndarray]]
) -> list[np.ndarray]:
    """What the Keras model answers to the same images, in the order of the converted model's outputs.

    Inputs and outputs of several go by name where the file's signature has Keras' names, else by order.

    Raises:
        InputError: where the two models have different numbers of inputs or outputs.
    """
    keras_model = in_float32(keras_model)
    columns = (np.concatenate(column) for column in zip(*samples, strict=True))
    named = {tensor.key: tensor.decode(column) for tensor, column in zip(model.inputs, columns, strict=True)}
    names = input_names(keras_model, len(named))
    if len(names) != len(named):
        raise InputError(
            f"keras_model must have the {len(named)} inputs of {model.name}, but has {len(names)}."
        )
    if set(names) != set(named):
        named = dict(zip(names, named.values(), strict=True))
    with exact_signs(keras_model):
        answers = verification.keras_outputs(keras_model, named)
    if len(answers) != len(model.outputs):
        raise InputError(
            f"keras_model must have the {len(model.outputs)} outputs of {model.name}, but has {len(answers)}."
        )
    by_name = dict(zip(output_names(keras_model, len(answers)), answers, strict=True))
    keys = [tensor.key for tensor in model.outputs]
    found = [by_name[key] for key in keys] if set(keys) == set(by_name) else answers
    return [
        np.reshape(each, (-1, *tensor.shape[1:])) for each, tensor in zip(found, model.outputs, strict=True)
    ]
