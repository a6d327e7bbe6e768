"""`python -m larq_equalbits_runtime.benchmark`: time, memory and outputs of one model, as JSON.

    python -m larq_equalbits_runtime.benchmark model.tflite --threads 4 --inputs images.npz --outputs answers.npz

The time is that of an inference alone, without handing arrays over. Memory is by how much the process grew from before
the model was loaded until after the runs.
"""

import argparse
import json
import re
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from larq_equalbits_runtime._errors import InputError, first_line
from larq_equalbits_runtime._interpreter import Interpreter
from larq_equalbits_runtime._library import kernels, version


def _status_kib(name: str) -> float | None:
    """A figure of this process from /proc, in KiB."""
    try:
        found = re.search(rf"^{name}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.M)
    except OSError:
        return None
    return float(found.group(1)) if found else None


def _stored(path: Path) -> list[np.ndarray]:
    """The inputs in a file, in the model's order."""
    try:
        with np.load(path, allow_pickle=False) as content:
            return [np.asarray(content[f"arr_{number}"]) for number in range(len(content.files))]
    # numpy and zipfile raise whatever they meet in a damaged file.
    except Exception as error:
        raise InputError(
            f"--inputs must be an .npz with arr_0, arr_1, ... in it, but {path} is not: {first_line(error)}"
        ) from error


def noise(interpreter: Interpreter) -> list[np.ndarray]:
    """Random inputs in the model's order, of its shapes and types."""
    random = np.random.default_rng(0)
    return [
        random.normal(size=detail["shape"]).astype(np.float32).astype(detail["dtype"])
        for detail in interpreter.get_input_details()
    ]


def _batch(interpreter: Interpreter, arrays: list[np.ndarray]) -> int:
    """The size of the file's batch, of which the arrays hold one or more."""
    details = interpreter.get_input_details()
    sizes = {int(detail["shape"][0]) if len(detail["shape"]) else 0 for detail in details}
    size = sizes.pop() if len(sizes) == 1 else 0
    if not size:
        raise InputError("MODEL must have inputs with one first axis, which is that of images.")
    rows = {array.shape[:1] for array in arrays}
    if len(arrays) != len(details) or len(rows) != 1 or rows & {(), (0,)} or len(arrays[0]) % size:
        raise InputError(
            f"--inputs must be {len(details)} arrays for this model, all of {size} rows or a multiple of that, but "
            f"have the shapes {[array.shape for array in arrays]}."
        )
    return size


def _answers(interpreter: Interpreter, arrays: list[np.ndarray], batch: int) -> list[np.ndarray]:
    """The stored outputs for all images, which run in batches of the file's own size."""
    inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
    rows: list[list[np.ndarray]] = []
    for start in range(0, len(arrays[0]), batch):
        for detail, array in zip(inputs, arrays, strict=True):
            interpreter.set_tensor(detail["index"], array[start : start + batch])
        interpreter.invoke()
        rows.append([interpreter.get_tensor(detail["index"]) for detail in outputs])
    return [np.concatenate(column) for column in zip(*rows, strict=True)]


def _times(interpreter: Interpreter, repeats: int, warmup: int) -> list[float]:
    for _ in range(warmup):
        interpreter.invoke()
    found = []
    for _ in range(repeats):
        start = time.perf_counter()
        interpreter.invoke()
        found.append(1000 * (time.perf_counter() - start))
    return found


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Runs a model as the command's options say, and returns what was found.

    Raises:
        InputError: a model that is none, or inputs that are not its.
    """
    given = _stored(options.inputs) if options.inputs else None
    # The inputs are no memory of the model.
    before, start = _status_kib("VmRSS"), time.perf_counter()
    interpreter = Interpreter(options.model, options.threads, ternary=options.ternary, kernel=options.kernel)
    init = 1000 * (time.perf_counter() - start)
    arrays = noise(interpreter) if given is None else given
    batch = _batch(interpreter, arrays)
    try:
        _answers(interpreter, [array[:batch] for array in arrays], batch)
        rounds = [_times(interpreter, options.repeats, options.warmup) for _ in range(options.rounds)]
        after = _status_kib("VmRSS")
        outputs = _answers(interpreter, arrays, batch) if options.outputs else []
    except (ValueError, RuntimeError) as error:
        raise InputError(f"--inputs must be arrays for this model, but: {first_line(error)}") from error
    if options.outputs:
        np.savez(options.outputs, *outputs)
    return {
        "version": version(),
        "kernels": kernels(),
        "threads": options.threads,
        "init_ms": init,
        "rounds_ms": rounds,
        "memory_kib": None if before is None or after is None else after - before,
        "peak_kib": _status_kib("VmHWM"),
    }


def main() -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(
        prog="python -m larq_equalbits_runtime.benchmark", description="Measures one model, and prints JSON."
    )
    parser.add_argument("model", metavar="MODEL")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=50, help="inferences in a round")
    parser.add_argument("--warmup", type=int, default=5, help="inferences before each round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--inputs", type=Path, help=".npz with arr_0, arr_1, ... in the model's order")
    parser.add_argument("--outputs", type=Path, help=".npz to write all images' answers to")
    parser.add_argument("--kernel", default="auto")
    parser.add_argument("--no-ternary", dest="ternary", action="store_false")
    try:
        print(json.dumps(measure(parser.parse_args())))
    except (InputError, OSError) as error:
        print(f"larq_equalbits_runtime.benchmark: {first_line(error)}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
