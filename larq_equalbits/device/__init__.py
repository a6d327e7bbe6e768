"""Runs converted models on a device and compares what comes back::

    report = device.run("runs/a/model.tflite", "ssh:pi@raspberrypi", images, threads=(1, 4))

A target is `local` (LCE's interpreter or our runtime in this process), `program` (a command line of
`lce_benchmark_model` on this machine), `ssh:USER@HOST` (our runtime, or `lce_benchmark_model`) or `adb[:SERIAL]`
(`lce_benchmark_model`).
"""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from larq_equalbits._errors import (
    DeviceError,
    DeviceLostError,
    InputError,
    invalid,
    is_number,
    is_whole,
    require,
)
from larq_equalbits.device import host, remote
from larq_equalbits.device.adb import Adb
from larq_equalbits.device.bench import Bench, Plan, Samples, measure_all
from larq_equalbits.device.models import Arrays, Model, Source, check_labels, load
from larq_equalbits.device.results import Agreement, Latency, Operator, Report, Result
from larq_equalbits.device.runtime import RuntimeBench
from larq_equalbits.device.shells import Shell
from larq_equalbits.device.ssh import Ssh
from larq_equalbits.export.interpreter import check_runtime, import_runtime

__all__ = ["Agreement", "DeviceError", "DeviceLostError", "Latency", "Operator", "Report", "Result", "run"]


def __dir__() -> list[str]:
    return __all__


#: So many images find every gross fault where the program is started for each.
_PROGRAM_IMAGES = 8
_FORMS = '"local", "program", "ssh:USER@HOST[:PORT]" or "adb[:SERIAL]"'


def _shell(target: str, folder: str | None, ssh_config: str | None) -> Shell | None:
    kind, _, rest = re.sub(r"^ssh(?:://|\s+)", "ssh:", target.strip()).partition(":")
    if target == "local":
        return None
    if target == "program":
        return Shell(target, folder)
    if kind == "adb" and (rest or ":" not in target):
        return Adb(target, rest or None, folder)
    if kind == "ssh" and rest:
        address, port = re.fullmatch(r"(.*?)(?::(\d{1,5}))?", rest, re.S).groups()  # type: ignore[union-attr]
        return Ssh(target, address, None if port is None else int(port), folder, ssh_config)
    raise invalid("target", target, _FORMS)


def _command(program: Any, prefix: Any, shell: Shell | None) -> list[str]:
    """The words that start `lce_benchmark_model`; none where something else answers."""
    if shell is None or (program is None and isinstance(shell, Ssh)):
        return []
    target = shell.name
    if program is None:
        raise InputError(
            f"program must be lce_benchmark_model (its path) for the target {target}, but got None."
        )
    words = [*remote.split_command(prefix or ()), *remote.split_command(program)]
    if not words or not Path(words[-1]).is_file():
        raise invalid(
            "program", program, "the path of lce_benchmark_model, or a command line that ends with it"
        )
    if target != "program" and len(remote.split_command(program)) > 1:
        raise InputError("program must be one file for a device; put words that go before it into prefix.")
    return words


def _bench(
    shell: Shell, command: list[str], plan: Plan, flags: Sequence[str], prefix: Any, wheel: Any
) -> Bench:
    if command:
        return remote.ProgramBench(shell, command, plan, flags)
    given = None if wheel is None else os.fspath(wheel)
    return RuntimeBench(shell, plan, remote.split_command(prefix or ()), given, shell.root)


