"""Reports as one HTML page each: of a run, of several runs beside each other, of a sweep."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from larq_equalbits._errors import InputError, invalid, require
from larq_equalbits._files import REPORT_MARK, SWEEP, check_no_links, is_report, write_text
from larq_equalbits._report import parts
from larq_equalbits._text import visible

Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


def _folders(runs: Paths) -> list[Path]:
    folders = [Path(run) for run in ([runs] if isinstance(runs, str | os.PathLike) else runs)]
    if not folders:
        raise invalid("run", runs, "one or more run folders")
    for folder in folders:
        if not folder.is_dir():
            raise invalid("run", str(folder), "a run folder")
        if not _is_sweep(folder):
            parts.missing(folder)
        elif len(folders) > 1:
            raise InputError(
                f"run: {folder} is a sweep, which has a page of its own; compare its runs: {folder}/trial_*."
            )
    return folders


def _is_sweep(folder: Path) -> bool:
    return (folder / SWEEP).is_file()


def _page(folders: list[Path], trust: bool) -> dict[str, Any]:
    from larq_equalbits._report import comparison, run, sweep

    if len(folders) > 1:
        return comparison.describe(folders, trust)
    return sweep.describe(folders[0]) if _is_sweep(folders[0]) else run.describe(folders[0], trust)


def _shown(value: Any) -> Any:
    """Text from files with nothing hidden in it; what the template made is left alone."""
    return visible(value) if type(value) is str else value


def render(runs: Paths, *, trust: bool = False) -> str:
    """The report of a run, a sweep or several runs as one HTML page that needs no other file and no network.

    It shows what a folder holds of settings.json, history.csv, results.json, model.keras, model.json and
    device/report.json, in whatever order they were made, and says what of them is missing.

    Args:
        runs: a run folder, that of a sweep, or several run folders to compare.
        trust: whether to load a model that could run code of whoever wrote it.

    Raises:
        InputError: where a folder does not exist, holds none of these files, or one that is damaged; a sweep among
            several folders.
        ImportError: where matplotlib or Jinja2 is not installed.
    """
    jinja2 = require("plots", "jinja2")
    page = _page(_folders(runs), trust)
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, finalize=_shown)
    template = environment.from_string(Path(__file__).with_name("page.html").read_text(encoding="utf-8"))
    text: str = template.render(page=page, generator=environment.filters["safe"](REPORT_MARK))
    return text + "\n"


def place(runs: Paths, out: str | os.PathLike[str] | None = None) -> Path:
    """Where `write` writes.

    Raises:
        InputError: as `render`, as far as it is known without TensorFlow; a link or another file is there.
    """
    folders = _folders(runs)
    if out is not None:
        path = Path(out)
    elif len(folders) == 1:
        path = folders[0] / "report.html"
    else:
        names = "-".join(folder.resolve().name for folder in folders)
        path = folders[0].resolve().parent / f"report-{names[:150]}.html"
    check_no_links(path)
    if path.exists() and not is_report(path):
        raise InputError(f"out must be a new file or a report, but {path} is another: choose another name.")
    return path


def write(runs: Paths, out: str | os.PathLike[str] | None = None, *, trust: bool = False) -> Path:
    """Writes the report and returns its path.

    Args:
        runs: see `render`, also for what is raised.
        out: the file; by default ``report.html`` in the folder, and of several ``report-A-B.html`` (their names)
            beside the first one. A file that is no report is not replaced.
        trust: as for `render`.
    """
    path = place(runs, out)
    write_text(path, render(runs, trust=trust))
    return path
