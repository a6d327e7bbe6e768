"""`larq-equalbits doctor`: what of the installation works, and what to install for the rest."""

import importlib
import importlib.metadata
import json
import platform
import sys
from typing import Any

import click

from larq_equalbits._errors import advice
from larq_equalbits._quiet import waiting
from larq_equalbits._text import visible
from larq_equalbits.cli import start

_PACKAGES = {
    "tensorflow": None,
    "tf-keras": None,
    "keras": None,
    "larq": None,
    "numpy": None,
    "larq-compute-engine": "deploy",
    "keras-tuner": "tuning",
    "tensorboard": "tuning",
    "grpcio": "tuning",
    "scipy": "tuning",
    "tensorflow-datasets": "data",
    "importlib_resources": "data",
    "scikit-learn": "data",
    "pillow": "data",
    "matplotlib": "plots",
    "jinja2": "plots",
}
_OPTIONAL_WITH_KERAS_2 = {"keras"}


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _check_keras() -> str:
    import tensorflow as tf

    tensorflow, keras = _version("tensorflow"), _version("tf-keras")
    if keras is not None and tensorflow is not None:
        minors = [version.split(".")[:2] for version in (tensorflow, keras)]
        if minors[0] != minors[1]:
            raise RuntimeError(
                f"tf-keras {keras} is not of TensorFlow {tensorflow}'s minor version: "
                f"pip install 'tf-keras=={'.'.join(minors[0])}.*'"
            )
    return f"Keras 2 ({tf.keras.layers.Layer.__module__.partition('.')[0]})"


def _check_quantizer() -> str:
    import tensorflow as tf

    codes = tf.keras.utils.get_custom_objects()["bi_half"]()(tf.constant([[0.1], [0.1], [0.3], [-2.0]]))
    if codes.numpy().ravel().tolist() != [-1.0, 1.0, 1.0, -1.0]:
        raise RuntimeError(f"bi_half of [0.1, 0.1, 0.3, -2] gave {codes.numpy().ravel()}")
    return "bi_half splits a filter with ties exactly"


def _check_deployment() -> str:
    import larq
    import numpy as np
    import tensorflow as tf

    from larq_equalbits import export

    convolution = larq.layers.QuantConv2D(
        4, 3, input_quantizer="ste_sign", kernel_quantizer="bi_half", input_shape=(8, 8, 32), pad_values=1
    )
    model = tf.keras.Sequential([convolution])
    report = export.convert(model, verify_on=np.random.default_rng(0).normal(size=(4, 8, 8, 32)))
    return (
        f"a binary convolution converts to {report.layers[0].operator} and its interpreter agrees with Keras"
    )


def _check_workers() -> str:
    from larq_equalbits.tuning.machine import machine

    here = machine()
    workers = here.workers()
    each = len(here.processors) // workers or 1
    return (
        f"{len(here.processors)} processors, {len(here.gpus)} GPUs, {here.memory / 1e9:.1f} GB: sweep --workers auto "
        f"trains {workers} at a time, each with {each} of the processors{' and a GPU' if here.gpus else ''}"
    )


def _attempt(check: Any) -> dict[str, Any]:
    try:
        return {"works": True, "detail": check()}
    except Exception as error:
        return {"works": False, "detail": f"{type(error).__name__}: {error}"}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def command(as_json: bool) -> None:
    """Check the installation: versions, Keras choice, converter, interpreter.

    Exit status 1 where something that is installed does not work.
    """
    start()
    versions = {package: _version(package) for package in _PACKAGES}
    tried = {"Keras": _check_keras, "quantizer": _check_quantizer}
    if versions["larq-compute-engine"]:
        tried["deployment"] = _check_deployment
    if versions["keras-tuner"]:
        tried["sweeps"] = _check_workers
    with waiting("Trying what is installed"):
        checks = {name: _attempt(check) for name, check in tried.items()}
    missing = sorted({extra for package, extra in _PACKAGES.items() if extra and versions[package] is None})
    # Where the converter cannot be had, its advice is a sentence of its own.
    together = [extra for extra in missing if advice(extra).startswith("pip")]
    steps = [f"pip install 'larq-equalbits[{','.join(together)}]'"] if together else []
    steps += [advice(extra) for extra in missing if extra not in together]
    if as_json:
        found = {"python": platform.python_version(), "packages": versions, "checks": checks}
        click.echo(json.dumps({**found, "install": "; ".join(steps) or None}))
    else:
        _print(versions, checks, steps)
    if not all(check["works"] for check in checks.values()):
        sys.exit(1)


def _print(versions: dict[str, str | None], checks: dict[str, Any], steps: list[str]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    console.print(f"Python {platform.python_version()} on {platform.system()} {platform.machine()}")
    table = Table("package", "version", "extra")
    for package, extra in _PACKAGES.items():
        absent = "not needed" if package in _OPTIONAL_WITH_KERAS_2 else "[red]missing"
        table.add_row(package, versions[package] or absent, extra or "")
    console.print(table)
    for name, check in checks.items():
        mark = "[green]works[/]" if check["works"] else "[red]fails[/]"
        console.print(f"{name}: {mark}, {escape(visible(check['detail']))}", highlight=False)
    for step in steps:
        console.print(f"For the rest: {step}", markup=False, highlight=False)