def _counts(name: str, values: Sequence[int]) -> tuple[int, ...]:
    numbers = tuple(values)
    if not numbers or not all(is_whole(value, 1) and value < 2**31 for value in numbers):
        raise invalid(name, values, "one or more whole numbers from 1 to below 2**31")
    return tuple(dict.fromkeys(int(value) for value in numbers))


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
    found: dict[str, dict[str, list[np.ndarray]]] = {}
    for model, several in zip(models, samples, strict=True):
        found[model.name] = {}
        if model.name in keras_model:
            found[model.name]["keras"] = host.keras_outputs(keras_model[model.name], model, several)
        try:
            found[model.name]["host"] = host.Host(model).outputs(several)
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
    *,
    threads: Sequence[int] = (1,),
    repeats: int = 50,
    warmup: int = 5,
    rounds: int = 3,
    images: int | None = None,
    runtime: str = "lce",
    runtime_wheel: str | os.PathLike[str] | None = None,
    program: str | os.PathLike[str] | Sequence[str] | None = None,
    prefix: str | Sequence[str] = (),
    flags: Sequence[str] = (),
    keras_model: Any = None,
    labels: np.ndarray | Sequence[int] | None = None,
    device_folder: str | None = None,
    ssh_config: str | None = None,
    timeout: float = 600.0,
    profile: bool = True,
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
        threads: the numbers of threads, each at least 1.
        repeats: inferences in a round, at least 1.
        warmup: inferences before each round, at least 0.
        rounds: at least 1.
        images: how many images' outputs to bring back, at least 1. Default: all, but 8 from `lce_benchmark_model`.
        runtime: what answers on "local": "lce" for LCE's interpreter, "litert" for larq-equalbits-runtime.
        runtime_wheel: the runtime's wheel for the device, or a folder with wheels. Default: the one that
            `scripts/build_runtime.sh` made in this clone, or else the published one.
        program: `lce_benchmark_model` for the device: a path, or for the target "program" a command line too.
            Without it our runtime answers over ssh; it is installed there into an environment of its own.
        prefix: words before the program there, such as an emulator or "taskset f0".
        flags: more options for the program, such as "--use_indirect_bgemm=true" or "--use_xnnpack=false".
        keras_model: the model that was converted, or a mapping from the models' names.
        labels: the images' labels, for the accuracy: class numbers or one-hot, of masks for each pixel; 0 and 1 where a
            sigmoid answers.
        device_folder: where on the device a folder for the run is made, an absolute path. Default: /tmp, and
            /data/local/tmp on Android. The run's folder is removed at the end. The runtime's environment stays for the
            next run, in the same folder or by default in ~/.cache/larq-equalbits. Nothing else is written.
        ssh_config: a configuration file for ssh instead of ~/.ssh/config.
        timeout: seconds for one start of the program.
        profile: whether to measure memory and operators with the program.
        progress: called with a line of text before each step.

    Returns:
        A report. Where a device disappears or a program fails, the results that it broke have a `failure`
        and hold what was measured before.

    Raises:
        InputError: for an argument that is not as described.
        DeviceError: where no target could be used at all.
        ImportError: for "local" without larq_compute_engine, or without larq-equalbits-runtime for "litert".
    """
    targets = [target] if isinstance(target, str) else list(target)
    if inputs is None or not targets:
        raise InputError(
            "inputs must be real images for the model, and target at least one, but one is missing."
        )
    check_runtime(runtime)
    if "local" in targets:
        # Said now, not when other devices have been measured.
        if runtime == "litert":
            import_runtime()
        else:
            require("deploy", "larq_compute_engine")
    shells = [_shell(each, device_folder, ssh_config) for each in targets]
    commands = [_command(program, prefix, shell) for shell in shells]
    if flags and not any(commands):
        raise invalid("flags", list(flags), "left out where no lce_benchmark_model runs")
    counts = _counts("threads", threads)
    for name, value, least in (("repeats", repeats, 1), ("rounds", rounds, 1), ("warmup", warmup, 0)):
        if not (is_whole(value, least) and value <= 10**6):
            raise invalid(name, value, f"a whole number from {least} to a million")
    if not (is_number(timeout) and 0 < timeout <= 10**6):
        raise invalid("timeout", timeout, "a number of seconds above 0, at most a million")
    loaded = load(models)
    everything = [model.samples(inputs) for model in loaded]
    counted = [_PROGRAM_IMAGES if command and images is None else images for command in commands]
    if images is not None:
        _counts("images", (images,))
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
    plan = Plan(counts, repeats, warmup, rounds, timeout, profile, progress or (lambda line: None))
    references = _references(keras_model, loaded, samples)
    report, unusable = Report(), []
    by_name = {model.name: model for model in loaded}
    for each, shell, command, count in zip(targets, shells, commands, counted, strict=True):
        asked = [several[:count] for several in samples]
        if shell is None:
            for model, several in zip(loaded, asked, strict=True):
                for number in counts:
                    plan.progress(f"local: {model.name}, {number} threads")
                    result = host.measure(model, several, number, repeats, warmup, rounds, runtime)
                    report.results.append(result)
                    _judge(model, result, references[model.name], known_labels)
            continue
        try:
            with _bench(shell, command, plan, flags, prefix, runtime_wheel) as bench:
                report.devices[each], notes = bench.prepare(loaded, asked)
                for result in measure_all(bench, loaded, asked, report.results, notes):
                    _judge(by_name[result.model], result, references[result.model], known_labels)
        except DeviceError as error:
            unusable.append(error)
            missing = [
                Result(m.name, each, t, len(m.data), failure=str(error)) for m in loaded for t in counts
            ]
            report.results += missing
    if unusable and len(unusable) == len(targets):
        raise unusable[0]
    return report
