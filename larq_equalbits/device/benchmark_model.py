"""What `lce_benchmark_model` takes on its command line, and what its output says.

The program is LCE's build of TensorFlow Lite's benchmark_model. Its options and its log differ a little
from version to version; what is read here are the forms from TensorFlow 2.1 on.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from larq_equalbits.device.measured import Latency, Operator
from larq_equalbits.export.flatbuffer import Tensor

_PLAIN_NAME = re.compile(r"[A-Za-z0-9_./-]+")
_NUMBER = r"([-+]?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?)"
_STATISTICS = re.compile(r"\b(\w+)=" + _NUMBER)

#: The ways to ask for a profile in a file, the newest first; the last one prints it.
PROFILE_FLAGS: tuple[tuple[str, ...], ...] = (
    ("--op_profiling_output_mode=csv", "--op_profiling_output_file={file}"),
    ("--profiling_output_csv_file={file}",),
    (),
)


def layer_names(inputs: Sequence[Tensor]) -> list[str]:
    """The names under which the inputs go to the program.

    The program knows inputs by their order and only remarks on a name that differs from the file's, whereas
    versions disagree on how a ":" in a name is written. So a name with a character that means something
    in the options is replaced.
    """
    return [t.name if _PLAIN_NAME.fullmatch(t.name) else f"input_{i}" for i, t in enumerate(inputs)]


def input_flags(inputs: Sequence[Tensor], files: Sequence[str]) -> list[str]:
    """The options that make the program read the raw arrays in `files`, one for every input."""
    names = layer_names(inputs)
    shapes = ":".join(",".join(map(str, tensor.shape)) for tensor in inputs)
    values = ",".join(f"{name}:{file}" for name, file in zip(names, files, strict=True))
    return [
        f"--input_layer={','.join(names)}",
        f"--input_layer_shape={shapes}",
        f"--input_layer_value_files={values}",
    ]


def run_flags(graph: str, threads: int, runs: int, warmup: int, seconds: float) -> list[str]:
    """The options for exactly `runs` inferences after `warmup` others, and at most `seconds` of them."""
    return [
        f"--graph={graph}",
        f"--num_threads={threads}",
        f"--num_runs={runs}",
        f"--warmup_runs={warmup}",
        # Without these two the program goes on for half a second and a second, however few runs are asked.
        "--min_secs=0",
        "--warmup_min_secs=0",
        f"--max_secs={seconds:g}",
    ]


def profile_choices(help_text: str) -> list[tuple[str, ...]]:
    """The entries of `PROFILE_FLAGS` worth trying with a program that prints this help."""
    known = [flags for flags in PROFILE_FLAGS[:-1] if flags[0].split("=")[0].lstrip("-") in help_text]
    return [*(known or PROFILE_FLAGS[:-1]), PROFILE_FLAGS[-1]]


def latency(text: str) -> Latency | None:
    """The latency in what the program printed, or None where it says nothing of it.

    The median and percentiles are there only in newer versions; `Latency.statistic` tells what the median is.
    """
    lines = [line for line in text.splitlines() if "count=" in line and "Timings (" not in line]
    lines = [line for line in lines if "Memory (" not in line]
    found = dict(_STATISTICS.findall(lines[-1])) if lines else {}
    average = re.search(r"Inference(?: \(avg\))?: " + _NUMBER, text)
    if "avg" not in found:
        # All inferences took the same time, which is the median too, or the line of the phase is missing.
        same = found.get("curr") or (average.group(1) if average else None)
        if same is None:
            return None
        known = ("avg", "min", "max", "median") if "curr" in found else ("avg", "min", "max")
        found = {**dict.fromkeys(known, same), "std": "0", **found}
    value = {key: float(number) / 1000 for key, number in found.items()}
    return Latency(
        median_ms=value.get("median", value["avg"]),
        mean_ms=value["avg"],
        std_ms=value.get("std", 0.0),
        min_ms=value.get("min", value["avg"]),
        max_ms=value.get("max", value["avg"]),
        count=int(float(found.get("count", 1))),
        statistic="median" if "median" in value else "mean",
    )


@dataclass(frozen=True)
class Footprint:
    """Start-up time in ms and memory in KiB as far as the program told them."""

    init_ms: float | None
    memory_kib: float | None
    peak_kib: float | None


def _first(pattern: str, text: str) -> float | None:
    match = re.search(pattern + _NUMBER, text)
    return float(match.group(1)) if match else None


def footprint(text: str) -> Footprint:
    """Start-up time and memory in what the program printed (it prints microseconds and MiB)."""
    init = _first(r"Init: ", text)
    overall = _first(r"emory footprint[^\n]*\(MB\): init=[^ ]+ overall=", text)
    peak = _first(r"peak memory footprint \(MB\) via periodic monitoring: ", text)
    return Footprint(
        None if init is None else init / 1000,
        None if overall is None else overall * 1024,
        None if peak is None or peak <= 0 else peak * 1024,
    )


def _cells(line: str, columns: int) -> list[str]:
    separator = "\t" if "\t" in line else ","
    return [cell.strip() for cell in line.strip().split(separator, columns - 1)]


def operators(text: str) -> list[Operator]:
    """The operators in run order with their mean times, from a profile as table or as CSV."""
    # A profile of the start-up comes before that of the runs where a version makes both.
    lines = text.rpartition("Operator-wise Profiling Info")[2].splitlines()
    start = next((i for i, line in enumerate(lines) if "Run Order" in line), None)
    if start is None:
        return []
    header = [cell.strip("[]").lower().replace(" ", "_") for cell in _cells(lines[start + 1], 100)]
    found = []
    for line in lines[start + 2 :]:
        cells = _cells(line, len(header))
        if len(cells) != len(header):
            break
        row = dict(zip(header, cells, strict=True))
        name = re.sub(r"^\[(.*)\](:\d+)?$", r"\1", row["name"])
        found.append(Operator(row["node_type"], name, float(row["avg_ms"]), float(row["%"].rstrip("%"))))
    return found


def complaint(text: str) -> str:
    """The last three lines in which the program says what is wrong, or else its last three."""
    kept = [line.strip() for line in text.splitlines() if line.strip()]
    wrong = [line for line in kept if re.search(r"error|fail|denied|not found|cannot|unresolved", line, re.I)]
    return " | ".join((wrong or kept)[-3:]) or "it printed nothing"
