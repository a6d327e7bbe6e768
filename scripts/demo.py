"""The demo: trains a binary network on real images, watches its bits, and ships a verified .tflite.

Trains the same network twice with the same seed, with the asked quantizer and with ste_sign; converts the first
one, verifies it on the whole test split, and writes to the output folder the Keras model, model.tflite and model.json,
history.csv, bits.png (entropy and flips of both) and report.json.
"""

import json
import os
from pathlib import Path
from typing import Any

import click

from larq_equalbits import _files
from larq_equalbits.cli import run_command, start
from larq_equalbits.cli.quiet import quiet

_BASELINE = "ste_sign"


def _bits(run: Any) -> dict[str, dict[str, float]]:
    """The last epoch's entropy, share of +1 and flips of each quantized kernel."""
    last = {key: values[-1] for key, values in run.history.items()}
    names = [key.removesuffix("/bit_entropy") for key in last if key.endswith("/bit_entropy")]
    keys = ("bit_entropy", "positive_ratio", "bit_flips")
    return {name: {key: float(last[f"{name}/{key}"]) for key in keys} for name in names}


def _print(report: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(
        "layer", "operator", "bytes", "entropy (bits)", "share of +1", "flips", title=report["model"]
    )
    for layer in report["layers"]:
        bits = report["bits"].get(layer["name"], {})
        cells = [
            f"{bits[key]:.4f}" if key in bits else ""
            for key in ("bit_entropy", "positive_ratio", "bit_flips")
        ]
        table.add_row(layer["name"], layer["operator"], f"{layer['bytes']:,}", *cells)
    console = Console()
    console.print(table)
    console.print(
        f"accuracy on the test split: Keras {report['keras_accuracy']:.4f}, .tflite {report['tflite_accuracy']:.4f} "
        f"(same class on {report['argmax_agreement']:.1%} of the images, "
        f"largest difference {report['max_abs_diff']:.2g})",
        highlight=False,
    )
    console.print(
        f"size: {report['tflite_bytes']:,} bytes against {report['float_bytes']:,} in float "
        f"({report['float_bytes'] / report['tflite_bytes']:.1f} times smaller)",
        highlight=False,
    )


@click.command(context_settings={"show_default": True})
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/demo"), help="The output folder.")
@click.option("--model", default="conv2", help="A network of the zoo.")
@click.option("--dataset", default="digits", help="A data set.")
@click.option("--data-dir", type=click.Path(path_type=Path), default=None, help="The folder of the data.")
@click.option("--quantizer", default="bi_half", help="The kernels' quantizer.")
@click.option("--epochs", type=click.IntRange(1), default=30, help="Passes over the training split.")
@click.option("--seed", type=int, default=0, help="Of the initial weights and the order of the images.")
def main(
    out: Path, model: str, dataset: str, data_dir: Path | None, quantizer: str, epochs: int, seed: int
) -> None:
    """Train, watch the bits, convert and verify, in a few minutes on two cores."""
    start()
    from larq_equalbits import data, export, plots, training

    settings = training.Settings(
        model=model,
        dataset=dataset,
        data_dir=data_dir,
        quantizer=quantizer,
        epochs=epochs,
        batch_size=32,
        seed=seed,
    )
    click.echo(f"Training {model} on {dataset} with {quantizer}")
    run = training.train(settings, out)
    click.echo(f"The same with {_BASELINE}, to compare")
    baseline = training.train(settings.replace(quantizer=_BASELINE), out / _BASELINE)

    click.echo("Converting, and verifying every image of the test split")
    images = data.load(dataset, data_dir=data_dir)
    network = run.load_model()
    with quiet():
        converted = export.convert(network, verify_on=images.test)
        float_bytes = export.float_size(network)
    export.save(converted, out / "model.tflite", images)
    verification = converted.verification
    report = {
        "model": model,
        "dataset": dataset,
        "quantizer": quantizer,
        "epochs": epochs,
        "seed": seed,
        "keras_accuracy": verification.keras_accuracy,
        "tflite_accuracy": verification.tflite_accuracy,
        "argmax_agreement": verification.argmax_agreement,
        "max_abs_diff": verification.max_abs_diff,
        "tflite_bytes": len(converted.tflite),
        "float_bytes": float_bytes,
        "layers": [layer.to_dict() for layer in converted.layers],
        "bits": _bits(run),
    }
    _files.write_text(out / "report.json", json.dumps(report, indent=2) + "\n")
    with _files.replacing(out / "bits.png") as picture:
        plots.bits({quantizer: run.history, _BASELINE: baseline.history}).savefig(picture, dpi=150)
    _print(report)
    click.echo(f"Written to {out}{os.sep}")


if __name__ == "__main__":
    run_command(main)
