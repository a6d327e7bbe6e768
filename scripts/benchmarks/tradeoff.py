"""Accuracy, size and instructions of one network in float, in 8-bit integers, at 1/32 and at 1/1.

Conv4 of the zoo, half as wide, is trained three times alike on a part of CIFAR-10: as its float twin, with binary
weights alone, and with binary activations too. A training of minutes on one core, of one seed, says little of what
the network can reach. The 8-bit twin is the float network after LiteRT's full-integer quantization. Every file's
accuracy is its own: of our runtime's answers on test images. Instructions are those of an inference by LiteRT's own
wheel with our runtime on an emulated processor, as `runtime/benchmarks/networks.py` counts them, and need the same
programs.

`scripts/figures/tradeoff.py` draws what this writes.
"""

import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import click
import numpy as np

from larq_equalbits import _files
from larq_equalbits._text import csv_table
from larq_equalbits.cli import run_command

ROOT = Path(__file__).resolve().parents[2]
NETWORK = {"float": {"quantizer": None}, "1/32": {"binarize_activations": False}, "1/1": {}}
CPU = "cortex-a72"


def train(kind: str, cifar: Any, epochs: int) -> Any:
    """The trained network."""
    import tensorflow as tf

    from larq_equalbits import zoo

    tf.keras.utils.set_random_seed(0)
    model = zoo.conv4(
        input_shape=cifar.input_shape, num_classes=cifar.num_classes, width=0.5, **NETWORK[kind]
    )
    steps = epochs * cifar.steps_per_epoch
    rate = tf.keras.optimizers.schedules.CosineDecay(2e-3, steps)
    model.compile(tf.keras.optimizers.Adam(rate), "sparse_categorical_crossentropy", ["accuracy"])
    start = time.perf_counter()
    history = model.fit(
        cifar.epochs(), steps_per_epoch=cifar.steps_per_epoch, epochs=epochs, verbose=0
    ).history
    click.echo(
        f"{kind}: training accuracy {history['accuracy'][-1]:.3f} in {time.perf_counter() - start:.0f} s",
        err=True,
    )
    return model


def quantized(model: Any, images: np.ndarray) -> bytes:
    """The network in 8-bit integers as LiteRT's converter makes it, inputs and outputs included."""
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    converter.representative_dataset = lambda: ([image[None]] for image in images)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return converter.convert()


def accuracy(content: bytes, images: np.ndarray, labels: np.ndarray) -> float:
    """The share of images to which the file gives their class."""
    from larq_equalbits.export.interpreter import load

    runner = load(content, runtime="litert")
    (answers,) = runner.predict({runner.inputs[0].key: images}).values()
    return float((answers.argmax(axis=1) == labels).mean())


@click.command(context_settings={"show_default": True})
@click.option("--data-dir", help="The tfds folder that holds cifar10.")
@click.option("--train-images", type=click.IntRange(1), default=2_000)
@click.option("--epochs", type=click.IntRange(1), default=4)
@click.option("--images", type=click.IntRange(1, 10_000), default=500, help="Test images.")
@click.option(
    "--out", type=click.Path(path_type=Path), default=ROOT / "docs" / "data" / "tradeoff.csv", help="The CSV."
)
def main(data_dir: str | None, train_images: int, epochs: int, images: int, out: Path) -> None:
    """Trains, converts, measures, and writes a row for each form."""
    from larq_equalbits import data, export

    sys.path.insert(0, str(ROOT / "runtime" / "benchmarks"))
    import networks

    cifar = data.load("cifar10", data_dir=data_dir, batch_size=32, train_images=train_images)
    batches = list(cifar.test.unbatch().take(images).batch(images))
    ((tests, labels),) = [(batch.numpy(), classes.numpy()) for batch, classes in batches]
    examples = next(iter(cifar.train))[0].numpy()
    files: dict[str, bytes] = {}
    for kind in NETWORK:
        model = train(kind, cifar, epochs)
        for form in ("int8", "bits") if kind == "1/32" else ("int8",):
            name = f"{kind} {form}" if kind == "1/32" else kind
            files[name] = export.convert(model, verify_on=False, binary_weights=form).tflite
        if kind == "float":
            files["int8"] = quantized(model, examples)
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        networks.make_system(folder)
        counter, library = networks.plugin(folder), networks.build(folder)
        for form, content in files.items():
            path = folder / "network.tflite"
            path.write_bytes(content)
            rows.append(
                {
                    "form": form,
                    "accuracy": round(accuracy(content, tests, labels), 4),
                    "bytes": len(content),
                    "instructions": networks.count(counter, library, path, CPU),
                    "train_images": train_images,
                    "epochs": epochs,
                    "test_images": images,
                }
            )
            click.echo(rows[-1])
    _files.write_text(out, csv_table(rows))


if __name__ == "__main__":
    run_command(main)
