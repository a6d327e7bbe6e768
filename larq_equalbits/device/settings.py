"""How `device.run` measures, and with what."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from larq_equalbits._errors import check_kind, fits, invalid, is_number, is_whole
from larq_equalbits.export.interpreter import check_runtime


def _counts(name: str, values: Any, most: int) -> tuple[int, ...]:
    numbers = tuple(values) if isinstance(values, Sequence) else ()
    if not numbers or not all(is_whole(value, 1) and value <= most for value in numbers):
        raise invalid(name, values, f"one or more whole numbers from 1 to {most}")
    return tuple(dict.fromkeys(int(value) for value in numbers))


@dataclass(frozen=True)
class Settings:
    """What is measured how often, what answers, and where on the device it lies.

    Examples:
        >>> from larq_equalbits import device
        >>> device.Settings(threads=(1, 4), repeats=20).rounds
        3

    Attributes:
        threads: the numbers of threads, each from 1 to 1024; equal ones count once.
        repeats: inferences in a round, at least 1.
        warmup: inferences before each round, at least 0.
        rounds: starts of the program, or rounds in one start of our runtime; at least 1.
        images: how many images' outputs to bring back, at least 1. Default: all, but 8 from `lce_benchmark_model`.
        runtime: what answers on "local": "lce" for LCE's interpreter, "litert" for larq-equalbits-runtime.
        runtime_wheel: the runtime's wheel for the device, or a folder with wheels. Default: the one that
            `scripts/build_runtime.sh` made in this clone, or else the published one.
        program: `lce_benchmark_model` for the device: a path, or for the target "program" a command line too.
            Without it our runtime answers over ssh; it is installed there into an environment of its own.
        prefix: words before the program there, such as an emulator or "taskset f0".
        flags: more options for the program, such as "--use_indirect_bgemm=true" or "--use_xnnpack=false".
        device_folder: where on the device a folder for the run is made, an absolute path. Default: /tmp, and
            /data/local/tmp on Android. The run's folder is removed at the end. The runtime's environment stays for the
            next run, in the same folder or by default in ~/.cache/larq-equalbits. Nothing else is written.
        ssh_config: a configuration file for ssh instead of ~/.ssh/config.
        timeout: seconds for one start of the program, above 0.
        profile: whether to measure memory and operators with the program.

    Raises:
        InputError: a number that is out of its range, an unknown runtime, or what is no path or no words.
    """

    threads: Sequence[int] = (1,)
    repeats: int = 50
    warmup: int = 5
    rounds: int = 3
    images: int | None = None
    runtime: str = "lce"
    runtime_wheel: str | os.PathLike[str] | None = None
    program: str | os.PathLike[str] | Sequence[str] | None = None
    prefix: str | Sequence[str] = ()
    flags: Sequence[str] = ()
    device_folder: str | None = None
    ssh_config: str | os.PathLike[str] | None = None
    timeout: float = 600.0
    profile: bool = True

    def __post_init__(self) -> None:
        """Checks the numbers and names."""
        object.__setattr__(self, "threads", _counts("threads", self.threads, 1024))
        if self.images is not None:
            _counts("images", (self.images,), 2**31 - 1)
        for name, least in (("repeats", 1), ("rounds", 1), ("warmup", 0)):
            value = getattr(self, name)
            if not (is_whole(value, least) and value <= 10**6):
                raise invalid(name, value, f"a whole number from {least} to a million")
        if not (is_number(self.timeout) and 0 < self.timeout <= 10**6):
            raise invalid("timeout", self.timeout, "a number of seconds above 0, at most a million")
        check_runtime(self.runtime)
        for name in ("runtime_wheel", "ssh_config"):
            check_kind(name, getattr(self, name), str | os.PathLike | None, "None or a path")
        check_kind("device_folder", self.device_folder, str | None, "None or an absolute path on the device")
        check_kind("program", self.program, str | os.PathLike | Sequence | None, "a path or a command line")
        check_kind("prefix", self.prefix, Sequence | None, "words, as a text or a sequence")
        if not fits(self.flags, list[str] | None):
            raise invalid("flags", self.flags, "a sequence of options as texts")
        object.__setattr__(self, "flags", tuple(self.flags or ()))
