"""The folder of a search: whose it is, what lies in it, and which trial is the best."""

import json
import shutil
from pathlib import Path
from typing import Any

from larq_equalbits import _files
from larq_equalbits._errors import InputError
from larq_equalbits.tuning import trials

DESCRIPTION = "sweep.json"
BEST = "best"
STATE, STOP = "tuner.json", "stop.json"
_WRITTEN = (
    STATE,
    STOP,
    "oracle.json",
    trials.CSV,
    trials.JSON,
    trials.PLOT,
    DESCRIPTION,
)


def claim(folder: Path, description: dict[str, Any], overwrite: bool) -> None:
    """Makes `folder` that of the search described, or finds that it is.

    Raises:
        InputError: it holds another search, or other things.
    """
    if (folder / DESCRIPTION).is_file():
        found = differences(folder, description)
        if not found and not overwrite:
            return
        if not overwrite:
            raise InputError(
                f"out must be a new folder, but {folder} holds a sweep of other settings: {'; '.join(found)}. "
                "Choose another folder, or replace it with overwrite=True (--overwrite)."
            )
        clear(folder)
    elif folder.is_dir() and any(folder.iterdir()):
        raise InputError(f"out must be a new folder or that of a sweep, but {folder} holds other things.")
    elif folder.exists() and not folder.is_dir():
        raise InputError(f"out must be a folder, but {folder} is a file.")
    _files.write_text(folder / DESCRIPTION, json.dumps(description, indent=2) + "\n")


def clear(folder: Path) -> None:
    """Removes everything that a search has written."""
    for path in folder.glob("trial_*"):
        shutil.rmtree(path)
    _remove(folder / BEST)
    shutil.rmtree(folder / "workers", ignore_errors=True)
    for name in _WRITTEN:
        (folder / name).unlink(missing_ok=True)


def differences(folder: Path, description: dict[str, Any]) -> list[str]:
    """In what the search in `folder` differs from the one described, as "name: value against value".

    Raises:
        InputError: its description is damaged.
    """
    path = folder / DESCRIPTION
    return _compared(_files.read_json(path), json.loads(json.dumps(description)), "")


def _compared(known: dict[str, Any], given: dict[str, Any], prefix: str) -> list[str]:
    found = []
    for name in dict.fromkeys((*known, *given)):
        old, new = known.get(name), given.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            found += _compared(old, new, f"{prefix}{name}.")
        elif old != new:
            found.append(f"{prefix}{name}: {old!r} against {new!r}")
    return found


def point_to_best(folder: Path, run: Path) -> None:
    """Makes ``best`` stand for the run folder `run`: a link, or a copy where there are no links."""
    _remove(folder / BEST)
    try:
        (folder / BEST).symlink_to(run.name, target_is_directory=True)
    except OSError:
        shutil.copytree(run, folder / BEST)


def _remove(path: Path) -> None:
    if path.is_symlink():
        path.unlink()
    else:
        shutil.rmtree(path, ignore_errors=True)
