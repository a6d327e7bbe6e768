"""The packages that a device needs to run models from Python, fetched on this machine for the device's Python."""

import re
import sys
from dataclasses import dataclass
from pathlib import Path

from larq_equalbits._errors import DeviceError, InputError
from larq_equalbits.device.shells import call

_NAME = "larq_equalbits_runtime"
_WHEEL = re.compile(
    rf"{_NAME}-(?P<version>[^-]+)-py3-none-(?:manylinux_2_(?P<glibc>\d+)|linux)_(?P<machine>x86_64|aarch64)\.whl"
)
#: Names of one glibc from before they had numbers in them.
_OLD_NAMES = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}
VERSIONS = ((3, 10), (3, 13))


@dataclass(frozen=True)
class Python:
    """The Python of a device.

    Attributes:
        command: how it is called there.
        version: its major and minor version.
        machine: "x86_64" or "aarch64".
        glibc: the minor version of the C library, 0 where it is another one.
    """

    command: str
    version: tuple[int, int]
    machine: str
    glibc: int

    @property
    def platforms(self) -> list[str]:
        """The platforms whose wheels it takes, the newest first."""
        names = []
        for minor in range(self.glibc, 4, -1):
            names.append(f"manylinux_2_{minor}_{self.machine}")
            if minor in _OLD_NAMES:
                names.append(f"{_OLD_NAMES[minor]}_{self.machine}")
        return [*names, f"linux_{self.machine}"]


def _fitting(folder: Path, python: Python) -> Path | None:
    """The newest wheel of the runtime in `folder` that `python` takes."""
    found = []
    for path in folder.glob(f"{_NAME}-*.whl"):
        named = _WHEEL.fullmatch(path.name)
        if named and named["machine"] == python.machine and int(named["glibc"] or 0) <= python.glibc:
            found.append(path)
    return max(found, key=lambda path: path.stat().st_mtime, default=None)


def _pip(arguments: list[str], timeout: float) -> str:
    """Runs this environment's pip; returns what it complained of, "" where it succeeded."""
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments]
    finished = call(command, timeout)
    if finished.code == 0:
        return ""
    lines = [line for line in finished.text.splitlines() if re.search("error|no module", line, re.I)]
    return (lines or ["pip failed"])[-1].strip()


def _download(what: str, python: Python, folder: Path, timeout: float, more: list[str]) -> str:
    version = "".join(map(str, python.version))
    platforms = [f"--platform={name}" for name in python.platforms]
    return _pip(
        [
            *("download", "--only-binary=:all:", "--dest", str(folder), *more, *platforms),
            *("--implementation=cp", f"--python-version={version}", what),
            *(f"--abi={abi}" for abi in (f"cp{version}", "abi3", "none")),
        ],
        timeout,
    )


def runtime(given: str | None, python: Python, folder: Path, timeout: float) -> Path:
    """The runtime's wheel for a device: the given one, that of this clone, or one that is downloaded into `folder`.

    Args:
        given: a wheel, or a folder with wheels; None for the two other places.
        python: the device's.
        folder: where a download goes.
        timeout: seconds for it.

    Raises:
        InputError: where `given` holds no wheel for the device.
        DeviceError: where there is none anywhere, with the command that makes one.
    """
    if given is not None:
        path = Path(given)
        if path.is_file() and _WHEEL.fullmatch(path.name) and path.name.endswith(f"_{python.machine}.whl"):
            return path
        found = _fitting(path, python) if path.is_dir() else None
        if found is None:
            raise InputError(
                f"runtime_wheel must be a wheel of larq-equalbits-runtime for {python.machine}, or a folder with one, "
                f"but got {given!r}."
            )
        return found
    clone = _fitting(Path(__file__).parents[2] / "runtime" / "dist", python)
    if clone is not None:
        return clone
    complaint = _download("larq-equalbits-runtime", python, folder, timeout, ["--no-deps"])
    downloaded = _fitting(folder, python)
    if downloaded is None:
        raise DeviceError(
            f"There is no wheel of larq-equalbits-runtime for {python.machine} ({complaint or 'none fits'}). In a "
            "clone ./scripts/build_runtime.sh makes it; a wheel elsewhere is named with --runtime-wheel."
        )
    return downloaded


def dependencies(wheel: Path | str, python: Python, folder: Path, timeout: float) -> str:
    """Downloads the wheels that `wheel` needs on the device into `folder`; returns pip's complaint, "" for none."""
    return _download(str(wheel), python, folder, timeout, [])
