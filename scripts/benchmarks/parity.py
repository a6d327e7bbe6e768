"""How often a converted network gives an image another class than Keras, and how often Keras does so itself.

A network with binary activations turns the smallest rounding into another bit wherever a value lies next to 0. So each
network, trained for a few steps on CIFAR-10, is compared on test images with its file, and with itself compiled by XLA,
which fuses as LCE does: that shows how much of a difference is rounding.

--runtime compares the runtime's answers to the same file with those of LCE's interpreter instead: in TensorFlow Lite
with its plain float kernels, which round much as those in LCE's interpreter do, and in LiteRT with XNNPACK.
"""

import json
from typing import Any

import click
import numpy as np

from larq_equalbits.cli import run_command

BITS = ("1/1", "1/32")


def trained(
    network: str, bits: str, data_dir: str | None, quantizer: str, width: float, steps: int, images: int
) -> tuple[Any, np.ndarray]:
    """The network after so many steps, and test images."""
    import tensorflow as tf

    from larq_equalbits import data, zoo

    cifar = data.load("cifar10", batch_size=64, data_dir=data_dir)
    tests = np.concatenate([batch for batch, _ in cifar.test.take(-(-images // 64))])[:images]
    tf.keras.backend.clear_session()
    tf.keras.utils.set_random_seed(0)
    model = zoo.get(network)(
        input_shape=cifar.input_shape,
        num_classes=cifar.num_classes,
        quantizer=quantizer,
        binarize_activations=bits == "1/1",
        width=width,
    )
    model.compile(tf.keras.optimizers.SGD(0.01, momentum=0.9), "sparse_categorical_crossentropy")
    model.fit(cifar.train.take(steps), verbose=0)
    return model, tests


def other_classes(one: np.ndarray, other: np.ndarray) -> int:
    """For how many images two arrays (n, classes) of scores have another class."""
    return int((one.argmax(axis=1) != other.argmax(axis=1)).sum())


def against_keras(model: Any, tests: np.ndarray) -> dict[str, int]:
    """How many of the images get another class from the file, and from Keras compiled by XLA."""
    import tensorflow as tf

    from larq_equalbits import export

    verification = export.verify(model, export.convert(model, verify_on=False).tflite, tests)
    plain = model.predict(tests, batch_size=128, verbose=0)
    compiled = tf.function(lambda batch: model(batch, training=False), jit_compile=True)
    fused = np.concatenate([compiled(tests[i : i + 128]).numpy() for i in range(0, len(tests), 128)])
    itself = other_classes(plain, fused)
    return {
        "images": len(tests),
        "other class in the file": verification.differing,
        "in Keras by XLA": itself,
    }


def against_lce(model: Any, tests: np.ndarray) -> dict[str, int]:
    """How many of the images get other scores and another class from the runtime than from LCE's interpreter."""
    import larq_equalbits_runtime
    import tensorflow as tf

    from larq_equalbits import export
    from larq_equalbits.export import interpreter

    tflite = export.convert(model, strict=False, verify_on=False).tflite
    runner = interpreter.load(tflite)
    (expected,) = runner.predict({runner.inputs[0].key: tests}).values()
    library = larq_equalbits_runtime.library_path()
    plain = tf.lite.Interpreter(
        model_content=tflite,
        experimental_delegates=[tf.lite.experimental.load_delegate(library, {"ternary": "0"})],
        experimental_op_resolver_type=tf.lite.experimental.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        num_threads=1,
    )
    plain.allocate_tensors()
    answers = []
    for image in tests:
        plain.set_tensor(plain.get_input_details()[0]["index"], image[None])
        plain.invoke()
        answers.append(plain.get_tensor(plain.get_output_details()[0]["index"])[0])
    fast = larq_equalbits_runtime.Interpreter(tflite, ternary=False).predict(tests)
    row = {"images": len(tests)}
    for host, scores in (("TensorFlow Lite", np.stack(answers)), ("LiteRT", fast)):
        # Sums of floats in another order differ by less, unless a bit turned.
        other = np.abs(scores - expected).max(axis=1) > 1e-4 * np.abs(expected).max()
        row[f"other scores in {host}"] = int(other.sum())
        row[f"other class in {host}"] = other_classes(scores, expected)
    return row


@click.command(context_settings={"show_default": True})
@click.argument("networks", nargs=-1)
@click.option("--data-dir", help="The tfds folder that holds cifar10.")
@click.option("--quantizer", default="bi_half", help="The kernels' quantizer.")
@click.option("--width", type=float, default=0.25, help="Factor of the networks' width.")
@click.option("--steps", type=click.IntRange(1), default=50, help="Of training, with 64 images each.")
@click.option("--images", type=click.IntRange(1, 10_000), default=1_000, help="Test images to compare.")
@click.option("--runtime", is_flag=True, help="Compare the runtime with LCE's interpreter instead.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON lines.")
def main(
    networks: tuple[str, ...],
    data_dir: str | None,
    quantizer: str,
    width: float,
    steps: int,
    images: int,
    runtime: bool,
    as_json: bool,
) -> None:
    """Compares NETWORKS of the zoo, or all of them, with their files image by image."""
    from larq_equalbits import zoo

    compare = against_lce if runtime else against_keras
    begun = as_json
    for network in networks or zoo.list_models():
        for bits in BITS:
            row = {
                "network": network,
                "bits": bits,
                **compare(*trained(network, bits, data_dir, quantizer, width, steps, images)),
            }
            if not begun:
                click.echo(f"| {' | '.join(row)} |\n|{len(row) * '---|'}")
                begun = True
            click.echo(json.dumps(row) if as_json else f"| {' | '.join(map(str, row.values()))} |")


if __name__ == "__main__":
    run_command(main)
