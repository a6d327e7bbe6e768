"""What this machine has for trials at the same time, and each worker's share of it."""

import contextlib
import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path

import tensorflow as tf

# A TensorFlow process with a network and its data takes about so many bytes.
_MEMORY = 2 * 1024**3
_KILLS = Path("/proc/vmstat")


@dataclasses.dataclass(frozen=True)
class Machine:
    """Attributes: the processors that this process may use, the GPUs as ``CUDA_VISIBLE_DEVICES`` names them, and the
    bytes of memory (0 where they are not known)."""

    processors: tuple[int, ...]
    gpus: tuple[str, ...]
    memory: int

    @property
    def places(self) -> int:
        """How many workers have a GPU, or without GPUs a processor, of their own."""
        return len(self.gpus) or len(self.processors)

    def workers(self, trials: int | None = None) -> int:
        """How many `--workers auto` starts: one for each place, 2 GB of memory and trial, and at least one."""
        limits = [self.places, *([self.memory // _MEMORY] if self.memory else [])]
        return max(1, min([*limits, *([] if trials is None else [trials])]))

    def shares(self, workers: int) -> list["Share"]:
        """What each worker gets: the processors divided, and the GPUs dealt out."""
        count = len(self.processors)
        shares = []
        for index in range(workers):
            first, last = index * count // workers, (index + 1) * count // workers
            own = self.processors[first:last] if workers <= count else (self.processors[index % count],)
            shares.append(Share(own, self.gpus[index % len(self.gpus)] if self.gpus else None))
        return shares


@dataclasses.dataclass(frozen=True)
class Share:
    """A worker's processors, and its GPU or None."""

    processors: tuple[int, ...]
    gpu: str | None

    def environment(self) -> dict[str, str]:
        """What tells TensorFlow, before it starts, to keep to the share; what the user has set comes first."""
        own = {
            "TF_NUM_INTRAOP_THREADS": str(len(self.processors)),
            "TF_NUM_INTEROP_THREADS": str(len(self.processors)),
            "TF_FORCE_GPU_ALLOW_GROWTH": "true",
        }
        kept = {name: os.environ.get(name, value) for name, value in own.items()}
        return kept if self.gpu is None else {**kept, "CUDA_VISIBLE_DEVICES": self.gpu}

    @contextlib.contextmanager
    def taken(self) -> Iterator[None]:
        """Processes that this thread starts inside the block run on the share's processors, where the system can."""
        if not hasattr(os, "sched_setaffinity"):
            yield
            return
        before = os.sched_getaffinity(0)
        os.sched_setaffinity(0, self.processors)
        try:
            yield
        finally:
            os.sched_setaffinity(0, before)


def machine() -> Machine:
    """This machine, as far as this process may use it."""
    if hasattr(os, "sched_getaffinity"):
        processors = tuple(sorted(os.sched_getaffinity(0)))
    else:
        processors = tuple(range(os.cpu_count() or 1))
    count = len(tf.config.list_physical_devices("GPU"))
    named = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    gpus = named[:count] if named else [str(index) for index in range(count)]
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        memory = 0
    return Machine(processors, tuple(gpus), memory)


def memory_kills() -> int:
    """How many processes the system has killed as its memory ran out; 0 where it does not say."""
    try:
        lines = _KILLS.read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))
