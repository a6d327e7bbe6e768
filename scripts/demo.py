"""The demo: trains a binary network on real images, watches its bits, and ships a verified .tflite.

Trains the same network twice with the same seed, with the asked quantizer and with ste_sign; converts both, verifies
them on the whole test split, and lets the runtime answer for it. The output folder gets a run folder's files, those of
ste_sign below it, report.json, comparison.html, and the pictures bits.png (entropy and flips), entropy.png (entropy per
filter) and shares.png (share of +1 in each filter).
"""

import dataclasses
import importlib.util
import json
import math
import os
from pathlib import Path
from typing import Any

import click

from larq_equalbits import _files
from larq_equalbits._quiet import waiting
from larq_equalbits.cli import run_command, start

_BASELINE = "ste_sign"


def _bits(run: Any) -> dict[str, dict[str, float]]:
    """The last epoch's entropy, share of +1 and flips of each quantized kernel."""
    last = {key: values[-1] for key, values in run.history.items()}
    names = [key.removesuffix("/bit_entropy") for key in last if key.endswith("/bit_entropy")]
    keys = ("bit_entropy", "filter_entropy", "positive_ratio", "bit_flips")
    return {name: {key: float(last[f"{name}/{key}"]) for key in keys} for name in names}


def _train(settings: Any, out: Path) -> Any:
    """Trains with one line an epoch."""
    import tensorflow as tf
    from rich.console import Console

    from larq_equalbits import training

    tracing = Console(stderr=True).status(f"Tracing {settings.model} with {settings.quantizer}")

    def show(epoch: int, logs: dict[str, float]) -> None:
        tracing.stop()
        click.echo(
            f"{settings.quantizer}, epoch {epoch + 1}/{settings.epochs}: accuracy {logs['accuracy']:.4f}, validation "
            f"{logs['val_accuracy']:.4f}, entropy per filter {logs['filter_entropy']:.4f}, "
            f"flips {logs['bit_flips']:.2e}"
        )

    with tracing:
        line = tf.keras.callbacks.LambdaCallback(on_epoch_end=show)
        return training.train(settings, out, callbacks=[line], verbose=0)


def _ship(run: Any, images: Any) -> dict[str, Any]:
    """Converts a run's model beside it, and verifies it: what is known of it, and the conversion under "report"."""
    from larq_equalbits import export

    network = run.load_model()
    path = run.folder / "model.tflite"
    report = export.convert(network, path, images=images, source="model.keras")
    last = {key: float(values[-1]) for key, values in run.history.items() if "/" not in key}
    return {
        "network": network,
        "path": path,
        "report": report,
        "values": {
            "test_accuracy": float(run.results["test_accuracy"]),
            "filter_entropy": last["filter_entropy"],
            "bit_flips": last["bit_flips"],
            "tflite_bytes": len(report.tflite),
            "tflite_accuracy": report.verification.tflite_accuracy,
        },
    }


def _answer(shipped: dict[str, dict[str, Any]], images: Any) -> str:
    """Lets the runtime, or where it is missing LCE's interpreter, answer for every test image; returns its name."""
    import numpy as np

    from larq_equalbits import device

    runtime = "litert" if importlib.util.find_spec("larq_equalbits_runtime") else "lce"
    pixels, labels = map(np.concatenate, zip(*images.test.as_numpy_iterator(), strict=True))
    measured = device.run(
        {name: each["path"] for name, each in shipped.items()},
        "local",
        pixels,
        labels=labels,
        keras_model={name: each["network"] for name, each in shipped.items()},
        settings=device.Settings(images=len(pixels), runtime=runtime, repeats=20, rounds=1),
    )
    for result in measured.results:
        own = shipped[result.model]
        own["values"] |= {
            "runtime_accuracy": result.accuracy,
            "ms": result.latency and result.latency.median_ms,
        }
        device.Report([result], measured.devices).save(own["path"].parent / "device")
    return "larq-equalbits-runtime" if runtime == "litert" else "LCE's interpreter"


def _verdict(networks: dict[str, dict[str, Any]], images: int) -> dict[str, Any]:
    """Which network answers more of the test images rightly, and whether that is more than chance."""
    (name, own), (other, baseline) = networks.items()
    difference = own["test_accuracy"] - baseline["test_accuracy"]
    mean = (own["test_accuracy"] + baseline["test_accuracy"]) / 2
    # Two standard errors of the difference of two shares of so many images.
    chance = 2 * math.sqrt(2 * mean * (1 - mean) / images)
    level = abs(difference) <= chance
    ahead, behind = (name, other) if difference > 0 else (other, name)
    sentence = (
        f"{name} and {other} are level: {abs(difference):.4f} of test accuracy lie between them, and chance alone "
        f"makes up to {chance:.4f} on {images} images."
        if level
        else f"{ahead} is ahead of {behind} by {abs(difference):.4f} of test accuracy, more than the {chance:.4f} that "
        f"chance makes on {images} images."
    )
    return {"difference": difference, "chance": chance, "level": level, "sentence": sentence}


