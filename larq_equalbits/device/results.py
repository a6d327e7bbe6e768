"""What was measured, as objects that print as a table and write JSON and CSV."""

import csv
import dataclasses
import io
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from larq_equalbits import _files
from larq_equalbits._errors import InputError
from larq_equalbits._text import Shown
from larq_equalbits.export.judging import Judge


@dataclass(frozen=True)
class Latency:
    """The time of one inference in milliseconds.

    Attributes:
        median_ms: the median; over rounds the median of theirs.
        mean_ms: the mean.
        std_ms: the standard deviation within a round.
        min_ms: the fastest inference.
        max_ms: the slowest inference.
        count: the number of inferences measured.
        statistic: "median", or "mean" where the program on the device prints no median: `median_ms` is then
            the median over the rounds of the mean within each.
        rounds_ms: what each round gave for `median_ms`.
    """

    median_ms: float
    mean_ms: float
    std_ms: float
    min_ms: float
    max_ms: float
    count: int
    statistic: str = "median"
    rounds_ms: tuple[float, ...] = ()

    @property
    def spread_ms(self) -> float:
        """The slowest minus the fastest inference."""
        return self.max_ms - self.min_ms

    @classmethod
    def of(cls, milliseconds: np.ndarray) -> "Latency":
        """The statistics of single times."""
        return cls(
            float(np.median(milliseconds)),
            float(np.mean(milliseconds)),
            float(np.std(milliseconds)),
            float(np.min(milliseconds)),
            float(np.max(milliseconds)),
            len(milliseconds),
        )

    @classmethod
    def over(cls, rounds: "list[Latency]") -> "Latency":
        """The rounds' latencies in one."""
        counts = [each.count for each in rounds]
        return cls(
            float(np.median([each.median_ms for each in rounds])),
            float(np.average([each.mean_ms for each in rounds], weights=counts)),
            float(np.average([each.std_ms for each in rounds], weights=counts)),
            min(each.min_ms for each in rounds),
            max(each.max_ms for each in rounds),
            sum(counts),
            "median" if all(each.statistic == "median" for each in rounds) else "mean",
            tuple(each.median_ms for each in rounds),
        )


@dataclass(frozen=True)
class Operator:
    """One operator in the order of the run: its type, its output, its mean time and share of the whole."""

    type: str
    name: str
    ms: float
    percent: float


@dataclass(frozen=True)
class Agreement:
    """How the outputs on the device compare with those of a reference for the same images.

    Attributes:
        reference: "keras" or "host" (LCE's interpreter in this process).
        images: how many were compared.
        argmax: the fraction of equal decisions (the largest value along the last axis, the side of a threshold), of the
            output where it is smallest.
        max_difference: the largest absolute difference of an output.
        identical: whether every output is the same bit by bit.
    """

    reference: str
    images: int
    argmax: float
    max_difference: float
    identical: bool

    @classmethod
    def between(
        cls, reference: str, judge: Judge, expected: list[np.ndarray], outputs: list[np.ndarray]
    ) -> "Agreement":
        """Compares two lists of arrays whose first axis counts the images, by a new `judge`."""
        images = min(len(array) for array in outputs)
        pairs = [(left[:images], right[:images]) for left, right in zip(expected, outputs, strict=True)]
        judge.add(*zip(*pairs, strict=True))
        verdicts = judge.verdicts()
        return cls(
            reference,
            images,
            min(output.agreement for output in verdicts),
            max(output.max_abs_diff for output in verdicts),
            all(np.array_equal(left, right) for left, right in pairs),
        )


@dataclass
class Result:
    """One model on one device with one number of threads.

    Attributes:
        model: the model's name.
        device: the target as it was given.
        threads: the number of threads.
        size_bytes: the size of the .tflite file.
        latency: the time of an inference; None where it was not measured.
        init_ms: loading the model and allocating its tensors, in ms.
        memory_kib: how much the process grew by the model, in KiB.
        peak_kib: the process' peak, in KiB, where the program tells it.
        operators: the profile, empty where there is none.
        outputs: an array for every output, first axis images.
        agreements: the comparisons with Keras and with the host.
        accuracy: the fraction of labels that the first output's decisions meet.
        accuracy_images: how many images `accuracy` is of.
        notes: what a reader of the figures should know.
        failure: what went wrong, or "".
    """

    model: str
    device: str
    threads: int
    size_bytes: int
    latency: Latency | None = None
    init_ms: float | None = None
    memory_kib: float | None = None
    peak_kib: float | None = None
    operators: list[Operator] = field(default_factory=list)
    outputs: list[np.ndarray] = field(default_factory=list)
    agreements: list[Agreement] = field(default_factory=list)
    accuracy: float | None = None
    accuracy_images: int = 0
    notes: list[str] = field(default_factory=list)
    failure: str = ""

    def agreement(self, reference: str) -> Agreement | None:
        """The comparison with `reference`, or None where there is none."""
        return next((each for each in self.agreements if each.reference == reference), None)


