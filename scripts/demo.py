"""The demo: trains a binary network on real images, watches its bits, and ships a verified .tflite.

Trains the same network three times alike with the same seed: with the asked quantizer, with ste_sign, and in float;
converts all, and the float one in 8-bit integers too, verifies them on the whole test split, and lets the runtime
answer for it. The output folder gets a run folder's files, those of the others below it, report.json, comparison.html,
and the pictures bits.png (entropy and flips), entropy.png (entropy per filter) and shares.png (share of +1 in each
filter).
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
from larq_equalbits._text import share
from larq_equalbits.cli import run_command, start

_BASELINE = "ste_sign"
_FLOAT, _INT8 = "float", "int8"


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


def _train_float(settings: Any, images: Any) -> Any:
    """The network in float, trained as `settings` say of the binary one."""
    import tensorflow as tf

    from larq_equalbits import zoo
    from larq_equalbits.training import building

    tf.keras.utils.set_random_seed(settings.seed)
    network = zoo.get(settings.model)(
        input_shape=images.input_shape, num_classes=images.num_classes, quantizer=None
    )
    plan = settings.plan()
    building.compile_model(network, plan, building.schedule(plan, images.steps_per_epoch))
    with waiting(f"Training {settings.model} in float"):
        network.fit(images.epochs(), steps_per_epoch=images.steps_per_epoch, epochs=plan.epochs, verbose=0)
    return network


def _ship(network: Any, folder: Path, images: Any, bits: Any = None, **options: Any) -> dict[str, Any]:
    """Converts a network into a folder, and verifies it: the conversion, and under "values" what is known.

    `bits` is the history of a run; without one the folder gets the accuracy on the test images as a run's has it.
    """
    from larq_equalbits import export

    folder.mkdir(exist_ok=True)
    path = folder / "model.tflite"
    report = export.convert(network, path, images=images, **options)
    if bits is None:
        accuracy = {"test_accuracy": report.verification.keras_accuracy}
        _files.write_text(folder / "results.json", json.dumps(accuracy) + "\n")
    return {
        "network": network,
        "path": path,
        "report": report,
        "values": {
            "test_accuracy": report.verification.keras_accuracy,
            "filter_entropy": float(bits["filter_entropy"][-1]) if bits else None,
            "bit_flips": float(bits["bit_flips"][-1]) if bits else None,
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


def _verdict(networks: dict[str, dict[str, Any]], name: str, other: str, images: int) -> dict[str, Any]:
    """Which of two networks answers more of the test images rightly, and whether that is more than chance."""
    own, against = networks[name]["test_accuracy"], networks[other]["test_accuracy"]
    difference, mean = own - against, (own + against) / 2
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
    formats = {
        "test_accuracy": ".4f",
        "filter_entropy": ".4f",
        "bit_flips": ".1e",
        "tflite_bytes": ",",
        "runtime_accuracy": ".4f",
        "ms": ".3f",
    }
    table = Table(
        "kernels", "test acc.", "entropy", "flips", "bytes", "in runtime", "ms", title="All networks"
    )
    for name, each in report["networks"].items():
        table.add_row(
            name, *("" if each[key] is None else format(each[key], form) for key, form in formats.items())
        )
    table.caption = (
        "entropy: of a filter's bits, in bits, 1 at most; flips: share of the bits in the last epoch;\n"
        f"in runtime: accuracy that {report['runtime']} answers with;\n"
        f"{_INT8}: the {_FLOAT} network in 8-bit integers"
    )
    console.print(table)
    networks = report["networks"]
    own = networks[report["quantizer"]]
    size = own["tflite_bytes"]
    against = [
        f"in {name} the network takes {each['tflite_bytes']:,} ({each['tflite_bytes'] / size:.1f} times as much) and "
        f"{each['ms'] / own['ms']:.1f} times the time"
        for name, each in networks.items()
        if name in (_FLOAT, _INT8)
    ]
    for line in (
        report["verdict"]["sentence"],
        report["float_verdict"]["sentence"],
        f"{report['quantizer']}: same class in Keras and .tflite on {share(report['argmax_agreement'])} of the test "
        f"images, largest difference of an output {report['max_abs_diff']:.2g}",
        f"size: {size:,} bytes, and {report['int8_bytes']:,} with its float layers in int8; {', '.join(against)}",
    ):
        console.print(line, highlight=False, soft_wrap=True)


def _draw(out: Path, runs: dict[str, Any], shipped: dict[str, dict[str, Any]]) -> None:
    from larq_equalbits import plots

    histories = {name: run.history for name, run in runs.items()}
    figures = {
        "bits.png": plots.bits(histories),
        "entropy.png": plots.filter_entropy(histories),
        "shares.png": plots.filter_map({name: shipped[name]["network"] for name in runs}),
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
    click.echo(
        f"Training {model} on {dataset} with {quantizer}, then with {_BASELINE} and in float to compare"
    )
    baseline = settings.replace(quantizer=_BASELINE)
    runs = {quantizer: _train(settings, out)}
    # The same run twice would be told apart by its folder alone.
    second = _BASELINE if quantizer != _BASELINE else f"{_BASELINE}, again"
    runs[second] = _train(baseline, out / _BASELINE)

    images = data.load(dataset, data_dir=data_dir, batch_size=settings.batch_size, seed=seed)
    in_float = _train_float(settings, images)
    with waiting("Converting all, and verifying every image of the test split"):
        shipped = {
            name: _ship(run.load_model(), run.folder, images, run.history, source="model.keras")
            for name, run in runs.items()
        }
        shipped[_FLOAT] = _ship(in_float, out / _FLOAT, images)
        few = images.train.unbatch().take(256).batch(64)
        integers = {"float_layers": "int8", "calibrate_on": few}
        shipped[_INT8] = _ship(in_float, out / _INT8, images, tolerance=1.0, **integers)
        first = shipped[quantizer]
        in_int8 = export.convert(first["network"], **integers)
    with waiting("Running all"):
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
        "float_bytes": networks[_FLOAT]["tflite_bytes"],
        "runtime": runtime,
        "networks": networks,
        "verdict": _verdict(networks, quantizer, second, images.num_test),
        "float_verdict": _verdict(networks, quantizer, _FLOAT, images.num_test),
        "layers": [layer.to_dict() for layer in converted.layers],
        "bits": _bits(runs[quantizer]),
    }
    _files.write_text(out / "report.json", json.dumps(report, indent=2) + "\n")
    with waiting("Drawing"):
        _draw(out, runs, shipped)
        _report.write([each["path"].parent for each in shipped.values()], out / "comparison.html")
    _print(report)
    click.echo(f"Written to {out}{os.sep}; see comparison.html and shares.png there")


if __name__ == "__main__":
    run_command(main)
