"""`history.csv`: the logged values of a training, one row an epoch, exact to the last bit."""

import csv
import io
import math
import os
from collections.abc import Sequence
from pathlib import Path

from larq_equalbits import _files, plots
from larq_equalbits._errors import InputError
from larq_equalbits._text import csv_cell

_EPOCH = "epoch"


def columns(rows: Sequence[dict[str, float]]) -> dict[str, list[float]]:
    """Rows of one epoch each as lists by key; NaN where an epoch lacks a key."""
    keys = dict.fromkeys(key for row in rows for key in row)
    return {key: [row.get(key, math.nan) for row in rows] for key in keys}


def read(path: Path, epochs: int) -> list[dict[str, float]]:
    """The rows of the first `epochs` epochs. What follows is not looked at: a kill may have cut it.

    Raises:
        InputError: no such file, or not those epochs; names the file.
    """
    table = {_key(name): values for name, values in plots.read_history(path).items()}
    numbers = table.pop(_EPOCH, [])
    if numbers[:epochs] != list(range(epochs)):
        raise InputError(f"{path} must have a row for each of the {epochs} finished epochs, but is damaged.")
    return [{key: values[epoch] for key, values in table.items()} for epoch in range(epochs)]


def _key(name: str) -> str:
    """The key of a column, whose name has an apostrophe in front where a spreadsheet would take it for a formula."""
    return name[1:] if name[:1] == "'" and csv_cell(name[1:]) == name else name


class History:
    """Writes `history.csv` in the folder `folder`: a row is appended, and only a new key writes the file again.

    A kill leaves whole rows and at most the beginning of one more, which `read` leaves out.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "history.csv"
        self.rows: list[dict[str, float]] = []
        self._keys: list[str] = []
        self._size = -1

    def restore(self, source: Path, epochs: int) -> None:
        """Takes up the first `epochs` rows of the file `source`, as `read`, and writes them alone."""
        self.rows = read(source, epochs)
        if self.rows:
            self._write()

    def append(self, row: dict[str, float]) -> None:
        """Adds the row of the next epoch, and returns once it is on the disk."""
        self.rows.append(row)
        if (
            not set(row) <= set(self._keys)
            or not self.path.is_file()
            or self.path.stat().st_size != self._size
        ):
            self._write()
            return
        values = [repr(row.get(key, math.nan)) for key in self._keys]
        with self.path.open("a", encoding="utf-8", newline="") as file:
            file.write(",".join([str(len(self.rows) - 1), *values]) + "\n")
            self._flush(file)

    def _write(self) -> None:
        table = columns(self.rows)
        self._keys = list(table)
        with (
            _files.replacing(self.path) as temporary,
            temporary.open("w", encoding="utf-8", newline="") as file,
        ):
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow([_EPOCH, *map(csv_cell, table)])
            for epoch, values in enumerate(zip(*table.values(), strict=True)):
                writer.writerow([epoch, *map(repr, values)])
            self._flush(file)

    def _flush(self, file: io.TextIOBase) -> None:
        file.flush()
        os.fsync(file.fileno())
        self._size = file.tell()
