"""Results as tables for the terminal."""

from typing import Any

from larq_equalbits._text import cells, names_column, share, visible
from larq_equalbits.device.measured import Agreement, Result

#: A share of fewer images says more than they tell.
_FEW = 100


def _agreement(agreement: Agreement | None) -> str:
    if agreement is None:
        return "-"
    if agreement.identical:
        return "same"
    return f"{share(agreement.argmax)} {agreement.max_difference:.0e}"


def _digits(value: float | None) -> str:
    """`value` with four digits, and those above 9999 in full."""
    if value is None:
        return "-"
    return format(
        value, ",.0f" if value >= 1000 else ".1f" if value >= 100 else ".3f" if value < 10 else ".2f"
    )


def _accuracy(result: Result) -> str:
    if result.accuracy is None:
        return "-"
    right = result.accuracy * result.accuracy_images
    if result.accuracy_images < _FEW and abs(right - round(right)) < 1e-6:
        return f"{round(right)} of {result.accuracy_images}"
    return f"{result.accuracy:.1%} of {result.accuracy_images:,}"


def _cells(result: Result) -> list[str]:
    latency = result.latency
    return [
        result.model,
        str(result.threads),
        _digits(result.size_bytes / 1024),
        _digits(latency.median_ms if latency else None),
        _digits(latency.spread_ms if latency else None),
        "-" if result.memory_kib is None else f"{result.memory_kib:,.0f}",
        _agreement(result.agreement("keras")),
        _agreement(result.agreement("host")),
        _accuracy(result),
    ]


def results(measured: list[Result]) -> Any:
    """The results side by side, a rich table for each device.

    Under "Keras" and "host" stand "same" where every output is identical, and otherwise the share of images
    with the same decision and the largest difference. Under "acc." stands of how many images it is.
    """
    from rich.console import Group

    devices = dict.fromkeys(result.device for result in measured)
    return Group(*(_of_device(name, measured) for name in devices))


def _of_device(device: str, measured: list[Result]) -> Any:
    from rich import box
    from rich.table import Table

    table = Table(title=cells(f"On {device}")[0], box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    names_column(table, "model", [result.model for result in measured], 24)
    for name in ("thr", "KiB", "ms", "spread", "memory"):
        table.add_column(name, justify="right", no_wrap=True)
    for name in ("Keras", "host", "acc."):
        table.add_column(name)
    for result in measured:
        if result.device == device:
            table.add_row(*cells(*_cells(result)), style="red" if result.failure else None)
    table.caption = "KiB: the file; ms: median of an inference; memory in KiB"
    return table


def operators(result: Result) -> Any:
    """The ten slowest operators of one result as a rich table."""
    from rich import box
    from rich.table import Table

    table = Table(
        box=box.SIMPLE_HEAD,
        title=cells(f"Slowest operators: {result.model} on {result.device}, {result.threads} threads")[0],
    )
    table.add_column("operator")
    table.add_column("output", overflow="fold")
    table.add_column("ms", justify="right")
    table.add_column("share", justify="right")
    for each in sorted(result.operators, key=lambda operator: -operator.ms)[:10]:
        table.add_row(*cells(each.type, each.name, f"{each.ms:.3f}", f"{each.percent:.1f}%"))
    return table


def print_results(measured: list[Result], console: Any = None) -> None:
    """Prints the results, the slowest operators of each model on each device, and the notes."""
    from rich.console import Console

    console = console or Console()
    console.print(results(measured))
    shown = set()
    for result in measured:
        if result.operators and (result.model, result.device) not in shown:
            shown.add((result.model, result.device))
            console.print(operators(result))
    for note in dict.fromkeys(note for result in measured for note in result.notes):
        console.print(f"note: {visible(note)}", markup=False)
