"""Where the benchmark program runs: a shell on this machine, over ssh, or over adb.

Every command is an argument list with a time limit. What a remote shell reads is quoted, and the only
folder that is written to, or removed, is one that `mktemp` made for this run.
"""

import os
import re
import shlex
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from larq_equalbits._errors import DeviceError, invalid

FOLDER_PREFIX = "larq-equalbits."
_FOLDER = re.compile(r"/(?:.*/)?" + re.escape(FOLDER_PREFIX) + r"[A-Za-z0-9_]{6,}")


class Finished(NamedTuple):
    """How a command ended."""

    code: int
    output: bytes
    errors: bytes

    @property
    def text(self) -> str:
        """Both streams: versions of the program differ in what they write where."""
        return (self.output + b"\n" + self.errors).decode(errors="replace").replace("\r", "")


def call(command: Sequence[str], timeout: float, stdin: bytes | None = None) -> Finished:
    """Runs `command` without a shell, and ends it and its children at the time limit.

    Raises:
        DeviceError: where the program is missing, or `timeout` seconds were not enough.
    """
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except FileNotFoundError as error:
        raise DeviceError(f"{command[0]} is not installed on this machine.") from error
    try:
        output, errors = process.communicate(stdin, timeout)
    except BaseException as error:
        # Its pipes are closed, not read to their end: a child in a session of its own may hold them.
        with process:
            _end(process)
        if isinstance(error, subprocess.TimeoutExpired):
            raise DeviceError(f"{command[0]} did not finish within {timeout:g} s.") from error
        raise
    return Finished(process.returncode, output, errors)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends `process`, and on POSIX the processes that it started."""
    if os.name == "posix":
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()


class Shell:
    """A POSIX shell on this machine.

    Args:
        name: the target as the user wrote it.
        root: the folder in which a folder for the run is made; None for the device's usual one.

    Raises:
        InputError: a `root` that is not absolute, or with a control character.
    """

    default_root = ""

    def __init__(self, name: str, root: str | None = None) -> None:
        self.name = name
        if root is not None and not (root.startswith("/") and root.isprintable()):
            raise invalid("device_folder", root, "an absolute path without control characters")
        self.root = root
        self.folder = ""

    def run(self, script: str, timeout: float = 60, stdin: bytes | None = None) -> Finished:
        """Runs `script` on the device.

        Raises:
            DeviceLostError: where the device cannot be reached.
            DeviceError: at the time limit.
        """
        return call(["sh", "-c", script], timeout, stdin)

    def make_folder(self) -> str:
        """Makes the run's own folder on the device and returns its path."""
        root = shlex.quote(self.root) if self.root else self.default_root or '"${TMPDIR:-/tmp}"'
        made = self.run(f"umask 077; mktemp -d {root}/{FOLDER_PREFIX}XXXXXXXX")
        lines = made.output.decode(errors="replace").split("\n")
        folder = next((line.strip("\r") for line in reversed(lines) if line.strip()), "")
        if made.code or not _FOLDER.fullmatch(folder):
            raise DeviceError(
                f"{self.name}: cannot make a folder in {self.root or root}: {made.text.strip()}"
            )
        self.folder = folder
        return folder

    def end_program(self) -> None:
        """Ends the program that was started last, if it still runs, and what it started in the run's own folder."""
        folder = shlex.quote(self.folder)
        self.run(
            f"[ ! -f {folder}/pid ] || kill -9 $(cat {folder}/pid) 2>/dev/null\n"
            f'for p in /proc/[0-9]*; do if [ "$p/cwd" -ef {folder} ]; then kill -9 "${{p#/proc/}}"; fi; done',
            30,
        )

    def remove_folder(self) -> None:
        """Ends what still runs in the run's own folder, and removes the folder."""
        if self.folder:
            self.end_program()
            self.run(f"rm -rf {shlex.quote(self.folder)}", 30)
            self.folder = ""

    def path(self, name: str) -> str:
        """The path on the device of the file `name` in the run's own folder."""
        return f"{self.folder}/{name}"

    def put(self, contents: Mapping[str, bytes], timeout: float = 300) -> None:
        """Writes files into the run's own folder, all of them executable."""
        for name, content in contents.items():
            path = Path(self.path(name))
            path.write_bytes(content)
            path.chmod(0o700)

    def get(self, names: Sequence[str], timeout: float = 300) -> dict[str, bytes]:
        """The files of the run's own folder among `names` that exist."""
        paths = {name: Path(self.path(name)) for name in names}
        return {name: path.read_bytes() for name, path in paths.items() if path.is_file()}
