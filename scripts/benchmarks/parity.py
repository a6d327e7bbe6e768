"""How often a converted network gives an image another class than Keras, and how often Keras does so itself.

A network with binary activations turns the smallest rounding into another bit wherever a value lies next to 0. So each
network, trained for a few steps on CIFAR-10, is compared on test images with its file, and with itself compiled by XLA,
which fuses as LCE does: that shows how much of a difference is rounding.
"""

import json

import click
import numpy as np

from larq_equalbits.cli import run_command

BITS = ("1/1", "1/32")


def measure(
    network: str, bits: str, data_dir: str | None, quantizer: str, width: float, steps: int, images: int
) -> dict[str, int]:
    """How many of the images get another class from the file, and from Keras compiled by XLA."""
    import tensorflow as tf

    from larq_equalbits import data, export, zoo

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
    verification = export.verify(model, export.convert(model, verify_on=False).tflite, tests)
    plain = model.predict(tests, batch_size=128, verbose=0)
    compiled = tf.function(lambda batch: model(batch, training=False), jit_compile=True)
    fused = np.concatenate([compiled(tests[i : i + 128]).numpy() for i in range(0, images, 128)])
    itself = int((plain.argmax(axis=1) != fused.argmax(axis=1)).sum())
    return {"images": images, "file": verification.differing, "keras by XLA": itself}


@click.command(context_settings={"show_default": True})
@click.argument("networks", nargs=-1)
@click.option("--data-dir", help="The tfds folder that holds cifar10.")
@click.option("--quantizer", default="bi_half", help="The kernels' quantizer.")
@click.option("--width", type=float, default=0.25, help="Factor of the networks' width.")
@click.option("--steps", type=click.IntRange(1), default=50, help="Of training, with 64 images each.")
@click.option("--images", type=click.IntRange(1, 10_000), default=1_000, help="Test images to compare.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON lines.")
def main(
    networks: tuple[str, ...],
    data_dir: str | None,
    quantizer: str,
    width: float,
    steps: int,
    images: int,
    as_json: bool,
) -> None:
    """Compares NETWORKS of the zoo, or all of them, with their files image by image."""
    from larq_equalbits import zoo

    if not as_json:
        click.echo(
            "| network | bits | images | other class in the file | in Keras by XLA |\n|---|---|---|---|---|"
        )
    for network in networks or zoo.list_models():
        for bits in BITS:
            row = {
                "network": network,
                "bits": bits,
                **measure(network, bits, data_dir, quantizer, width, steps, images),
            }
            click.echo(json.dumps(row) if as_json else f"| {' | '.join(map(str, row.values()))} |")


if __name__ == "__main__":
    run_command(main)
