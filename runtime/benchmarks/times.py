"""Times VGG-small on this machine against LCE's interpreter and float LiteRT, and two threads against one.

    python benchmarks/times.py [--rounds 40] [--first] [--json FILE]

All take turns in one process, one inference of one image at a time, and the ratios are those of their medians. LCE's
interpreter uses its fast kernels (indirect), float LiteRT uses XNNPACK. Then whole processes are timed that import and
load: the runtime with the binary network against LiteRT with the float one. Where other programs want the processor,
two threads can only be compared with one by --first: as root, the timed inferences then run before all others.
"""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from networks import convert

# Shown name, the numerator and the denominator (of seconds), the most that the ratio may be.
RATIOS = (
    ("the runtime to LCE's interpreter, one thread", "runtime, 1 thread", "LCE, 1 thread", 0.4),
    ("the runtime to float LiteRT, one thread", "runtime, 1 thread", "float LiteRT, 1 thread", 1.0),
    ("two threads to one", "runtime, 2 threads", "runtime, 1 thread", 0.65),
)
MOST_START = 0.3
STARTS = {
    "runtime": "from larq_equalbits_runtime import Interpreter; Interpreter(sys.argv[1])",
    "LiteRT": "from ai_edge_litert.interpreter import Interpreter; Interpreter(sys.argv[1]).allocate_tensors()",
}


def runners(binary: bytes, plain: bytes) -> dict[str, Callable[[], object]]:
    """Functions that answer one image, by what is timed."""
    import numpy as np
    from ai_edge_litert.interpreter import Interpreter as LiteRT
    from larq_compute_engine.tflite.python.interpreter import Interpreter as LceInterpreter
    from larq_equalbits_runtime import Interpreter

    def prepared(runner: LiteRT) -> Callable[[], object]:
        runner.allocate_tensors()
        (given,) = runner.get_input_details()
        runner.set_tensor(given["index"], image)
        return runner.invoke

    image = np.random.default_rng(0).normal(size=(1, 32, 32, 3)).astype(np.float32)
    lce = LceInterpreter(binary, num_threads=1, use_indirect_bgemm=True)
    return {
        "LCE, 1 thread": lambda: lce.predict(image),
        "float LiteRT, 1 thread": prepared(LiteRT(model_content=plain, num_threads=1)),
        "runtime, 1 thread": prepared(Interpreter(binary, 1)),
        "runtime, 2 threads": prepared(Interpreter(binary, 2)),
    }


@contextlib.contextmanager
def ahead_of_others(wanted: bool) -> Iterator[None]:
    """Lets this process and the threads that it starts run before those of other programs."""
    if wanted:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(10))
    try:
        yield
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def alternate(functions: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """The median of the seconds of each; in every round all have their turn, five calls after one untimed."""
    times: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(rounds):
        for name, call in functions.items():
            call()
            for _ in range(5):
                start = time.perf_counter()
                call()
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(seconds) for name, seconds in times.items()}


def start(code: str, model: Path) -> float:
    """Seconds until a process has imported and loaded."""
    begin = time.perf_counter()
    subprocess.run(
        [sys.executable, "-c", f"import sys; {code}", model], check=True, stderr=subprocess.DEVNULL
    )
    return time.perf_counter() - begin


def measure(rounds: int, first: bool) -> dict:
    """All medians, ratios and the seconds of a start beyond LiteRT's."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with tempfile.TemporaryDirectory() as folder:
        binary, plain = Path(folder) / "binary.tflite", Path(folder) / "float.tflite"
        binary.write_bytes(convert("vgg_small", "fused", "binary"))
        plain.write_bytes(convert("vgg_small", "fused", "float"))
        with ahead_of_others(first):
            medians = alternate(runners(binary.read_bytes(), plain.read_bytes()), rounds)
        models = {"runtime": binary, "LiteRT": plain}
        starts = alternate({name: lambda name=name: start(STARTS[name], models[name]) for name in STARTS}, 2)
    rows = [
        {"ratio": name, "value": medians[above] / medians[below], "most": most}
        for name, above, below, most in RATIOS
    ]
    beyond = {"ratio": "seconds of import and load beyond LiteRT's", "most": MOST_START}
    rows.append({**beyond, "value": starts["runtime"] - starts["LiteRT"]})
    return {"milliseconds": {name: 1000 * value for name, value in medians.items()}, "ratios": rows}


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the tables; exit status 1 where a ratio is higher than it may be."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=40, help="of five inferences each (default: 40)")
    parser.add_argument("--first", action="store_true", help="run the timed inferences before other programs")
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    options = parser.parse_args(arguments)
    try:
        found = measure(options.rounds, options.first)
    except PermissionError:
        print("times.py: --first needs root, or the right to use real-time scheduling")
        return 2
    for name, value in found["milliseconds"].items():
        print(f"{name:46} {value:8.2f} ms")
    for row in found["ratios"]:
        print(f"{row['ratio']:46} {row['value']:8.2f}    at most {row['most']}")
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")
    return int(any(row["value"] > row["most"] for row in found["ratios"]))


if __name__ == "__main__":
    sys.exit(main())
