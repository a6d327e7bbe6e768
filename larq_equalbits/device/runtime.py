"""Runs models on a device with our runtime for LiteRT, which is installed there into a folder of its own."""

import hashlib
import io
import json
import os
import re
import shlex
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from larq_equalbits._errors import DeviceError
from larq_equalbits.device import checks, wheels
from larq_equalbits.device.bench import Bench, Samples
from larq_equalbits.device.measured import Latency, Result
from larq_equalbits.device.models import Model
from larq_equalbits.device.remote import split_command
from larq_equalbits.device.settings import Settings
from larq_equalbits.device.shells import Finished, Shell
from larq_equalbits.device.wheels import Python

_MODULE = "larq_equalbits_runtime.benchmark"
#: Seconds for making the environment and installing into it: a Raspberry Pi 3 with a slow card takes minutes.
_INSTALL_SECONDS = 900.0
_GRACE_SECONDS = 60.0

_PROBE = """
import json, platform, struct, sys
library, version = platform.libc_ver()
minor = int(version.split(".")[1]) if library == "glibc" else 0
print(json.dumps([list(sys.version_info[:2]), platform.machine(), minor, 8 * struct.calcsize("P")]))
"""
_CANDIDATES = ("python3", "python3.13", "python3.12", "python3.11", "python3.10")


def _last_line(finished: Finished) -> str:
    lines = [line.strip() for line in finished.text.splitlines() if line.strip()]
    wrong = [line for line in lines if re.search(r"error|denied|no space|not found", line, re.I)]
    return (wrong or lines or ["it printed nothing"])[-1]


