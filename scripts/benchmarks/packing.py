"""What an inference takes with binary weights stored in int8 or in bits, against the same file in float32.

The forms take turns in one process, on one image and one thread. A ratio is the median over the rounds of a form's
processor time to that of float32 in the same round. The weights of a network do not change what it takes.
"""

import statistics
import time
from collections.abc import Callable
from typing import Any

import click
import numpy as np

from larq_equalbits.cli import run_command

RUNTIMES = ("LCE", "tf.lite", "LiteRT", "larq-equalbits-runtime")
PIXELS = 32


def inference(content: bytes, runtime: str, image: np.ndarray) -> Callable[[], Any]:
    """A function that answers one image."""
    import tensorflow as tf
    from ai_edge_litert.interpreter import Interpreter as LiteRT

    from larq_equalbits.export import interpreter

    if runtime == "LCE":
        opened = interpreter.opened(content, "content")
        return lambda: opened.predict([image])
    if runtime == "larq-equalbits-runtime":
        runner = interpreter.import_runtime().Interpreter(content, 1)
    else:
        kind = tf.lite.Interpreter if runtime == "tf.lite" else LiteRT
        runner = kind(model_content=content, num_threads=1)
        runner.allocate_tensors()
    (given,) = runner.get_input_details()
    runner.set_tensor(given["index"], image)
    return runner.invoke


def measure(calls: dict[str, Callable[[], Any]], rounds: int) -> tuple[float, dict[str, float]]:
    """The median of the seconds of "float32", and of each form's share of those in the same round."""
    seconds: dict[str, list[float]] = {form: [] for form in calls}
    for each in range(rounds):
        for form in sorted(calls, reverse=bool(each % 2)):
            # The first inference after another file's fills the caches.
            calls[form]()
            start = time.process_time()
            calls[form]()
            seconds[form].append(time.process_time() - start)
    floats = seconds["float32"]
    shares = {
        form: statistics.median(one / other for one, other in zip(taken, floats, strict=True))
        for form, taken in seconds.items()
    }
    return statistics.median(floats), shares


@click.command(context_settings={"show_default": True})
@click.argument("networks", nargs=-1)
@click.option("--rounds", type=click.IntRange(1), default=100, help="Of an inference of each form.")
def main(networks: tuple[str, ...], rounds: int) -> None:
    """Time NETWORKS of the zoo with float activations (conv2, resnet18 and shufflenet where none is given)."""
    from larq_equalbits import export, zoo
    from larq_equalbits.export import packing, runtimes
    from larq_equalbits.export.flatbuffer import read_model

    builders = {name: zoo.get(name) for name in networks or ("conv2", "resnet18", "shufflenet")}
    image = np.random.default_rng(0).normal(size=(1, PIXELS, PIXELS, 3)).astype("float32")
    click.echo("| network, 1/32 | runtime | float32, ms | int8 | bits |\n|---|---|---|---|---|")
    for name, build in builders.items():
        model = build(input_shape=image.shape[1:], num_classes=10, binarize_activations=False)
        plain = export.convert(model, binary_weights="float32", verify_on=False).tflite
        files = {form: packing.pack(plain, form) for form in ("float32", "int8", "bits")}
        for runtime in RUNTIMES:
            taken = dict(files)
            if runtime in ("tf.lite", "LiteRT") and runtimes.lce_operators(read_model(files["bits"])):
                del taken["bits"]
            calls = {form: inference(file, runtime, image) for form, file in taken.items()}
            seconds, shares = measure(calls, rounds)
            cells = [f"{shares[form]:.2f}" if form in shares else "not taken" for form in ("int8", "bits")]
            click.echo(f"| {name} | {runtime} | {1000 * seconds:.2f} | {' | '.join(cells)} |")


if __name__ == "__main__":
    run_command(main)
