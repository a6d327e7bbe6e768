"""One device as a place where models are measured: a folder of the run's own, starts with a time limit, results."""

import re
import shlex
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from larq_equalbits._errors import DeviceError, DeviceLostError
from larq_equalbits.device.adb import Adb
from larq_equalbits.device.measured import Result
from larq_equalbits.device.models import Model
from larq_equalbits.device.settings import Settings
from larq_equalbits.device.shells import Finished, Shell

Samples = Sequence[Sequence[np.ndarray]]


class Bench(ABC):
    """What measures models in a folder of its own on one device.

    Args:
        shell: where.
        settings: how to measure.
        progress: called with a line of text before each step.
    """

    def __init__(self, shell: Shell, settings: Settings, progress: Callable[[str], None]) -> None:
        self.shell, self.settings, self.progress = shell, settings, progress

    def __enter__(self) -> "Bench":
        """Makes the run's own folder on the device."""
        if isinstance(self.shell, Adb):
            self.shell.find()
        self.shell.make_folder()
        return self

    def __exit__(self, *_: object) -> None:
        """Removes the folder, also after a failure; a device that is gone keeps it."""
        try:
            self.shell.remove_folder()
        except DeviceError as error:
            self.progress(f"{self.shell.folder} on {self.shell.name} could not be removed: {error}")

    @abstractmethod
    def prepare(
        self, models: Sequence[Model], samples: Sequence[Samples]
    ) -> tuple[dict[str, str], list[str]]:
        """Checks the device and copies everything to it; returns what is known of it, and remarks."""

    @abstractmethod
    def measure(self, index: int, model: Model, samples: Samples, threads: int, result: Result) -> None:
        """Fills `result`, step by step, so a device that disappears leaves what was measured."""

    def start(self, command: Sequence[str], timeout: float) -> Finished:
        """Runs a command in the run's own folder on the device, and ends it at the time limit.

        Raises:
            DeviceLostError: where the device cannot be reached.
            DeviceError: at the time limit.
        """
        # By the number that is written down the program can be ended where the connection breaks.
        script = (
            f"cd {shlex.quote(self.shell.folder)} || exit 1\n"
            f"{shlex.join(command)} </dev/null & echo $! >pid\nwait $!\ncode=$?\nrm -f pid\nexit $code"
        )
        try:
            return self.shell.run(script, timeout)
        except DeviceLostError:
            raise
        except DeviceError:
            # At the time limit only this end is gone; what still runs would disturb what comes next.
            self.shell.end_program()
            raise


def measure_all(
    bench: Bench,
    models: Sequence[Model],
    samples: Sequence[Samples],
    results: list[Result],
    notes: Sequence[str],
) -> Iterator[Result]:
    """Measures every model with every number of threads; a failure is kept in its result.

    After the device has disappeared nothing else is tried on it.
    """
    lost = ""
    for index, model in enumerate(models):
        for threads in bench.settings.threads:
            result = Result(model.name, bench.shell.name, threads, len(model.data), notes=list(notes))
            results.append(result)
            if lost:
                result.failure = f"not measured: {lost}"
            else:
                try:
                    bench.measure(index, model, samples[index], threads, result)
                except DeviceLostError as error:
                    lost = result.failure = str(error)
                except DeviceError as error:
                    result.failure = re.sub(r"\s+", " ", str(error))
            yield result
