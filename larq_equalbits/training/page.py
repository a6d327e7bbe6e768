"""The one-page report of a run: what was trained, what its bits did, what was shipped."""

import base64
import html
import io
import json
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from larq_equalbits import _files, plots
from larq_equalbits._errors import InputError, invalid
from larq_equalbits._files import write_text
from larq_equalbits.export import model_json

_GENERATOR = '<meta name="generator" content="larq-equalbits report">'
_STYLE = """
:root { color-scheme: light; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 60rem; margin: 0 auto; padding: 1rem; color: #222; background: #fff; }
h1 { font-size: 1.5rem; overflow-wrap: anywhere; } h2 { font-size: 1.2rem; margin-top: 2rem; }
.facts { display: grid; grid-template-columns: repeat(auto-fill, minmax(9rem, 1fr)); gap: .5rem; padding: 0; }
.facts div { border: 1px solid #ddd; border-radius: .4rem; padding: .5rem .7rem; }
.facts dt { font-size: .8rem; color: #555; } .facts dd { margin: 0; font-weight: 600; overflow-wrap: anywhere; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-size: .85rem; }
th, td { padding: .3rem .6rem; border-bottom: 1px solid #ddd; text-align: left; white-space: nowrap; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
.wide td:first-child, .wide th:first-child { position: sticky; left: 0; background: #fff; }
td.text { white-space: normal; min-width: 12rem; } tr.float td { background: #fff4e5; }
.settings td { white-space: normal; overflow-wrap: anywhere; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(26rem, 100%), 1fr)); gap: 1rem; }
figure { margin: 0; } img { width: 100%; height: auto; } figcaption { font-size: .85rem; color: #555; }
"""

# Of model.json and of the history's last epoch, in the order in which they matter.
_FACTS = {
    "model": "network",
    "dataset": "data set",
    "quantizer": "quantizer",
    "keras_accuracy": "accuracy in Keras",
    "tflite_accuracy": "accuracy of the .tflite",
    "argmax_agreement": "same class in both",
    "max_abs_diff": "largest difference of outputs",
    "tflite_bytes": "bytes of the .tflite",
    "accuracy": "training accuracy",
    "val_accuracy": "validation accuracy",
    "bit_entropy": "bit entropy (bits)",
    "positive_ratio": "share of +1",
    "bit_flips": "flips in the last epoch",
}
_COLUMNS = {
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


def _conversion(folder: Path) -> dict[str, Any]:
    """What `convert` reported in the run's `model.json`, the verification's values beside the rest."""
    path, tflite = folder / "model.json", folder / "model.tflite"
    paired = tflite.is_file()
    content = model_json.check(path, tflite.read_bytes()) if paired else model_json.read(path)
    report = content["report"]
    return {**report, **(report.get("verification") or {})}


def _format(value: Any) -> str:
    if value is None or value == "":
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4f}" if value == 0 or 1e-4 <= abs(value) < 1e4 else f"{value:.3g}"
    return html.escape(value if isinstance(value, str) else json.dumps(value))


def _facts(values: Mapping[str, Any]) -> str:
    cells = (
        f"<div><dt>{label}</dt><dd>{_format(values[key])}</dd></div>"
        for key, label in _FACTS.items()
        if values.get(key) is not None
    )
    return f'<dl class="facts">{"".join(cells)}</dl>'


