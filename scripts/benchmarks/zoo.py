"""Training steps per second of the zoo's networks against the same networks written by hand from plain Larq layers.

The two take turns, step by step, on the same random images in one process; medians and their ratio are printed.
"""

import json
from typing import Any

import click
import turns

from larq_equalbits.cli import run_command

SHAPE, CLASSES = (32, 32, 3), 10


def _binary(kind: str, quantizer: str) -> Any:
    import larq

    clipped = "weight_clip" if quantizer == "ste_sign" else None
    options = {"kernel_quantizer": quantizer, "kernel_constraint": clipped, "use_bias": False}
    return lambda *sizes, **more: getattr(larq.layers, kind)(
        *sizes, input_quantizer="ste_sign", **options, **more
    )


def conv2_by_hand(quantizer: str) -> Any:
    """Conv2 as somebody writes it who has Larq alone."""
    import tensorflow as tf

    layers = tf.keras.layers
    convolution, dense = _binary("QuantConv2D", quantizer), _binary("QuantDense", quantizer)

    def norm() -> Any:
        return layers.BatchNormalization(momentum=0.9, epsilon=1e-5)

    return tf.keras.Sequential(
        [
            tf.keras.Input(SHAPE),
            layers.Conv2D(64, 3, padding="same", use_bias=False),
            norm(),
            convolution(64, 3, padding="same"),
            layers.MaxPooling2D(),
            norm(),
            layers.Flatten(),
            dense(256),
            norm(),
            dense(256),
            norm(),
            layers.Dense(CLASSES),
            layers.Activation("softmax"),
        ]
    )


def resnet18_by_hand(quantizer: str) -> Any:
    """ResNet-18 for small images, with a shortcut around each convolution."""
    import tensorflow as tf

    layers = tf.keras.layers
    convolution = _binary("QuantConv2D", quantizer)

    def prelu() -> Any:
        return layers.PReLU(tf.keras.initializers.Constant(0.25), shared_axes=[1, 2])

    def norm(x: Any) -> Any:
        return layers.BatchNormalization(momentum=0.9, epsilon=1e-5)(x)

    image = tf.keras.Input(SHAPE)
    x = layers.Conv2D(64, 3, padding="same", use_bias=False)(image)
    x = prelu()(norm(x))
    for filters in (64, 128, 256, 512):
        for pair in range(2):
            # Two convolutions share a PReLU.
            activation = prelu()
            for position in range(2):
                strides = 2 if filters > 64 and pair == position == 0 else 1
                shortcut = x
                if strides == 2:
                    shortcut = norm(layers.Conv2D(filters, 1, use_bias=False)(x[:, 1::2, 1::2, :]))
                x = activation(convolution(filters, 3, strides=strides, padding="same")(x))
                x = layers.Add()([norm(x), shortcut])
    x = layers.Dense(CLASSES)(layers.GlobalAveragePooling2D()(x))
    return tf.keras.Model(image, layers.Activation("softmax")(x))


BY_HAND = {"conv2": conv2_by_hand, "resnet18": resnet18_by_hand}


def measure(network: str, quantizer: str, batch_size: int, steps: int) -> dict[str, Any]:
    """Steps per second of both, and how fast the zoo's is compared with the other."""
    from larq_equalbits import zoo

    models = {
        "zoo": zoo.get(network)(input_shape=SHAPE, num_classes=CLASSES, quantizer=quantizer),
        "by_hand": BY_HAND[network](quantizer),
    }
    if models["zoo"].count_params() != models["by_hand"].count_params():
        raise RuntimeError(f"{network} by hand is another network than the zoo's.")
    functions = {name: turns.training_step(model, batch_size) for name, model in models.items()}
    medians = turns.medians(functions, steps)
    return {
        "network": network,
        "zoo_steps_per_second": round(1 / medians["zoo"], 3),
        "by_hand_steps_per_second": round(1 / medians["by_hand"], 3),
        "ratio": round(medians["by_hand"] / medians["zoo"], 3),
    }


@click.command(context_settings={"show_default": True})
@click.option("--batch-size", type=click.IntRange(1), default=128, help="Images in a step.")
@click.option("--steps", type=click.IntRange(1), default=30, help="Timed steps of each.")
@click.option("--quantizer", default="ste_sign", help="Of both networks.")
@click.argument("networks", nargs=-1, type=click.Choice(list(BY_HAND)))
def main(batch_size: int, steps: int, quantizer: str, networks: tuple[str, ...]) -> None:
    """Measure NETWORKS (conv2 and resnet18 without any), and print JSON."""
    results = [measure(network, quantizer, batch_size, steps) for network in networks or BY_HAND]
    click.echo(json.dumps(results, indent=2))


if __name__ == "__main__":
    run_command(main)
