"""All that was measured, as a report that prints as a table and writes JSON and CSV."""

import dataclasses
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from larq_equalbits import _files
from larq_equalbits._errors import InputError, check_fields, check_kind
from larq_equalbits._text import Shown, csv_table
from larq_equalbits.device import chart, table
from larq_equalbits.device.measured import Agreement, Latency, Operator, Result

_NAMES = ("report.json", "report.csv", "chart.png")
_COLUMNS = (
    "device", "model", "threads", "size_bytes", "median_ms", "mean_ms", "std_ms", "min_ms", "max_ms",
    "inferences", "init_ms", "memory_kib", "peak_kib", "keras_argmax", "keras_max_difference", "host_argmax",
    "host_max_difference", "accuracy", "accuracy_images", "failure",
)  # fmt: skip


def check_folder(folder: Path) -> None:
    """Checks that a report may be written into `folder`: nothing of its names is there, or a report, and no link.

    Raises:
        InputError: names what is there.
    """
    _files.check_no_links(*(folder / name for name in _NAMES))
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
    result = Result(**{**entry, **parts})
    latencies = [result.latency] if result.latency else []
    check_fields(result, *latencies, *result.operators, *result.agreements)
    return result


@dataclass
class Report(Shown):
    """All results of a run, with what was found out about the devices.

    Attributes:
        results: one per model, device and number of threads, in the order in which they were measured.
        devices: from a target to what the device told about itself.

    Examples:
        >>> report = Report([Result("model.tflite", "local", threads=1, size_bytes=1024, failure="out of memory")])
        >>> Report.from_json(report.to_json()).failures
        ['model.tflite on local, 1 threads: out of memory']
    """

    results: list[Result] = field(default_factory=list)
    devices: dict[str, dict[str, str]] = field(default_factory=dict)

    def __add__(self, other: "Report") -> "Report":
        """Both reports' results side by side."""
        check_kind("the other summand", other, Report, "a device.Report")
        return Report(self.results + other.results, {**self.devices, **other.devices})

    def __rich__(self) -> Any:
        """The results side by side."""
        return table.results(self.results)

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
        return csv_table([self._row(result) for result in self.results], _COLUMNS)

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Writes report.json and report.csv into `folder`, which is made where it is missing.

        Raises:
            InputError: files of these names, or a chart.png, are there that no report left.
        """
        check_kind("folder", folder, str | os.PathLike, "the path of a folder")
        check_folder(Path(folder))
        _files.write_text(os.path.join(folder, "report.json"), self.to_json() + "\n")
        _files.write_text(os.path.join(folder, "report.csv"), self.to_csv())

    def plot(self, path: str | os.PathLike[str]) -> None:
        """Draws accuracy against latency to `path`; see `larq_equalbits.device.chart.draw`."""
        chart.draw(self.results, path)