class RuntimeBench(Bench):
    """The runtime on one device.

    The environment (`venv`) stays on the device for the next run; a new version of the runtime or of Python gets one
    of its own.

    Args:
        shell, settings, progress: see `Bench`; `settings.prefix` goes before Python there, and `wheels.runtime` finds
            `settings.runtime_wheel`.
    """

    def __init__(self, shell: Shell, settings: Settings, progress: Callable[[str], None]) -> None:
        super().__init__(shell, settings, progress)
        self._prefix = split_command(settings.prefix or ())
        wheel, root = settings.runtime_wheel, shell.root
        self._wheel = None if wheel is None else os.fspath(wheel)
        self._root = '"${XDG_CACHE_HOME:-$HOME/.cache}/larq-equalbits"' if root is None else shlex.quote(root)
        self._python = ""

    def prepare(
        self, models: Sequence[Model], samples: Sequence[Samples]
    ) -> tuple[dict[str, str], list[str]]:
        """Checks the device, installs the runtime where it is missing, and copies models and images."""
        known = checks.facts(self.shell)
        checks.check_word_size(self.shell.name, known)
        python = self._find_python()
        contents = {f"model_{i}.tflite": model.data for i, model in enumerate(models)}
        for i, several in enumerate(samples):
            # Time and memory are taken with one image: many would be memory too.
            for name, part in (("first", several[:1]), ("input", several)):
                columns = [np.concatenate(column) for column in zip(*part, strict=True)]
                packed = io.BytesIO()
                np.savez_compressed(packed, *columns)
                contents[f"{name}_{i}.npz"] = packed.getvalue()
        needed = int(1.1 * sum(map(len, contents.values()))) + 2**20
        notes = checks.check_room(self.shell, known, self.settings.threads, needed)
        notes += checks.remark_on_machine(self.shell.name, known)
        self._install(python)
        self.progress(f"{self.shell.name}: copying {needed / 2**20:.1f} MiB")
        self.shell.put(contents, self.settings.timeout)
        known["python"] = ".".join(map(str, python.version))
        known["environment"] = str(Path(self._python).parent.parent)
        return known, notes

    def _find_python(self) -> Python:
        name, seen = self.shell.name, []
        for command in _CANDIDATES:
            finished = self.shell.run(f"{command} -c {shlex.quote(_PROBE)}")
            found = re.search(r"^\[.*\]$", finished.output.decode(errors="replace"), re.M)
            if finished.code or not found:
                continue
            version, machine, glibc, bits = json.loads(found.group())
            seen.append(".".join(map(str, version)))
            if bits != 64 or machine not in ("aarch64", "x86_64"):
                raise DeviceError(
                    f"{name} has a {bits}-bit Python on {machine}, but LiteRT needs a 64-bit one on ARM or x86-64."
                )
            if not glibc:
                raise DeviceError(
                    f"{name} has no glibc, which LiteRT's wheels need; give lce_benchmark_model (--program)."
                )
            low, high = wheels.VERSIONS
            if low <= tuple(version) <= high:
                return Python(command, (version[0], version[1]), machine, glibc)
        has = f"has Python {', '.join(dict.fromkeys(seen))}" if seen else "has no python3"
        raise DeviceError(f"{name} {has}, but Python 3.10 to 3.13 is needed: install it, or give --program.")

    def _install(self, python: Python) -> None:
        name = self.shell.name
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            wheel = wheels.runtime(self._wheel, python, folder, self.settings.timeout)
            digest = hashlib.sha256(wheel.read_bytes()).hexdigest()[:12]
            version = ".".join(map(str, python.version))
            place = f"{self._root}/runtime-{digest}-python{version}"
            asked = self.shell.run(f'test -f {place}/installed && echo "at=$(cd {place} && pwd)"')
            if asked.code:
                self._make(python, wheel, folder, place)
                asked = self.shell.run(f'test -f {place}/installed && echo "at=$(cd {place} && pwd)"')
        at = re.search(r"^at=(.*)$", asked.output.decode(errors="replace").replace("\r", ""), re.M)
        if at is None:
            raise DeviceError(f"{name}: the environment in {place} is gone: {_last_line(asked)}")
        self._python = f"{at.group(1)}/bin/python"

    def _make(self, python: Python, wheel: Path, folder: Path, place: str) -> None:
        """Makes the environment beside its place, and moves it there when it works."""
        name, finished = self.shell.name, None
        self.progress(f"{name}: fetching what the runtime needs for Python {python.version[1]}")
        complaint = wheels.dependencies(wheel, python, folder, self.settings.timeout)
        files = {path.name: path.read_bytes() for path in folder.glob("*.whl")}
        files[wheel.name] = wheel.read_bytes()
        self.progress(f"{name}: installing the runtime ({sum(map(len, files.values())) / 2**20:.0f} MiB)")
        self.shell.put(files, self.settings.timeout)
        here = shlex.quote(self.shell.folder)
        source = f"--no-index --find-links {here}" if not complaint else ""
        script = (
            f"set -e; umask 077; mkdir -p {self._root}; made=$(mktemp -d {self._root}/making.XXXXXXXX)\n"
            "trap 'rm -rf \"$made\"' EXIT\n"
            f'{python.command} -m venv "$made/v" || {{ echo "error: python3 -m venv failed"; exit 3; }}\n'
            'python="$made/v/bin/python"\n'
            f'"$python" -m pip --disable-pip-version-check install -q {source} {here}/{shlex.quote(wheel.name)}\n'
            '"$python" -c "import larq_equalbits_runtime"\n'
            f'touch "$made/v/installed"; rm -rf {place}; mv "$made/v" {place}; rm -f {here}/*.whl'
        )
        finished = self.shell.run(script, _INSTALL_SECONDS)
        if finished.code == 3:
            raise DeviceError(
                f"{name} cannot make an environment for Python: sudo apt install python3-venv ({_last_line(finished)})."
            )
        if finished.code:
            fetched = f"; on this machine pip said: {complaint}" if complaint else ""
            raise DeviceError(f"{name}: the runtime could not be installed: {_last_line(finished)}{fetched}")

    def _benchmark(self, index: int, threads: int, inputs: str, more: Sequence[str]) -> dict[str, Any]:
        command = [
            *self._prefix,
            self._python,
            "-m",
            _MODULE,
            f"model_{index}.tflite",
            f"--threads={threads}",
        ]
        command += [f"--inputs={inputs}_{index}.npz", *more]
        finished = self.start(command, self.settings.timeout + _GRACE_SECONDS)
        found = re.findall(r"^\{.*\}$", finished.output.decode(errors="replace"), re.M)
        if finished.code or not found:
            died = f"was ended by signal {finished.code - 128}" if finished.code > 128 else "failed"
            raise DeviceError(f"the runtime {died} (exit status {finished.code}): {_last_line(finished)}")
        return json.loads(found[-1])

    def measure(self, index: int, model: Model, samples: Samples, threads: int, result: Result) -> None:
        """See `Bench.measure`."""
        name, settings = f"{self.shell.name}: {model.name}, {threads} threads", self.settings
        self.progress(f"{name}: time and memory")
        counts = [
            f"--repeats={settings.repeats}",
            f"--warmup={settings.warmup}",
            f"--rounds={settings.rounds}",
        ]
        found = self._benchmark(index, threads, "first", counts)
        result.latency = Latency.over([Latency.of(np.asarray(times)) for times in found["rounds_ms"]])
        result.init_ms = found["init_ms"]
        result.memory_kib, result.peak_kib = found["memory_kib"], found["peak_kib"]
        result.notes.append(
            f"{self.shell.name}: larq-equalbits-runtime {found['version']} ({found['kernels']}); a profile of the "
            "operators needs lce_benchmark_model (--program)."
        )
        self.progress(f"{name}: {len(samples)} images")
        once = ["--repeats=1", "--warmup=0", "--rounds=1", "--outputs=output.npz"]
        self._benchmark(index, threads, "input", once)
        stored = self.shell.get(["output.npz"], settings.timeout).get("output.npz")
        if stored is None:
            raise DeviceError("the runtime wrote no outputs.")
        with np.load(io.BytesIO(stored), allow_pickle=False) as content:
            arrays = [content[f"arr_{number}"] for number in range(len(model.outputs))]
        result.outputs = [tensor.decode(array) for tensor, array in zip(model.outputs, arrays, strict=True)]