_NAMES = ("report.json", "report.csv", "chart.png")
_COLUMNS = (
    "device", "model", "threads", "size_bytes", "median_ms", "mean_ms", "std_ms", "min_ms", "max_ms",
    "inferences", "init_ms", "memory_kib", "peak_kib", "keras_argmax", "keras_max_difference", "host_argmax",
    "host_max_difference", "accuracy", "accuracy_images", "failure",
)  # fmt: skip


def check_folder(folder: Path) -> None:
    """Checks that a report may be written into `folder`: nothing of its names is there, or those of a report.

    Raises:
        InputError: names what is there.
    """
    if _files.holds(folder / _NAMES[0], "devices", "results"):
        return
    for name in _NAMES:
        if (folder / name).exists():
            raise InputError(f"out must be a folder without {name}, or with a report's, but got {folder}.")


def _result(entry: dict[str, Any]) -> Result:
    latency = entry["latency"]
    parts = {
        "latency": latency and Latency(**{**latency, "rounds_ms": tuple(latency["rounds_ms"])}),
        "operators": [Operator(**each) for each in entry["operators"]],
        "agreements": [Agreement(**each) for each in entry["agreements"]],
        "outputs": [np.asarray(each, np.float32) for each in entry["outputs"]],
    }
    return Result(**{**entry, **parts})


@dataclass
class Report(Shown):
    """All results of a run, with what was found out about the devices.

    Attributes:
        results: one per model, device and number of threads, in the order in which they were measured.
        devices: from a target to what the device told about itself.
    """

    results: list[Result] = field(default_factory=list)
    devices: dict[str, dict[str, str]] = field(default_factory=dict)

    def __add__(self, other: "Report") -> "Report":
        """Both reports' results side by side."""
        return Report(self.results + other.results, {**self.devices, **other.devices})

    def __rich__(self) -> Any:
        """The results side by side."""
        from larq_equalbits.device import table

        return table.results(self)

    @property
    def failures(self) -> list[str]:
        """What went wrong, one line for each failed result; empty where all was measured."""
        return [
            f"{r.model} on {r.device}, {r.threads} threads: {r.failure}" for r in self.results if r.failure
        ]

    def to_json(self) -> str:
        """The whole report, outputs and operators included, as JSON."""
        results = []
        for result in self.results:
            entry = dataclasses.asdict(dataclasses.replace(result, outputs=[]))
            results.append({**entry, "outputs": [array.tolist() for array in result.outputs]})
        return json.dumps({"devices": self.devices, "results": results}, indent=2)

    @classmethod
    def from_json(cls, text: str) -> "Report":
        """The report that `to_json` wrote.

        Raises:
            InputError: the text is no such report.
        """
        try:
            content = _files.parse_json(text, "text")
            return cls([_result(entry) for entry in content["results"]], dict(content["devices"]))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            reason = f"{error} is missing" if isinstance(error, KeyError) else error
            raise InputError(f"text must be the JSON of a device report, but is not: {reason}") from error

    def _row(self, result: Result) -> dict[str, Any]:
        latency, keras, host = result.latency, result.agreement("keras"), result.agreement("host")
        row: dict[str, Any] = {name: getattr(result, name, None) for name in _COLUMNS}
        if latency:
            row.update({key: value for key, value in dataclasses.asdict(latency).items() if key in row})
            row["inferences"] = latency.count
        for name, agreement in (("keras", keras), ("host", host)):
            if agreement:
                row[f"{name}_argmax"] = agreement.argmax
                row[f"{name}_max_difference"] = agreement.max_difference
        return row

    def to_csv(self) -> str:
        """One line per result; a cell is empty where there is no figure."""
        text = io.StringIO()
        writer = csv.DictWriter(text, _COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self._row(result) for result in self.results)
        return text.getvalue()

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Writes report.json and report.csv into `folder`, which is made where it is missing.

        Raises:
            InputError: files of these names, or a chart.png, are there that no report left.
        """
        check_folder(Path(folder))
        _files.write_text(os.path.join(folder, "report.json"), self.to_json() + "\n")
        _files.write_text(os.path.join(folder, "report.csv"), self.to_csv())

    def plot(self, path: str | os.PathLike[str]) -> None:
        """Draws accuracy against latency to `path`; see `larq_equalbits.device.chart.draw`."""
        from larq_equalbits.device import chart

        chart.draw(self, path)
