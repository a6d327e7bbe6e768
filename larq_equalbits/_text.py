"""Text from files, as it may safely be shown: names in a file are whatever whoever wrote it put there."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from typing import Any


def visible(text: Any) -> str:
    """`text` with every character that cannot be seen, those of escape sequences too, written as Python writes it."""
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in str(text))


def plotted(text: Any) -> str:
    """`text` for a figure of matplotlib's, visible as it is: no dollar sign begins a formula."""
    return visible(text).replace("$", r"\$")


def cells(*texts: Any) -> list[Any]:
    """Cells of a rich table that show `texts` as they are: no markup is obeyed, nothing is hidden."""
    from rich.text import Text

    return [Text(visible(text)) for text in texts]


def share(value: float) -> str:
    """A share from 0 to 1 in per cent, rounded down: nothing but all of it is 100%."""
    # What is added makes up for the rounding of the product.
    return "100%" if value == 1 else f"{math.floor(10_000 * value + 1e-6) / 100:.2f}%"


def names_column(table: Any, header: str, names: Sequence[str], most: int) -> None:
    """Adds a column to the rich `table` that breaks no name of up to `most` characters, whatever the width."""
    # A least width alone would let rich make the table wider than the terminal, which cuts the last column.
    table.add_column(header, overflow="fold", width=min(most, max(map(len, [header, *names]))))


class Shown:
    """What has a `__rich__` as plain text, and as HTML where a notebook shows it."""

    def __str__(self) -> str:
        """What rich prints, as plain text."""
        return render(self)

    def _repr_html_(self) -> str:
        """The same for a notebook; a wide table scrolls."""
        console = _console(record=True)
        console.print(self)
        style = "overflow-x: auto; white-space: pre; line-height: 1.2"
        return console.export_html(inline_styles=True, code_format=f'<pre style="{style}">{{code}}</pre>')


def _console(**options: Any) -> Any:
    from rich.console import Console

    return Console(file=io.StringIO(), width=140, color_system=None, force_jupyter=False, **options)


def render(renderable: Any) -> str:
    """What rich would print, as plain text."""
    console = _console()
    console.print(renderable)
    return str(console.file.getvalue())


def csv_cell(value: Any) -> Any:
    """`value` for a CSV file: text that a spreadsheet would take for a formula gets an apostrophe in front."""
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value


def csv_table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str] = ()) -> str:
    """`rows` as the text of a CSV file, with `columns` and then every other key that a row has."""
    text = io.StringIO(newline="")
    names = dict.fromkeys([*columns, *(key for row in rows for key in row)])
    writer = csv.DictWriter(text, list(names), lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: csv_cell(value) for key, value in row.items()} for row in rows)
    return text.getvalue()