def _layers(history: Mapping[str, list[float]], report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row for every layer that was converted or observed: its operator, its bytes, and its last bits."""
    rows = {layer["name"]: dict(layer) for layer in report.get("layers", ())}
    for key, values in history.items():
        name, _, measure = key.rpartition("/")
        if name and values and measure in _COLUMNS:
            rows.setdefault(name, {"name": name})[measure] = values[-1]
    return list(rows.values())


def _table(rows: list[dict[str, Any]]) -> str:
    columns = {
        key: label for key, label in _COLUMNS.items() if any(row.get(key) not in (None, "") for row in rows)
    }
    kinds = {key: "text" if key == "reason" else "" if key == "operator" else "number" for key in columns}
    head = "".join(f'<th class="{kinds[key]}">{label}</th>' for key, label in columns.items())
    body = "".join(
        f'<tr class="{"float" if row.get("binary") is False else ""}"><td>{_format(row["name"])}</td>'
        + "".join(f'<td class="{kinds[key]}">{_format(row.get(key))}</td>' for key in columns)
        + "</tr>"
        for row in rows
    )
    return f'<div class="wide"><table><tr><th>layer</th>{head}</tr>{body}</table></div>'


def _settings(settings: Mapping[str, Any]) -> str:
    rows = "".join(
        f"<tr><th>{_format(key)}</th><td>{_format(value)}</td></tr>" for key, value in settings.items()
    )
    return f'<table class="settings">{rows}</table>'


def _picture(figure: Any, caption: str) -> str:
    content = io.BytesIO()
    figure.savefig(content, format="svg")
    source = f"data:image/svg+xml;base64,{base64.b64encode(content.getvalue()).decode()}"
    caption = html.escape(caption)
    return f'<figure><img alt="{caption}" src="{source}"><figcaption>{caption}</figcaption></figure>'


def _pictures(folder: Path, history: Mapping[str, Any], trust: bool) -> Iterable[str]:
    if "loss" in history:
        yield _picture(plots.learning(history, width=5), "Loss and accuracy over the epochs.")
    if history.get("bit_entropy"):
        figure = plots.bits({"all kernels": history}, width=5)
        yield _picture(figure, "Bit entropy, and the share of bits that flipped in each epoch.")
    if (folder / "model.keras").is_file():
        model = plots.load_model(folder, trust=trust)
        drawn: tuple[tuple[Callable[..., Any], str], ...] = (
            (plots.latent_weights, "Latent weights at the end, by the code they get."),
            (plots.filter_ratios, "Share of +1 in each filter at the end."),
        )
        for draw, caption in drawn:
            yield _picture(draw(model, columns=2, width=5), caption)


_SOURCES = {
    "settings.json": "the settings: runs of `larq-equalbits train` have them",
    "history.csv": "loss, accuracy and bits over the epochs: train with callbacks.BitLogger and CSVLogger",
    "model.keras": "the weights at the end: save the model",
    "model.json": "operators, bytes and verification of the .tflite: convert with `larq-equalbits convert`",
}


def render(run: str | os.PathLike[str], *, trust: bool = False) -> str:
    """The report of a run folder as one HTML page that needs no other file and no network.

    It shows what the folder holds of settings.json, history.csv, model.keras and model.json, and says
    what of them is missing.

    Args:
        run: the run folder.
        trust: whether to load a model that could run code of whoever wrote it.

    Raises:
        InputError: where the folder does not exist, holds none of these files, or one that is damaged.
        ImportError: where matplotlib is not installed.
    """
    folder = Path(run)
    if not folder.is_dir():
        raise invalid("run", str(run), "a run folder")
    missing = {name: use for name, use in _SOURCES.items() if not (folder / name).is_file()}
    if len(missing) == len(_SOURCES):
        raise InputError(f"run: {folder} holds none of {', '.join(_SOURCES)}, so there is nothing to report.")
    settings = {} if "settings.json" in missing else _files.read_json(folder / "settings.json")
    report = {} if "model.json" in missing else _conversion(folder)
    history = {} if "history.csv" in missing else plots.read_history(folder)
    last = {key: values[-1] for key, values in history.items() if values}
    known = {key: settings[key] for key in ("model", "dataset", "quantizer") if settings.get(key)}
    rows = _layers(history, report)
    name = html.escape(folder.resolve().name)
    sections = [
        f"<h1>{name}</h1>",
        _facts({**known, **last, **report}),
        f"<h2>Layers</h2>{_table(rows)}" if rows else "",
        f'<h2>Plots</h2><div class="plots">{"".join(_pictures(folder, history, trust))}</div>',
        f"<h2>Settings</h2>{_settings(settings)}" if settings else "",
    ]
    if missing:
        items = "".join(f"<li><b>{key}</b>: {html.escape(use)}</li>" for key, use in missing.items())
        sections.append(f"<h2>Not in this run</h2><ul>{items}</ul>")
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'{_GENERATOR}<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{name}</title><style>{_STYLE}</style></head><body>{''.join(sections)}</body></html>\n"
    )


def is_report(path: Path) -> bool:
    """Whether `path` is a page that `write` wrote."""
    return path.is_file() and _GENERATOR.encode() in path.read_bytes()


def write(
    run: str | os.PathLike[str], out: str | os.PathLike[str] | None = None, *, trust: bool = False
) -> Path:
    """Writes the report of a run folder and returns its path.

    Args:
        run: the run folder; see `render`, also for what is raised.
        out: the file; ``report.html`` in the run folder by default. A file that is no report is not replaced.
        trust: as for `render`.
    """
    path = Path(run) / "report.html" if out is None else Path(out)
    if path.exists() and not is_report(path):
        raise InputError(f"out must be a new file or a report, but {path} is another: choose another name.")
    write_text(path, render(run, trust=trust))
    return path