def _print(report: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    table = Table("layer", "operator", "bytes", "entropy", "share of +1", "flips", title=report["model"])
    for layer in report["layers"]:
        bits = report["bits"].get(layer["name"], {})
        numbers = [
            f"{bits[key]:.4f}" if bits else "" for key in ("filter_entropy", "positive_ratio", "bit_flips")
        ]
        table.add_row(layer["name"], layer["operator"], f"{layer['bytes']:,}", *numbers)
    console.print(table)
    table = Table(
        "kernels", "test acc.", "entropy", "flips", "bytes", "in runtime", "ms", title="Both networks"
    )
    for name, each in report["networks"].items():
        table.add_row(
            name,
            f"{each['test_accuracy']:.4f}",
            f"{each['filter_entropy']:.4f}",
            f"{each['bit_flips']:.1e}",
            f"{each['tflite_bytes']:,}",
            f"{each['runtime_accuracy']:.4f}",
            f"{each['ms']:.3f}",
        )
    table.caption = (
        "entropy: of a filter's bits, in bits, 1 at most; flips: share of the bits in the last epoch;\n"
        f"in runtime: accuracy that {report['runtime']} answers with"
    )
    console.print(table)
    size, whole = report["tflite_bytes"], report["float_bytes"]
    for line in (
        report["verdict"]["sentence"],
        f"{report['quantizer']}: same class in Keras and .tflite on {report['argmax_agreement']:.1%} of the test "
        f"images, largest difference of an output {report['max_abs_diff']:.2g}",
        f"size: {size:,} bytes, and {report['int8_bytes']:,} with its float layers in int8; as float32 "
        f"it takes {whole:,} ({whole / size:.1f} times as much), as int8 about {whole / size / 4:.1f} times as much",
    ):
        console.print(line, highlight=False, soft_wrap=True)


def _draw(out: Path, runs: dict[str, Any], shipped: dict[str, dict[str, Any]]) -> None:
    from larq_equalbits import plots

    histories = {name: run.history for name, run in runs.items()}
    figures = {
        "bits.png": plots.bits(histories),
        "entropy.png": plots.filter_entropy(histories),
        "shares.png": plots.filter_map({name: each["network"] for name, each in shipped.items()}),
    }
    for name, figure in figures.items():
        with _files.replacing(out / name) as picture:
            figure.savefig(picture, dpi=150)


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
    from larq_equalbits import _report, data, export, training

    settings = training.Settings(
        model=model,
        dataset=dataset,
        data_dir=data_dir,
        quantizer=quantizer,
        epochs=epochs,
        batch_size=32,
        seed=seed,
    )
    click.echo(f"Training {model} on {dataset} with {quantizer}, then with {_BASELINE} to compare")
    baseline = settings.replace(quantizer=_BASELINE)
    runs = {quantizer: _train(settings, out)}
    # The same run twice would be told apart by its folder alone.
    second = _BASELINE if quantizer != _BASELINE else f"{_BASELINE}, again"
    runs[second] = _train(baseline, out / _BASELINE)

    images = data.load(dataset, data_dir=data_dir)
    with waiting("Converting both, and verifying every image of the test split"):
        shipped = {name: _ship(run, images) for name, run in runs.items()}
        first = shipped[quantizer]
        few = images.train.unbatch().take(256).batch(64)
        in_int8 = export.convert(first["network"], float_layers="int8", calibrate_on=few)
        float_bytes = export.float_size(first["network"])
    with waiting("Running both"):
        runtime = _answer(shipped, images)
    converted = first["report"]
    networks = {name: each["values"] for name, each in shipped.items()}
    report = {
        "model": model,
        "dataset": dataset,
        "quantizer": quantizer,
        "epochs": epochs,
        "seed": seed,
        **dataclasses.asdict(converted.verification),
        "tflite_bytes": len(converted.tflite),
        "int8_bytes": len(in_int8.tflite),
        "float_bytes": float_bytes,
        "runtime": runtime,
        "networks": networks,
        "verdict": _verdict(networks, images.num_test),
        "layers": [layer.to_dict() for layer in converted.layers],
        "bits": _bits(runs[quantizer]),
    }
    _files.write_text(out / "report.json", json.dumps(report, indent=2) + "\n")
    with waiting("Drawing"):
        _draw(out, runs, shipped)
        _report.write([out, out / _BASELINE], out / "comparison.html")
    _print(report)
    click.echo(f"Written to {out}{os.sep}; see comparison.html and shares.png there")


if __name__ == "__main__":
    run_command(main)
