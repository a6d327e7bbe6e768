"""Text from files, as it may safely be shown: names in a file are whatever whoever wrote it put there."""

from typing import Any


def visible(text: Any) -> str:
    """`text` with every character that cannot be seen, those of escape sequences too, written as Python writes it."""
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in str(text))


def cells(*texts: Any) -> list[Any]:
    """Cells of a rich table that show `texts` as they are: no markup is obeyed, nothing is hidden."""
    from rich.text import Text

    return [Text(visible(text)) for text in texts]


def csv_cell(value: Any) -> Any:
    """`value` for a CSV file: text that a spreadsheet would take for a formula gets an apostrophe in front."""
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value
