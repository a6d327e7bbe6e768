"""The shell of an Android device, by adb."""

import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from larq_equalbits._errors import DeviceError, DeviceLostError, invalid
from larq_equalbits.device.shells import Finished, Shell, call

# What adb says of a device that is gone, on either stream. Other complaints have paths in them, and so any word.
_GONE = re.compile(
    r"^(?:adb: )?(?:error: )?((?:connect failed: |failed to get feature set: )?(?:device '[^']*' not found|"
    r"no devices/emulators found|device (?:offline|unauthorized|still \w+)\b.*|closed|protocol fault.*|"
    r"cannot connect to .*))$",
    re.M,
)
_SERIAL = re.compile(r"[A-Za-z0-9][\w.:\[\]-]*", re.ASCII)


class Adb(Shell):
    """The shell of an Android device, by the adb client.

    Args:
        name: the target as the user wrote it.
        serial: as `adb devices` prints it, or None for the only device.
        root: see `Shell`.

    Raises:
        InputError: where `serial` has a form that adb could take for something else.
    """

    default_root = "/data/local/tmp"
    _MARK = "larq-equalbits-exit="

    def __init__(self, name: str, serial: str | None = None, root: str | None = None) -> None:
        super().__init__(name, root)
        if serial is not None and not _SERIAL.fullmatch(serial):
            raise invalid("target", serial, "a serial number as `adb devices` prints it (no leading '-')")
        self._command = ["adb"] if serial is None else ["adb", "-s", serial]
        self._serial = serial

    def _adb(self, arguments: Sequence[str], timeout: float) -> Finished:
        finished = call([*self._command, *arguments], timeout)
        gone = _GONE.search(finished.text)
        if finished.code and gone:
            raise DeviceLostError(f"{self.name} cannot be reached: {gone.group(1)}")
        return finished

    def find(self) -> None:
        """Checks that there is one device that is ready.

        Raises:
            DeviceLostError: which says what state adb sees the device in.
        """
        listed = call(["adb", "devices"], 30)
        lines = [
            line.split("\t") for line in listed.output.decode(errors="replace").splitlines() if "\t" in line
        ]
        states = {line[0]: line[1].strip() for line in lines}
        if listed.code:
            raise DeviceLostError(f"adb does not work: {listed.text.strip()}")
        if self._serial is None and len(states) > 1:
            names = ", ".join(f"adb:{serial}" for serial in states)
            raise DeviceLostError(f"adb sees {len(states)} devices; name one of {names}.")
        serial = self._serial if self._serial is not None else next(iter(states), None)
        if serial not in states:
            seen = ", ".join(states) or "none"
            raise DeviceLostError(
                f"{self.name}: adb sees no such device (it sees: {seen}). Is USB debugging on?"
            )
        if states[serial] == "unauthorized":
            raise DeviceLostError(f"{self.name} is unauthorized: unlock it and accept this computer's key.")
        if states[serial] != "device":
            raise DeviceLostError(
                f"{self.name} is {states[serial]}: plug it in again, or run `adb reconnect`."
            )

    def run(self, script: str, timeout: float = 60, stdin: bytes | None = None) -> Finished:
        """See `Shell.run`; `stdin` is not supported."""
        # Devices before Android 7 pass no exit status on, and mix both streams.
        wrapped = f'(\n{script}\n)\necho "\n{self._MARK}$?"'
        finished = self._adb(["shell", wrapped], timeout)
        output, mark, code = finished.output.rpartition(self._MARK.encode())
        if not mark:
            raise DeviceLostError(
                f"{self.name} disappeared: {finished.text.strip() or 'the connection broke'}"
            )
        number = re.match(rb"\d+", code)
        return Finished(int(number.group()) if number else 1, output.rstrip(b"\r\n"), finished.errors)

    def put(self, contents: Mapping[str, bytes], timeout: float = 300) -> None:
        """See `Shell.put`."""
        with tempfile.TemporaryDirectory() as scratch:
            for name, content in contents.items():
                path = Path(scratch, name)
                path.write_bytes(content)
                path.chmod(0o700)
            local = [os.path.join(scratch, name) for name in contents]
            finished = self._adb(["push", *local, f"{self.folder}/"], timeout)
        if finished.code:
            raise DeviceError(f"{self.name}: cannot write to {self.folder}: {finished.text.strip()}")

    def get(self, names: Sequence[str], timeout: float = 300) -> dict[str, bytes]:
        """See `Shell.get`."""
        found = {}
        with tempfile.TemporaryDirectory() as scratch:
            for name in names:
                path = Path(scratch, name)
                if not self._adb(["pull", self.path(name), str(path)], timeout).code and path.is_file():
                    found[name] = path.read_bytes()
        return found
