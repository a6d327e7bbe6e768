"""How many images per second the input pipeline gives, against what training conv2 consumes.

Medians over several rounds; the pipeline's and the training's rounds alternate, so other load on the machine
weighs on both.
"""

import json
from pathlib import Path

import click
import turns

from larq_equalbits.cli import run_command


@click.command(context_settings={"show_default": True})
@click.option("--dataset", default="cifar10", help="A data set.")
@click.option("--data-dir", type=click.Path(path_type=Path), default=None, help="The folder of the data.")
@click.option("--model", default="conv2", help="A network of the zoo.")
@click.option("--batch-size", default=128, help="Images per step.")
@click.option("--batches", default=100, help="Batches of the pipeline in a round.")
@click.option("--steps", default=10, help="Training steps in a round.")
@click.option("--rounds", default=5, help="Rounds of each.")
def main(
    dataset: str, data_dir: Path | None, model: str, batch_size: int, batches: int, steps: int, rounds: int
) -> None:
    """Measure the pipeline and the training, and print both and their ratio as JSON."""
    import tensorflow as tf

    from larq_equalbits import data, zoo

    images = data.load(dataset, data_dir=data_dir, batch_size=batch_size)
    network = zoo.get(model)(input_shape=images.input_shape, num_classes=images.num_classes)
    network.compile(tf.keras.optimizers.SGD(0.1, momentum=0.9), "sparse_categorical_crossentropy")
    batch = next(iter(images.train))
    stream = iter(images.epochs())
    functions = {
        "pipeline": lambda: [next(stream) for _ in range(batches)],
        "training": lambda: [network.train_on_batch(*batch) for _ in range(steps)],
    }
    medians = turns.medians(functions, rounds)
    given, consumed = batches * batch_size / medians["pipeline"], steps * batch_size / medians["training"]
    result = {
        "pipeline_images_per_second": round(given),
        "training_images_per_second": round(consumed),
        "ratio": round(given / consumed, 1),
    }
    click.echo(json.dumps(result, indent=2))


if __name__ == "__main__":
    run_command(main)
