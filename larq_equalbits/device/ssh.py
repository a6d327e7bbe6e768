"""The shell of a host, by OpenSSH's client."""

import io
import os
import re
import shlex
import shutil
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Mapping, Sequence

from larq_equalbits._errors import DeviceError, DeviceLostError, invalid
from larq_equalbits.device.shells import Finished, Shell, call

_HOST = re.compile(r"(?:[A-Za-z0-9._][\w.-]*@)?(?:[A-Za-z0-9][\w.-]*|\[[0-9A-Fa-f:]+\])", re.ASCII)
_MARK = b"larq-equalbits-files"


class Ssh(Shell):
    """The login shell of a host, by OpenSSH's client, which must not ask for a password.

    Args:
        name: the target as the user wrote it.
        host: "HOST" or "USER@HOST", a name of the user's ssh configuration too.
        port: the port, or None for the configured one.
        root: see `Shell`.
        config: a configuration file for ssh instead of the user's.

    Raises:
        InputError: where `host` has a form that ssh could take for something else.
    """

    def __init__(
        self,
        name: str,
        host: str,
        port: int | None = None,
        root: str | None = None,
        config: str | os.PathLike[str] | None = None,
    ) -> None:
        super().__init__(name, root)
        if not _HOST.fullmatch(host):
            raise invalid(
                "target", host, "USER@HOST or HOST of letters, digits, '.', '_' and '-' (no leading '-')"
            )
        self._command = ["ssh", "-T", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10"]
        self._command += ["-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=3"]
        if config is not None:
            self._command += ["-F", os.path.abspath(config)]
        if port is not None:
            self._command += ["-p", str(port)]
        self._socket = ""
        self._shared: list[str] = []
        self._master: subprocess.Popen[bytes] | None = None
        self._host = ["--", host.replace("[", "").replace("]", "")]

    def run(self, script: str, timeout: float = 60, stdin: bytes | None = None) -> Finished:
        """See `Shell.run`."""
        # The login shell may be any; what it sees is one quoted word for sh. The status 255 is ssh's own.
        script = f"(\n{script}\n)\ncode=$?\n[ $code -ne 255 ] || code=254\nexit $code"
        command = [*self._command, *self._shared, *self._host, f"exec sh -c {shlex.quote(script)}"]
        finished = call(command, timeout, stdin)
        if finished.code == 255:
            reason = finished.errors.decode(errors="replace").strip().splitlines()
            raise DeviceLostError(
                f"{self.name} cannot be reached: {reason[-1] if reason else 'the connection broke'}"
            )
        return finished

    def make_folder(self) -> str:
        """See `Shell.make_folder`; opens the connection that the commands after it share."""
        folder = super().make_folder()
        # Without it every command pays for a connection of its own: half a second on a Raspberry Pi. A path of
        # more than 100 bytes is too long for a socket; ssh then goes on with single connections.
        self._socket = os.path.join(tempfile.mkdtemp(prefix="leb-"), "s")
        # ssh takes the value apart at spaces, and replaces %h and the like.
        self._shared = ["-o", 'ControlPath="{}"'.format(self._socket.replace("%", "%%"))]
        quiet = subprocess.DEVNULL
        self._master = subprocess.Popen(
            [*self._command, "-M", "-N", *self._shared, *self._host],
            stdin=quiet,
            stdout=quiet,
            stderr=quiet,
            start_new_session=True,
        )
        for _ in range(100):
            if os.path.exists(self._socket) or self._master.poll() is not None:
                break
            time.sleep(0.05)
        return folder

    def remove_folder(self) -> None:
        """See `Shell.remove_folder`; closes the shared connection."""
        try:
            super().remove_folder()
        finally:
            if self._master is not None:
                self._master.terminate()
                self._master.wait()
                self._master = None
                shutil.rmtree(os.path.dirname(self._socket), ignore_errors=True)
                self._socket, self._shared = "", []

    def put(self, contents: Mapping[str, bytes], timeout: float = 300) -> None:
        """See `Shell.put`."""
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            for name, content in contents.items():
                entry = tarfile.TarInfo(name)
                entry.size, entry.mode = len(content), 0o700
                tar.addfile(entry, io.BytesIO(content))
        script = f"cd {shlex.quote(self.folder)} && tar -xf -"
        finished = self.run(script, timeout, archive.getvalue())
        if finished.code:
            raise DeviceError(f"{self.name}: cannot write to {self.folder}: {finished.text.strip()}")

    def get(self, names: Sequence[str], timeout: float = 300) -> dict[str, bytes]:
        """See `Shell.get`."""
        wanted = " ".join(map(shlex.quote, names))
        script = (
            f"echo {_MARK.decode()}; cd {shlex.quote(self.folder)} || exit 1; set --; "
            f'for f in {wanted}; do [ -f "$f" ] && set -- "$@" "$f"; done; [ $# -eq 0 ] || tar -cf - "$@"'
        )
        finished = self.run(script, timeout)
        # A start-up file of the login shell may print something first.
        archive = finished.output.partition(_MARK + b"\n")[2]
        found: dict[str, bytes] = {}
        try:
            with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
                for entry in tar:
                    content = tar.extractfile(entry)
                    if content is not None and entry.name in names:
                        found[entry.name] = content.read()
        except tarfile.TarError:
            # There is no such file, and so no archive; the caller sees what is missing.
            return found
        return found
