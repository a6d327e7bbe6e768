"""What a device is, and whether the program and the models can run there."""

import re
import shlex
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from larq_equalbits._errors import DeviceError
from larq_equalbits.device.adb import Adb
from larq_equalbits.device.shells import Shell

_FACTS = r"""
echo "machine=$(uname -m 2>/dev/null)"
echo "system=$(uname -s 2>/dev/null) $(uname -r 2>/dev/null)"
echo "bits=$(getconf LONG_BIT 2>/dev/null)"
echo "cores=$(nproc 2>/dev/null || grep -c ^processor /proc/cpuinfo 2>/dev/null)"
echo "model=$(tr -d '\000' </proc/device-tree/model 2>/dev/null || getprop ro.product.model 2>/dev/null)"
echo "governor=$(cat /sys/devices/system/cpu/cpu0/cpufreq/scaling_governor 2>/dev/null)"
echo "memory_kib=$(sed -n 's/^MemAvailable: *\([0-9]*\).*/\1/p' /proc/meminfo 2>/dev/null)"
echo "free_kib=$(df -Pk . 2>/dev/null | sed -n '$s/.* \([0-9][0-9]*\)  *[0-9]*% .*/\1/p')"
"""
_MACHINES = {3: "x86 (32-bit)", 40: "ARM (32-bit)", 62: "x86-64", 183: "aarch64", 243: "RISC-V"}
_SAME = {"aarch64": "aarch64", "arm64": "aarch64", "armv8": "aarch64", "x86_64": "x86-64", "amd64": "x86-64"}
_WHERE = "LCE's release page has it as lce_benchmark_model_{}."


@dataclass(frozen=True)
class Program:
    """What the header of a program tells.

    Attributes:
        machine: the architecture, or "" for a script.
        loader: the path of the dynamic loader it asks for, or "".
    """

    machine: str
    loader: str


def inspect(content: bytes) -> Program:
    """Reads the ELF header of a program (System V ABI, "Object files"); other files have none."""
    if content[:4] != b"\x7fELF":
        return Program("", "")
    wide, order = content[4] == 2, "<" if content[5] == 1 else ">"
    (machine,) = struct.unpack_from(order + "H", content, 18)
    loader = ""
    if wide:
        loader = _loader(content, order)
    return Program(_MACHINES.get(machine, f"machine {machine}"), loader)


def _loader(content: bytes, order: str) -> str:
    """The path in the program header of the kind "interpreter"; "" where it is missing or cut off."""
    try:
        (table,) = struct.unpack_from(order + "Q", content, 32)
        size, count = struct.unpack_from(order + "HH", content, 54)
        for start in (table + size * number for number in range(count)):
            kind, _, offset = struct.unpack_from(order + "IIQ", content, start)
            (length,) = struct.unpack_from(order + "Q", content, start + 32)
            if kind == 3:
                return content[offset : offset + length].rstrip(b"\0").decode(errors="replace")
    except struct.error:
        return ""
    return ""


def facts(shell: Shell) -> dict[str, str]:
    """What the device tells about itself, asked from within the run's own folder."""
    finished = shell.run(f"cd {shlex.quote(shell.folder)}\n{_FACTS}")
    pairs = re.findall(r"^(\w+)=(.*)$", finished.output.decode(errors="replace").replace("\r", ""), re.M)
    return {key: value.strip() for key, value in pairs}


def check(
    shell: Shell, known: dict[str, str], program: Path | None, threads: Sequence[int], needed_bytes: int
) -> list[str]:
    """Checks architecture, word size, program, space and threads; returns remarks on what is only unusual.

    Args:
        shell: where it will run.
        known: from `facts`.
        program: the program's file on this machine, or None where an emulator runs it.
        threads: the numbers of threads to be measured.
        needed_bytes: what will be written on the device.

    Raises:
        DeviceError: names what is wrong and what to do.
    """
    if program is None:
        notes = [f"{shell.name}: the program runs under a prefix; its architecture was not checked."]
    else:
        notes = _check_architecture(known, inspect(program.read_bytes()), shell)
    return notes + check_room(shell, known, threads, needed_bytes)


def check_room(shell: Shell, known: dict[str, str], threads: Sequence[int], needed_bytes: int) -> list[str]:
    """Checks space, threads and clock; the arguments, remarks and errors are those of `check`."""
    name, notes = shell.name, []
    free = known.get("free_kib", "")
    if free.isdigit() and int(free) * 1024 < needed_bytes:
        raise DeviceError(
            f"{name}: {needed_bytes / 2**20:.1f} MiB are needed in {shell.folder}, but only "
            f"{int(free) / 1024:.1f} MiB are free; make room, or choose another device folder."
        )
    cores = known.get("cores", "")
    if cores.isdigit() and max(threads) > int(cores):
        notes.append(f"{name}: {max(threads)} threads share {cores} cores; do not read that as a speed.")
    if known.get("governor") in {"powersave", "ondemand", "schedutil", "conservative"}:
        notes.append(
            f"{name}: the clock follows the load (governor {known['governor']}); repeat before comparing."
        )
    return notes


def check_word_size(name: str, known: dict[str, str]) -> None:
    """Checks that a device runs 64-bit programs; DeviceError where it does not."""
    machine, bits = known.get("machine", ""), known.get("bits", "")
    device = _SAME.get(machine.lower(), machine)
    if (re.match(r"armv[5-8]", machine) and device != "aarch64") or (device == "aarch64" and bits == "32"):
        raise DeviceError(
            f"{name} runs a 32-bit system ({machine}, {bits or '32'}-bit programs). LCE's optimised kernels "
            "need 64-bit ARM: install a 64-bit operating system, such as Raspberry Pi OS (64-bit)."
        )


def remark_on_machine(name: str, known: dict[str, str]) -> list[str]:
    """A remark where the times of a device say nothing about 64-bit ARM."""
    machine = known.get("machine", "")
    if _SAME.get(machine.lower()) == "aarch64":
        return []
    return [f"{name} is {machine or 'of unknown architecture'}: its times say nothing about 64-bit ARM."]


def _check_architecture(known: dict[str, str], program: Program, shell: Shell) -> list[str]:
    name, machine = shell.name, known.get("machine", "")
    device = _SAME.get(machine.lower(), machine)
    android = isinstance(shell, Adb)
    check_word_size(name, known)
    if program.machine and device and program.machine != device:
        asset = _WHERE.format("android_arm64" if android else "aarch64")
        raise DeviceError(
            f"{name} is {machine}, but the program is for {program.machine}. "
            + (asset if device == "aarch64" else f"Build lce_benchmark_model for {machine}.")
        )
    if android and "ld-linux" in program.loader:
        raise DeviceError(f"The program is for Linux, not for Android. {_WHERE.format('android_arm64')}")
    if not android and "/system/bin/linker" in program.loader:
        raise DeviceError(f"The program is for Android, not for Linux. {_WHERE.format('aarch64')}")
    notes = []
    if not program.machine:
        notes.append(f"{name}: the program is a script; its architecture was not checked.")
    return notes + remark_on_machine(name, known)
