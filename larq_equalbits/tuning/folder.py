"""The folder of a search: whose it is, what lies in it, and which trial is the best."""

import contextlib
import filecmp
import itertools
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from larq_equalbits import _files
from larq_equalbits._errors import InputError, is_number
from larq_equalbits.training import run_folder
from larq_equalbits.tuning import trials

BEST = "best"
STATE, STOP = "tuner.json", "stop.json"
GRID, VERSION, LIGHT = "BitRatioSweep", "version", "light"
_LISTS, COUNTS = ("ratios", "seeds"), ("max_trials", "hyperband_iterations")
_WRITTEN = (STATE, STOP, "oracle.json", _files.SWEEP, trials.CSV, trials.JSON, trials.PLOT, trials.FRONT)


def claim(folder: Path, description: dict[str, Any], overwrite: bool) -> None:
    """Makes `folder` that of the search described, or finds that it is one that the described one adds to.

    Raises:
        InputError: it holds another search, one of another version of the package, or other things.
    """
    if (folder / _files.SWEEP).is_file():
        known = read(folder)
        _files.check_no_links(folder / "workers", *folder.glob("trial_*"))
        best = folder / BEST
        if best.exists() and not best.is_symlink() and not run_folder.is_run(best):
            raise InputError(
                f"out must leave {best} to the best run, but holds another: choose another folder."
            )
        if overwrite:
            clear(folder)
        else:
            _check_same(folder, known, description)
    else:
        _files.check_new_folder(folder)
    _files.write_text(folder / _files.SWEEP, json.dumps(description, indent=2) + "\n")


def _check_same(folder: Path, known: dict[str, Any], given: dict[str, Any]) -> None:
    found = _compared(known, json.loads(json.dumps(given)))
    if found and known.get(VERSION, given[VERSION]) != given[VERSION]:
        raise InputError(
            f"out must hold a sweep of this version of larq-equalbits, {given[VERSION]}, but {folder} was begun with "
            f"{known[VERSION]}: install that version to go on, or choose another folder."
        )
    if found and not _adds(known, given):
        raise InputError(
            f"out must be a new folder, but {folder} holds a sweep of other settings: {'; '.join(found)}. "
            "Choose another folder, or replace it with overwrite=True (--overwrite)."
        )


def read(folder: Path) -> dict[str, Any]:
    """The description of the search in `folder`.

    Raises:
        InputError: there is none, or it is damaged or of another program.
    """
    path = folder / _files.SWEEP
    known = _files.read_json(path)
    goals, lists = known.get("objective"), [known.get(name) or [] for name in _LISTS]
    sound = (
        isinstance(known.get("kind"), str)
        and isinstance(known.get("options", {}), dict)
        and all(isinstance(each, list) and all(map(is_number, each)) for each in lists)
        and all(
            isinstance(goal, dict) and isinstance(goal.get("name"), str)
            for goal in (goals if isinstance(goals, list) else [goals])
        )
    )
    if not sound:
        raise InputError(f"{path} must be what a sweep wrote about itself, but holds {known}.")
    return known


def _adds(known: dict[str, Any], given: dict[str, Any]) -> bool:
    """Whether `given` differs from `known` only in more ratios and seeds of a grid, or in more trials or iterations."""
    if _compared(_without_extent(known), _without_extent(given)):
        return False
    lists = all(set(known.get(name) or ()) <= set(given.get(name) or ()) for name in _LISTS)
    counts = [[each.get("options", {}).get(name) for each in (known, given)] for name in COUNTS]
    return lists and all(
        before == now or (isinstance(before, int) and isinstance(now, int) and before < now)
        for before, now in counts
    )


def _without_extent(description: dict[str, Any]) -> dict[str, Any]:
    """A description without what may grow: of a grid its ratios and seeds, of other searches the number of trials."""
    kept = {**json.loads(json.dumps(description)), VERSION: None}
    kept["options"] = {key: value for key, value in kept.get("options", {}).items() if key not in COUNTS}
    return kept if kept["kind"] != GRID else {**kept, **dict.fromkeys(_LISTS)}


def former_grid(folder: Path) -> tuple[list[float], list[int]]:
    """The ratios and seeds of the grid in `folder`; none where there is no grid, InputError as `read`."""
    if not (folder / _files.SWEEP).is_file():
        return [], []
    known = read(folder)
    ratios, seeds = (known.get(name) or [] for name in _LISTS)
    return (ratios, seeds) if known["kind"] == GRID else ([], [])


def clear(folder: Path) -> None:
    """Removes what a search has written, and leaves whatever else lies there and in the folders of its trials."""
    best = folder / BEST
    if best.is_symlink():
        best.unlink()
    runs = [path for path in (*folder.glob("trial_*"), best) if (path / trials.STATE).is_file()]
    for path in runs:
        run_folder.clear(path, everything=True)
    logs = (folder / "workers").glob("worker-*.log")
    own = (path / name for path in runs for name in trials.WRITTEN)
    for file in (*logs, *own, *(folder / name for name in _WRITTEN)):
        file.unlink(missing_ok=True)
    # An empty folder is what a kill leaves between making it and writing into it.
    for place in (*folder.glob("trial_*"), best, folder / "workers"):
        for inner in (*sorted(place.rglob("*"), reverse=True), place):
            with contextlib.suppress(OSError):
                inner.rmdir()


def differences(folder: Path, description: dict[str, Any]) -> list[str]:
    """In what the search in `folder` differs from the one described, as "name: value against value".

    How many ratios, seeds or trials there are is the chief's alone.

    Raises:
        InputError: its description is damaged.
    """
    before, now = (
        {**_without_extent(each), VERSION: each.get(VERSION)} for each in (read(folder), description)
    )
    return _compared(before, now)


def _compared(known: dict[str, Any], given: dict[str, Any], prefix: str = "") -> list[str]:
    found = []
    for name in dict.fromkeys((*known, *given)):
        old, new = known.get(name), given.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            found += _compared(old, new, f"{prefix}{name}.")
        elif old != new:
            found.append(f"{prefix}{name}: {old!r} against {new!r}")
    return found


def point_to_best(folder: Path, run: Path) -> None:
    """Makes ``best`` stand for the run folder `run`: a link, or a copy where there are no links.

    A copy of another run is kept as ``best.1``, or the next number that is free: whoever has no links may have
    converted it, or put files of his own into it.
    """
    best = folder / BEST
    if best.is_symlink():
        best.unlink()
    elif best.exists():
        same, _, _ = filecmp.cmpfiles(best, run, [run_folder.SETTINGS, run_folder.RESULTS], shallow=False)
        if len(same) == 2:
            return
        best.rename(next(each for n in itertools.count(1) if not (each := folder / f"{BEST}.{n}").exists()))
    try:
        best.symlink_to(run.name, target_is_directory=True)
    except OSError:
        # Whole or not at all, as every file is written.
        scratch = Path(tempfile.mkdtemp(prefix=f".{BEST}.", dir=folder))
        shutil.copytree(run, scratch, dirs_exist_ok=True)
        scratch.rename(best)
