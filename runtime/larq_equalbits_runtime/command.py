"""`larq-equalbits-run`: what a model answers to images, and how long it takes."""

import argparse
import contextlib
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from larq_equalbits_runtime import _images
from larq_equalbits_runtime._description import Description
from larq_equalbits_runtime._errors import InputError, first_line, visible
from larq_equalbits_runtime._interpreter import MOST_THREADS, Interpreter
from larq_equalbits_runtime._library import kernels, version
from larq_equalbits_runtime.benchmark import noise

_EXAMPLES = """
examples:
  larq-equalbits-run model.tflite photo.jpg
  larq-equalbits-run model.tflite photos/*.jpg --threads 4 --json
  larq-equalbits-run model.tflite --repeats 100

Without an image the model runs on noise, for its time alone. Exit status: 0 done, 2 bad input.
"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="larq-equalbits-run",
        description="Says what a converted network sees in images, with probabilities and milliseconds. "
        "How images are normalised and what the classes are called is in model.json beside the model.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "model", metavar="MODEL", type=Path, help="a .tflite file, or a folder with model.tflite"
    )
    parser.add_argument(
        "images", metavar="IMAGE", nargs="*", default=[], type=Path, help="files that Pillow can read"
    )
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="number of threads (default 1)")
    parser.add_argument(
        "--repeats",
        type=int,
        default=1,
        metavar="N",
        help="inferences of each image; the median counts (default 1)",
    )
    parser.add_argument("--top", type=int, default=3, metavar="N", help="classes to show (default 3)")
    parser.add_argument(
        "--no-ternary",
        action="store_true",
        help="run the halves of a pruned convolution one by one, as LCE does",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--version", action="version", version=f"{version()} ({kernels()})")
    return parser


def probabilities(scores: np.ndarray, step: float = 0.0) -> np.ndarray:
    """The probabilities (classes,) in a network's answer: itself where it is a distribution, else its softmax.

    Args:
        scores: (classes,).
        step: the distance between two values that the answer can have, 0 for float.
    """
    scores = np.asarray(scores, np.float64).ravel()
    if (scores >= 0).all() and abs(scores.sum() - 1) <= 1e-3 + 0.5 * step * len(scores):
        return scores
    powers = np.exp(scores - scores.max())
    return powers / powers.sum()


def _measured(interpreter: Interpreter, image: Any, repeats: int) -> tuple[np.ndarray, float]:
    """The scores of the first output for one image, and the median time of an inference in milliseconds."""
    answer = interpreter.predict(image)
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        interpreter.invoke()
        times.append(1000 * (time.perf_counter() - start))
    first = answer if isinstance(answer, np.ndarray) else answer[interpreter.names("outputs")[0]]
    return first, float(np.median(times))


def _classes(interpreter: Interpreter, scores: np.ndarray, description: Description, top: int) -> list[Any]:
    shares = probabilities(scores, interpreter.get_output_details()[0]["quantization"][0])
    best = np.argsort(-shares, kind="stable")[:top]
    return [{"label": description.label(int(k)), "probability": float(shares[k])} for k in best]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps what LiteRT says about its own kernels from standard error; what fails raises."""
    try:
        saved = os.dup(2)
    except OSError:
        # A program without a standard error has nothing to keep quiet.
        yield
        return
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)


def _run(options: argparse.Namespace) -> int:
    for name, most in (("repeats", 10**6), ("top", 10**6), ("threads", MOST_THREADS)):
        if not 1 <= getattr(options, name) <= most:
            raise InputError(f"--{name} must be from 1 to {most}, but got {getattr(options, name)}.")
    path = options.model / "model.tflite" if options.model.is_dir() else options.model
    with _quiet():
        interpreter = Interpreter(path, options.threads, ternary=not options.no_ternary)
    inputs, outputs = (len(interpreter.names(kind)) for kind in ("inputs", "outputs"))
    if not (inputs and outputs):
        raise InputError(f"MODEL must have inputs and outputs, but has {inputs} and {outputs}.")
    report: dict[str, Any] = {
        "model": str(path),
        "threads": options.threads,
        "kernels": kernels(),
        "images": [],
    }
    if not options.images:
        arrays = dict(zip(interpreter.names("inputs"), noise(interpreter), strict=True))
        _, report["ms"] = _measured(interpreter, arrays, options.repeats)
        print(json.dumps(report) if options.json else visible(f"{path}: {report['ms']:.3f} ms"))
        return 0
    description = Description.beside(path, path.read_bytes())
    if description is None:
        raise InputError(
            f"{path.with_suffix('.json')} is missing, which says how images are normalised: copy it too."
        )
    shape = tuple(map(int, interpreter.get_input_details()[0]["shape"]))
    if len(interpreter.get_input_details()) > 1 or len(shape) != 4:
        raise InputError("MODEL must take one image for its answer; for another use Interpreter.predict.")
    classes = interpreter.get_output_details()[0]["shape"]
    if classes.size == 0 or classes[-1] == 1 or classes.prod() != classes[-1]:
        raise InputError(
            "MODEL must answer with scores of classes, but answers with "
            f"{tuple(map(int, classes))}: use Interpreter.predict."
        )
    description.require(shape[1:], int(classes[-1]))
    status = 0
    for image in options.images:
        try:
            pixels = _images.load(image, shape, description)
            scores, ms = _measured(interpreter, pixels, options.repeats)
            if not np.isfinite(scores).all():
                raise InputError(f"MODEL must answer with finite scores, but for {image} it does not.")
        except InputError as error:
            print(f"larq-equalbits-run: {first_line(error)}", file=sys.stderr)
            status = 2
            continue
        classes = _classes(interpreter, scores, description, options.top)
        report["images"].append({"image": str(image), "classes": classes, "ms": ms})
        if not options.json:
            found = ", ".join(f"{each['label']} {each['probability']:.1%}" for each in classes)
            print(visible(f"{image}: {found} ({ms:.3f} ms)"), flush=True)
    if options.json:
        print(json.dumps(report))
    return status


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Runs the command; bad input gives one line and exit status 2."""
    try:
        status = _run(_parser().parse_args(arguments))
    except (InputError, ImportError, OSError) as error:
        print(f"larq-equalbits-run: {first_line(error)}", file=sys.stderr)
        status = 2
    sys.exit(status)
