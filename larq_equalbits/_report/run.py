"""The page of one run: what was trained, what its bits did, what was shipped, what a device measured."""

import dataclasses
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from larq_equalbits import _files, plots
from larq_equalbits._bits.kernels import named_layers, quantized_kernels
from larq_equalbits._errors import InputError, is_number
from larq_equalbits._report import parts
from larq_equalbits._text import share
from larq_equalbits.device.measured import Result
from larq_equalbits.device.results import Report
from larq_equalbits.export import model_json
from larq_equalbits.plots import reading

# In the order in which they matter.
FACTS = {
    "test_accuracy": "test accuracy",
    "best_test_accuracy": "test accuracy of the best epoch",
    "keras_accuracy": "accuracy in Keras when verified",
    "tflite_accuracy": "accuracy of the .tflite",
    "argmax_agreement": "same class in both",
    "images": "images compared",
    "max_abs_diff": "largest difference of outputs",
    "tflite_bytes": "bytes of the .tflite",
    "float_bytes": "bytes of its weights in float32",
    "times_smaller": "times smaller than float",
    "device_ms": "ms for an image",
    "device_accuracy": "accuracy on the device",
    "accuracy": "training accuracy",
    "val_accuracy": "validation accuracy",
    "bit_entropy": "bit entropy (bits)",
    "filter_entropy": "entropy per filter (bits)",
    "positive_ratio": "share of +1",
    "bit_flips": "flips in the last epoch",
}
_LAYERS = {
    "name": "layer",
    "operator": "operator",
    "bytes": "bytes",
    "bit_entropy": "entropy (bits)",
    "filter_entropy": "entropy per filter",
    "positive_ratio": "share of +1",
    "bit_flips": "flips, last epoch",
    "sparsity": "zeros",
    "symbol_entropy": "entropy with zeros",
    "activation_entropy": "entropy of activations",
    "optimal_ratio": "SiMaN's optimal share",
    "reason": "why float",
}
_DEVICES = {
    "device": "device",
    "model": "model",
    "threads": "threads",
    "ms": "ms",
    "spread": "spread (ms)",
    "memory": "memory (KiB)",
    "same": "same class as Keras",
    "accuracy": "accuracy",
    "images": "of images",
    "failure": "what failed",
}


@dataclasses.dataclass(frozen=True)
class Content:
    """What a run folder holds.

    Attributes:
        folder: the run's folder.
        settings: of its settings.json.
        history: by key the value of every epoch.
        report: the conversion's, of model.json.
        devices: what was measured on devices, of other runs too.
        times: by device and number of threads the milliseconds of an image, of this run's own .tflite alone.
        model: the Keras model; None where it was not saved.
        facts: what is known of the run as a whole, under the keys of `FACTS`.
        missing: the files that are not there, with what would make them.
    """

    folder: Path
    settings: dict[str, Any]
    history: dict[str, list[float]]
    report: dict[str, Any]
    devices: list[Result]
    times: dict[tuple[str, int], float]
    model: Any
    facts: dict[str, Any]
    missing: dict[str, str]

    @property
    def name(self) -> str:
        """The folder's own name."""
        return self.folder.resolve().name


def _conversion(folder: Path) -> dict[str, Any]:
    """What `convert` reported in the run's `model.json`."""
    path, tflite = folder / "model.json", folder / "model.tflite"
    content = model_json.check(path, tflite.read_bytes()) if tflite.is_file() else model_json.read(path)
    return dict(content["report"])


def _devices(path: Path) -> list[Result]:
    try:
        return Report.from_json(path.read_text(encoding="utf-8")).results
    except ValueError as error:
        raise InputError(f"run: {path} must be what `device` wrote, but is not: {error}") from error


def _own(devices: list[Result], size: int | None) -> list[Result]:
    """Those of `devices` that are of the run's own .tflite, of `size` bytes where that is known, and have a time.

    `device` puts several runs' results into the folder of the first, whose model is the first of them.
    """
    fitting = [result for result in devices if size in (None, result.size_bytes)]
    return [result for result in fitting if result.model == fitting[0].model and result.latency]


def _float_bytes(model: Any) -> int:
    """The bytes of the model's weights in float32, without scores of pruning and what quantizers keep (rotations)."""
    aside = {
        id(weight)
        for kernel in quantized_kernels(model)
        for weight in getattr(kernel.quantizer, "weights", ())
    }
    for layer, _ in named_layers(model):
        # The weights of a pruned layer are those that are deployed.
        aside |= {id(each) for each in layer.variables} - {id(each) for each in layer.weights}
    return 4 * sum(weight.shape.num_elements() for weight in model.weights if id(weight) not in aside)


def _last(history: Mapping[str, list[float]], key: str) -> Any:
    """The last value that was measured, with its epoch where it is not the last one; None without any."""
    numbers = reading.epochs(history, len(history[key]))
    measured = [pair for pair in zip(numbers, history[key], strict=True) if not math.isnan(pair[1])]
    if not measured:
        return None
    epoch, value = measured[-1]
    return value if epoch == numbers[-1] else f"{parts.text(value)} (epoch {epoch:.0f})"


