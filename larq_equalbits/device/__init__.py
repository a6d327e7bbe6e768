"""Runs converted models on a device and compares what comes back::

    settings = device.Settings(threads=(1, 4))
    report = device.run("runs/a/model.tflite", "ssh:pi@raspberrypi", images, settings)

A target is `local` (LCE's interpreter or our runtime in this process), `program` (a command line of
`lce_benchmark_model` on this machine), `ssh:USER@HOST` (our runtime, or `lce_benchmark_model`) or `adb[:SERIAL]`
(`lce_benchmark_model`).
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from larq_equalbits import _choices
from larq_equalbits._errors import DeviceError, DeviceLostError, InputError, check_kind, invalid, require
from larq_equalbits.device import host, remote
from larq_equalbits.device.adb import Adb
from larq_equalbits.device.bench import Bench, Samples, measure_all
from larq_equalbits.device.measured import Agreement, Latency, Operator, Result
from larq_equalbits.device.models import Arrays, Model, Source, check_labels, load
from larq_equalbits.device.results import Report
from larq_equalbits.device.runtime import RuntimeBench
from larq_equalbits.device.settings import Settings
from larq_equalbits.device.shells import Shell
from larq_equalbits.device.ssh import Ssh
from larq_equalbits.export.checks import check_built
from larq_equalbits.export.interpreter import import_runtime

__all__ = [
    "Agreement",
    "DeviceError",
    "DeviceLostError",
    "Latency",
    "Operator",
    "Report",
    "Result",
    "Settings",
    "run",
]
__dir__ = __all__.copy


#: So many images find every gross fault where the program is started for each.
_PROGRAM_IMAGES = 8


def _shell(target: str, settings: Settings) -> Shell | None:
    folder = settings.device_folder
    kind, rest = _choices.target(target)
    if kind == "local":
        return None
    if kind == "program":
        return Shell(target, folder)
    if kind == "adb":
        return Adb(target, rest or None, folder)
    # Every text matches, because each part may be empty, which mypy cannot know.
    address, port = re.fullmatch(r"(.*?)(?::(\d{1,5}))?", rest, re.S).groups()  # type: ignore[union-attr]
    return Ssh(target, address, None if port is None else int(port), folder, settings.ssh_config)


def _command(settings: Settings, shell: Shell | None) -> list[str]:
    """The words that start `lce_benchmark_model`; none where something else answers."""
    program = settings.program
    if shell is None or (program is None and isinstance(shell, Ssh)):
        return []
    target = shell.name
    if program is None:
        raise InputError(
            f"program must be lce_benchmark_model (its path) for the target {target}, but got None."
        )
    words = [*remote.split_command(settings.prefix or ()), *remote.split_command(program)]
    if not words or not Path(words[-1]).is_file():
        raise invalid(
            "program", program, "the path of lce_benchmark_model, or a command line that ends with it"
        )
    if target != "program" and len(remote.split_command(program)) > 1:
        raise InputError("program must be one file for a device; put words that go before it into prefix.")
    return words


def _references(
    keras_model: Any, models: Sequence[Model], samples: Sequence[Samples]
) -> dict[str, dict[str, list[np.ndarray]]]:
    """For every model the outputs to compare with, by the name of the reference."""
    if not isinstance(keras_model, Mapping):
        keras_model = {} if keras_model is None else {model.name: keras_model for model in models}
    unknown = set(keras_model) - {model.name for model in models}
    if unknown:
        raise invalid(
            "keras_model", sorted(unknown), f"keyed by the models {[model.name for model in models]}"
        )
    for each in keras_model.values():
        check_built(each, "keras_model")
    found: dict[str, dict[str, list[np.ndarray]]] = {}
    for model, several in zip(models, samples, strict=True):
        found[model.name] = {}
        if model.name in keras_model:
            found[model.name]["keras"] = host.keras_outputs(keras_model[model.name], model, several)
        try:
            found[model.name]["host"] = host.join(model, list(map(host.runner(model), several)))
        except ImportError:
            continue
    return found


def _judge(
    model: Model, result: Result, references: Mapping[str, list[np.ndarray]], labels: np.ndarray | None
) -> None:
    if not result.outputs:
        return
    for name, expected in references.items():
        result.agreements.append(Agreement.between(name, model.judge(), expected, result.outputs))
    if labels is not None:
        judge = model.judge()
        judge.add(result.outputs, result.outputs, labels[: len(result.outputs[0])])
        result.accuracy_images = len(result.outputs[0])
        result.accuracy = judge.verdicts()[0].tflite_accuracy


def run(
    models: Source | Sequence[Source] | Mapping[str, Source],
    target: str | Sequence[str] = "local",
    inputs: Arrays | None = None,
    settings: Settings | None = None,
    *,
    keras_model: Any = None,
    labels: np.ndarray | Sequence[int] | None = None,
    progress: Callable[[str], None] | None = None,
) -> Report:
    """Runs every model on every target with every number of threads.

    Latency comes from `rounds` starts of the program (of our runtime: rounds in one start) with `warmup` and
    `repeats` inferences of the first image each; the outputs from one inference for each of the first `images`
    images; memory and the profile of the program from one more start, because both cost time.

    Args:
        models: a .tflite file's path or bytes, several of them, or a mapping from names to them.
        target: one or several of "local", "program", "ssh:USER@HOST[:PORT]" and "adb[:SERIAL]".
        inputs: real images as the model takes them (normalised), first axis images; for several inputs a
            mapping from their names or a sequence in the model's order.
        settings: how to measure. Default: `Settings()`.
        keras_model: the model that was converted, or a mapping from the models' names.
        labels: the images' labels, for the accuracy: class numbers or one-hot, of masks for each pixel; 0 and 1 where a
            sigmoid answers.
        progress: called with a line of text before each step.

    Returns:
        A report. Where a device disappears or a program fails, the results that it broke have a `failure`
        and hold what was measured before.

    Raises:
        InputError: for an argument that is not as described.
        DeviceError: where no target could be used at all.
        ImportError: for "local" without larq_compute_engine, or without larq-equalbits-runtime for "litert".

    Examples:
        >>> report = run(tflite, "local", np.zeros((1, 8, 8, 32), "f"), Settings(repeats=2, warmup=1, rounds=1))
        >>> [(result.device, result.threads, result.failure) for result in report.results]
        [('local', 1, '')]
    """
    targets = list(target) if isinstance(target, Iterable) and not isinstance(target, str) else [target]
    for each in targets:
        check_kind(
            "target", each, str, 'a text such as "local" or "ssh:pi@raspberrypi", or a sequence of those'
        )
    check_kind("settings", settings, Settings | None, "a device.Settings")
    if not (progress is None or callable(progress)):
        raise invalid("progress", progress, "None, or a function that takes a line of text")
    if inputs is None or not targets:
        raise InputError(
            "inputs must be real images for the model, and target at least one, but one is missing."
        )
    settings = settings or Settings()
    if "local" in targets:
        # Said now, not when other devices have been measured.
        if settings.runtime == "litert":
            import_runtime()
        else:
            require("deploy", "larq_compute_engine")
    shells = [_shell(each, settings) for each in targets]
    commands = [_command(settings, shell) for shell in shells]
    if settings.flags and not any(commands):
        raise invalid("flags", list(settings.flags), "left out where no lce_benchmark_model runs")
    loaded = load(models)
    everything = [model.samples(inputs) for model in loaded]
    images = settings.images
    counted = [_PROGRAM_IMAGES if command and images is None else images for command in commands]
    # What a target answers for is a part of what the references do.
    longest = None if None in counted else max(filter(None, counted))
    samples = [several[:longest] for several in everything]
    known_labels = None if labels is None else np.asarray(labels)
    if known_labels is not None and known_labels.shape[:1] != (len(everything[0]),):
        raise invalid(
            "labels", f"shape {known_labels.shape}", f"one label for each of {len(everything[0])} images"
        )
    if known_labels is not None:
        check_labels(known_labels, loaded)
    tell = progress or (lambda line: None)
    references = _references(keras_model, loaded, samples)
    report, unusable = Report(), []
    by_name = {model.name: model for model in loaded}
    for each, shell, command, count in zip(targets, shells, commands, counted, strict=True):
        asked = [several[:count] for several in samples]
        if shell is None:
            for model, several in zip(loaded, asked, strict=True):
                for number in settings.threads:
                    tell(f"local: {model.name}, {number} threads")
                    result = host.measure(model, several, number, settings)
                    report.results.append(result)
                    _judge(model, result, references[model.name], known_labels)
            continue
        try:
            bench: Bench = (
                remote.ProgramBench(shell, settings, tell, command)
                if command
                else RuntimeBench(shell, settings, tell)
            )
            with bench:
                report.devices[each], notes = bench.prepare(loaded, asked)
                for result in measure_all(bench, loaded, asked, report.results, notes):
                    _judge(by_name[result.model], result, references[result.model], known_labels)
        except DeviceError as error:
            unusable.append(error)
            report.results += [
                Result(model.name, each, number, len(model.data), failure=str(error))
                for model in loaded
                for number in settings.threads
            ]
    if unusable and len(unusable) == len(targets):
        raise unusable[0]
    return report
