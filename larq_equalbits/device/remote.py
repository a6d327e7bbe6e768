"""Runs the benchmark program through a shell, on this machine or on another."""

import os
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from larq_equalbits._errors import DeviceError, DeviceLostError, InputError
from larq_equalbits.device import benchmark_model, checks, host
from larq_equalbits.device.bench import Bench, Samples
from larq_equalbits.device.benchmark_model import complaint
from larq_equalbits.device.measured import Latency, Result
from larq_equalbits.device.models import Model, value_bytes
from larq_equalbits.device.settings import Settings
from larq_equalbits.device.shells import Finished, Shell
from larq_equalbits.export import runtimes

#: What loading the model may take beyond the time for the inferences.
_GRACE_SECONDS = 30.0


class ProgramBench(Bench):
    """The benchmark program in a folder of its own on one device.

    Args:
        shell, settings, progress: see `Bench`.
        program: words before the program (an emulator, `taskset`), and the program last. On this machine it
            is called as it stands; elsewhere its file is copied to the device.
    """

    def __init__(
        self, shell: Shell, settings: Settings, progress: Callable[[str], None], program: Sequence[str]
    ) -> None:
        super().__init__(shell, settings, progress)
        self._local = type(shell) is Shell
        self._prefix, self._file = list(program[:-1]), Path(program[-1])
        self._flags: list[tuple[str, ...]] = []

    def prepare(
        self, models: Sequence[Model], samples: Sequence[Samples]
    ) -> tuple[dict[str, str], list[str]]:
        """See `Bench.prepare`."""
        known = checks.facts(self.shell)
        contents = {f"model_{i}.tflite": model.data for i, model in enumerate(models)}
        for i, several in enumerate(samples):
            for j, sample in enumerate(several):
                contents.update({f"input_{i}_{j}_{k}.bin": array.tobytes() for k, array in enumerate(sample)})
        if not self._local:
            contents["program"] = self._file.read_bytes()
        needed = int(1.1 * sum(map(len, contents.values()))) + 2**20
        emulated = self._local and self._prefix
        program = None if emulated else self._file
        notes = checks.check(self.shell, known, program, self.settings.threads, needed)
        self.progress(f"{self.shell.name}: copying {needed / 2**20:.1f} MiB")
        self.shell.put(contents, self.settings.timeout)
        self._flags = benchmark_model.profile_choices(self._help())
        return known, notes

    def _call(self, arguments: Sequence[str], timeout: float) -> Finished:
        program = str(self._file.absolute()) if self._local else "./program"
        return self.start([*self._prefix, program, *arguments], timeout)

    def _help(self) -> str:
        finished = self._call(["--help"], 60)
        if finished.code in (126, 127):
            raise DeviceError(
                f"{self.shell.name}: the program does not start: {complaint(finished.text)}. It must be an "
                "executable for this system, and the device folder must not be mounted noexec."
            )
        return finished.text

    def _run(self, index: int, threads: int, runs: int, warmup: int, more: Sequence[str]) -> str:
        flags = benchmark_model.run_flags(
            f"model_{index}.tflite", threads, runs, warmup, self.settings.timeout
        )
        finished = self._call([*flags, *more, *self.settings.flags], self.settings.timeout + _GRACE_SECONDS)
        if finished.code:
            died = f"was ended by signal {finished.code - 128}" if finished.code > 128 else "failed"
            why = runtimes.refusal(finished.text) or complaint(finished.text)
            raise DeviceError(f"the program {died} (exit status {finished.code}): {why}")
        return finished.text

    def measure(self, index: int, model: Model, samples: Samples, threads: int, result: Result) -> None:
        """See `Bench.measure`."""
        name = f"{self.shell.name}: {model.name}, {threads} threads"
        inputs = self._input_flags(index, model, 0)
        measured: list[Latency] = []
        for number in range(self.settings.rounds):
            self.progress(f"{name}: round {number + 1} of {self.settings.rounds}")
            text = self._run(index, threads, self.settings.repeats, self.settings.warmup, inputs)
            latency = benchmark_model.latency(text)
            if latency is None:
                raise DeviceError(f"the program printed no times: {complaint(text)}")
            measured.append(latency)
            result.latency = Latency.over(measured)
            result.init_ms = benchmark_model.footprint(text).init_ms
        self._outputs(index, model, samples, threads, result)
        self._profile(index, threads, inputs, result, name)

    def _input_flags(self, index: int, model: Model, image: int) -> list[str]:
        names = [f"input_{index}_{image}_{k}.bin" for k in range(len(model.inputs))]
        return benchmark_model.input_flags(model.inputs, names)

    def _outputs(self, index: int, model: Model, samples: Samples, threads: int, result: Result) -> None:
        rows: list[list[np.ndarray]] = []
        size = sum(map(value_bytes, model.outputs))
        for image in range(len(samples)):
            self.progress(
                f"{self.shell.name}: {model.name}, {threads} threads: image {image + 1} of {len(samples)}"
            )
            flags = [*self._input_flags(index, model, image), "--output_filepath=output.bin"]
            self._run(index, threads, 1, 0, flags)
            stored = self.shell.get(["output.bin"]).get("output.bin")
            if stored is None:
                result.notes.append(f"{self.shell.name}: this version of the program writes no outputs.")
                return
            if len(stored) != size:
                raise DeviceError(
                    f"the program wrote {len(stored)} bytes of output, but the model has {size}."
                )
            rows.append(_split(model, stored))
            result.outputs = host.join(model, rows)

    def _profile(self, index: int, threads: int, inputs: list[str], result: Result, name: str) -> None:
        if not self.settings.profile:
            return
        self.progress(f"{name}: profile and memory")
        runs = min(self.settings.repeats, 20)
        for choice in list(self._flags):
            flags = [flag.format(file="profile.csv") for flag in choice]
            more = [*inputs, *flags, "--enable_op_profiling=true", "--report_peak_memory_footprint=true"]
            try:
                text = self._run(index, threads, runs, 1, more)
            except DeviceLostError:
                raise
            except DeviceError as error:
                # A version that refuses options it does not know.
                result.notes.append(f"{self.shell.name}: {' '.join(choice) or 'profiling'}: {error}")
                continue
            written = self.shell.get(["profile.csv"]).get("profile.csv", b"") if choice else b""
            measured = benchmark_model.footprint(text)
            result.memory_kib, result.peak_kib = measured.memory_kib, measured.peak_kib
            result.operators = benchmark_model.operators(written.decode(errors="replace") or text)
            if result.operators:
                self._flags = [choice]
                return
        result.notes.append(
            f"{self.shell.name}: this version of the program makes no profile that is known here."
        )


def _split(model: Model, stored: bytes) -> list[np.ndarray]:
    arrays, start = [], 0
    for tensor in model.outputs:
        values = np.frombuffer(stored, tensor.dtype, int(np.prod(tensor.shape)), start)
        arrays.append(values.reshape(tensor.shape))
        start += value_bytes(tensor)
    return arrays


def split_command(program: str | os.PathLike[str] | Sequence[str]) -> list[str]:
    """A command line as words, the program last; a path to a file is one word even with spaces in it.

    Raises:
        InputError: a quotation that does not end.
    """
    if isinstance(program, os.PathLike) or (isinstance(program, str) and Path(program).is_file()):
        return [os.fspath(program)]
    if not isinstance(program, str):
        return [str(word) for word in program]
    try:
        return shlex.split(program)
    except ValueError as error:
        raise InputError(
            f"a program and its prefix must be words as a shell takes them, but in {program!r} there is: {error}."
        ) from error