def read(folder: Path, trust: bool) -> Content:
    """What the run in `folder` holds; InputError for a damaged file."""
    missing = parts.missing(folder)

    def there(name: str) -> bool:
        return name not in missing

    history = plots.read_history(folder) if there("history.csv") else {}
    report = _conversion(folder) if there("model.json") else {}
    devices = _devices(folder / "device" / "report.json") if there("device/report.json") else []
    model = plots.load_model(folder, trust=trust) if there("model.keras") else None
    facts = {
        **{key: _last(history, key) for key in history},
        **(_files.read_json(folder / "results.json") if there("results.json") else {}),
        **(report.get("verification") or {}),
        **{key: value for key, value in report.items() if key == "tflite_bytes"},
    }
    if model is not None:
        facts["float_bytes"] = _float_bytes(model)
        if facts.get("tflite_bytes"):
            facts["times_smaller"] = f"{facts['float_bytes'] / facts['tflite_bytes']:.1f}"
    if is_number(facts.get("argmax_agreement")):
        facts["argmax_agreement"] = share(facts["argmax_agreement"])
    own = _own(devices, facts.get("tflite_bytes"))
    times: dict[tuple[str, int], float] = {}
    for result in own:
        if result.latency:
            times.setdefault((result.device, result.threads), result.latency.median_ms)
    if own:
        first = own[0]
        where = f"{first.device}, threads: {first.threads}"
        facts["device_ms"] = f"{times[first.device, first.threads]:.3f} ({where})"
        facts["device_accuracy"] = first.accuracy
    settings = _files.read_json(folder / "settings.json") if there("settings.json") else {}
    return Content(folder, settings, history, report, devices, times, model, facts, missing)


def layers(content: Content) -> list[dict[str, Any]]:
    """A row for every layer that was converted or observed: its operator, its bytes, and its last bits."""
    rows = {layer["name"]: dict(layer) for layer in content.report.get("layers", ())}
    for key, values in content.history.items():
        name, _, measure = key.rpartition("/")
        if name and values and measure in _LAYERS:
            rows.setdefault(name, {"name": name})[measure] = values[-1]
    return list(rows.values())


def _device_row(result: Result) -> dict[str, Any]:
    agreement = result.agreement("keras")
    return {
        "device": result.device,
        "model": result.model,
        "threads": result.threads,
        "ms": result.latency and result.latency.median_ms,
        "spread": result.latency and result.latency.spread_ms,
        "memory": None if result.memory_kib is None else round(result.memory_kib),
        "same": agreement and share(agreement.argmax),
        "accuracy": result.accuracy,
        "images": result.accuracy_images or None,
        "failure": result.failure,
    }


def _device_note(content: Content) -> str:
    size = content.report.get("tflite_bytes")
    other = size and all(result.size_bytes != size for result in content.devices)
    note = "Measured on a .tflite of another size than this one: measure again with `larq-equalbits device`."
    return note if other else ""


def _pictures(content: Content) -> Iterable[tuple[str, str]]:
    history = content.history
    if "loss" in history:
        yield parts.picture(plots.learning(history, width=5), "Loss and accuracy over the epochs.")
    if history.get("bit_entropy"):
        figure = plots.bits({"all kernels": history}, width=5)
        yield parts.picture(figure, "Bit entropy, and the share of bits that flipped in each epoch.")
    if content.model is not None and quantized_kernels(content.model):
        figure = plots.latent_weights(content.model, columns=2, width=5)
        yield parts.picture(figure, "Latent weights at the end, by the code they get.")
        figure = plots.filter_map({"": content.model}, width=5)
        yield parts.picture(figure, "Share of +1 in each filter at the end; an even split is white.")


def about(settings: Mapping[str, Any]) -> str:
    """A run's network, data set and quantizer in a phrase; "" where they are not known."""
    if not {"model", "dataset"} <= set(settings):
        return ""
    quantizer = settings.get("quantizer")
    return f"{settings['model']} on {settings['dataset']}" + (f" with {quantizer}" if quantizer else "")


def describe(folder: Path, trust: bool) -> dict[str, Any]:
    """The page of the run in `folder`, as its template takes it; InputError as `read`."""
    content = read(folder, trust)
    facts = content.facts
    shown = {key: label for key, label in FACTS.items() if facts.get(key) not in (None, "")}
    return {
        "title": content.name,
        "about": about(content.settings),
        "facts": [(label, parts.text(facts[key])) for key, label in shown.items()],
        "sections": [
            parts.table("Layers", _LAYERS, layers(content)),
            parts.table("On the device", _DEVICES, map(_device_row, content.devices), _device_note(content)),
            {"title": "Plots", "pictures": list(_pictures(content))},
            parts.settings(content.settings),
            {"title": "Not in this run", "entries": list(content.missing.items())},
        ],
    }
