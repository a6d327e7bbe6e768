"""Files that appear whole or not at all, and what is read of them."""

import contextlib
import glob
import json
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from larq_equalbits._errors import InputError, invalid

_DEEPEST = 100
# By which the folder of a run, and that of a sweep, is known.
SETTINGS, SWEEP = "settings.json", "sweep.json"
# By which a page of ours is told from another's.
REPORT_MARK = '<meta name="generator" content="larq-equalbits report">'


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yields a temporary path beside `path` that takes its place if the block succeeds.

    The temporary path keeps the suffix (libraries choose a format by it) and does not exist yet; the
    block writes a file there. After a failure `path` is as it was. What a killed process of this machine left of its
    own writing to `path` is removed.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    _remove_left_over(target)
    scratch = Path(tempfile.mkdtemp(prefix=f"{_prefix(target)}{os.getpid()}-", dir=target.parent))
    written = scratch / target.name
    try:
        yield written
        os.replace(written, target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _prefix(target: Path) -> str:
    """With what the names of this machine's temporary folders for `target` begin; a long name alone fills a name."""
    return f".{target.name[:40]}.{socket.gethostname()}-"


def _remove_left_over(target: Path) -> None:
    prefix = _prefix(target)
    for scratch in target.parent.glob(f"{glob.escape(prefix)}*"):
        number = scratch.name.removeprefix(prefix).partition("-")[0]
        if number.isdigit() and not _is_alive(int(number)):
            shutil.rmtree(scratch, ignore_errors=True)


def _is_alive(process: int) -> bool:
    if os.name == "posix":
        try:
            os.kill(process, 0)
        except OSError as error:
            return not isinstance(error, ProcessLookupError)
    return True


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Writes `text` to `path` as UTF-8, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def read_json(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The JSON object in the file `path`.

    Raises:
        InputError: no file, no UTF-8, no JSON, or JSON that is no object; names the file.
    """
    try:
        return parse_json(Path(path).read_bytes(), os.fspath(path))
    except FileNotFoundError as error:
        raise InputError(f"there is no {os.fspath(path)}.") from error


def parse_json(text: str | bytes, name: str) -> dict[str, Any]:
    """The JSON object that `text` is, bytes as UTF-8; errors call it `name`.

    Raises:
        InputError: no UTF-8, no JSON, JSON that is no object, or that is nested more than 100 deep.
    """
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{name} must be JSON, but is not: {error}.") from error
    if not isinstance(content, dict):
        raise InputError(f"{name} must hold a JSON object, but holds {type(content).__name__}.")
    level: list[Any] = [content]
    for _ in range(_DEEPEST):
        level = [
            inner
            for each in level
            if isinstance(each, dict | list)
            for inner in (each.values() if isinstance(each, dict) else each)
        ]
    if level:
        # Whoever writes it again would fail.
        raise InputError(f"{name} must be JSON nested at most {_DEEPEST} deep.")
    return content


def read_arrays(path: str | os.PathLike[str]) -> Any:
    """The array in an .npy file, or the dict of those in an .npz file.

    Raises:
        InputError: not there, damaged, or one that holds Python objects; names the file.
    """
    import numpy as np

    try:
        content = np.load(path, allow_pickle=False)
        if isinstance(content, np.ndarray):
            return content
        with content:
            arrays = dict(content)
        # A member without the head of an array comes as bytes.
        if not all(isinstance(array, np.ndarray) for array in arrays.values()):
            raise ValueError("not every member is an array")
        return arrays
    except FileNotFoundError as error:
        raise InputError(f"there is no {os.fspath(path)}.") from error
    except Exception as error:
        # numpy and zipfile raise whatever they meet in a damaged file.
        raise InputError(
            f"{os.fspath(path)} must be a file written by numpy.save or numpy.savez, but is not: {error}."
        ) from error


def holds(path: str | os.PathLike[str], *keys: str) -> bool:
    """Whether the file `path` is a JSON object with these keys, by which a file of ours is told from another's."""
    try:
        return set(keys) <= set(read_json(path))
    except (InputError, OSError):
        return False


def is_report(path: Path) -> bool:
    """Whether `path` is a page that `larq-equalbits report` wrote."""
    return path.is_file() and REPORT_MARK.encode() in path.read_bytes()


def check_no_links(*paths: Path, argument: str = "out") -> None:
    """Raises InputError, with `argument` first, where one of `paths`, to which is to be written, is a link."""
    for path in paths:
        if path.is_symlink():
            raise InputError(
                f"{argument} must lead through no links, but {path} is a link, and what it leads to may be another's: "
                "remove the link."
            )


def _check_writable(*files: Path, argument: str) -> None:
    """Checks that new files of these names, in one folder that is made where it is missing, can be written."""
    try:
        for file in files:
            with contextlib.suppress(FileNotFoundError):
                file.lstat()
        folder = next(parent for parent in files[0].parents if parent.is_dir())
        tempfile.TemporaryDirectory(dir=folder).cleanup()
    except (OSError, ValueError) as error:
        # A null character is a ValueError.
        raise InputError(
            f"{argument} must be where a file can be written, but {str(files[0])!r} is not: {error}."
        ) from error


def check_tflite_target(path: str | os.PathLike[str], argument: str = "path") -> None:
    """Checks that a .tflite may be written to `path`, and its `model.json` beside it.

    Raises:
        InputError: another kind of file or a link is there, which is never replaced; another suffix, with which two
            files may have one `model.json`; or no file can be written there.
    """
    if not isinstance(path, str | os.PathLike):
        raise invalid(argument, path, "a str or a pathlib.Path")
    target = Path(path)
    if target.is_dir():
        raise invalid(argument, str(path), "the name of a file, but it is a folder")
    beside = target.with_suffix(".json")
    _check_writable(target, beside, argument=argument)
    check_no_links(target, beside, argument=argument)
    # A disk that takes capitals for small letters has one file for both.
    if target.suffix.lower() != ".tflite":
        raise invalid(argument, str(path), "one that ends in .tflite")
    if target.exists():
        with target.open("rb") as file:
            if file.read(8)[4:] != b"TFL3":
                raise InputError(
                    f"{argument} must be new or that of a .tflite, but {target} is another file."
                )
    if beside.exists() and not holds(beside, "sha256", "report"):
        raise InputError(
            f"{argument} must leave {beside} as it is, which `convert` did not write: choose another name for the "
            ".tflite."
        )


def check_new_folder(folder: Path) -> None:
    """Raises InputError where no new sweep may be made in `folder`: a file, or a folder that holds other things."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"out must be a folder, but {folder} is a file.")
    if folder.is_dir() and any(folder.iterdir()):
        raise InputError(f"out must be a new folder or that of a sweep, but {folder} holds other things.")


def plain_name(argument: str, name: str) -> str:
    """`name`, which must be that of a single, ordinary file or folder.

    Raises:
        InputError: an empty name, "." or "..", one with separators or characters that cannot be seen, or too long.
    """
    ordinary = (
        name == Path(name).name and name not in ("", ".", "..") and "\\" not in name and ":" not in name
    )
    if not ordinary or not name.isprintable() or name != name.strip() or len(name.encode()) > 200:
        raise invalid(argument, name, "the plain name of a folder, without separators")
    return name


@contextlib.contextmanager
def locked(folder: Path, what: str) -> Iterator[None]:
    """Holds `folder`, made where it is missing, for this process, until the block ends or the process does.

    Raises:
        InputError: another process holds it, which does `what`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        import fcntl
    except ImportError:
        # Windows has no such lock that ends with the process.
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(f"out must not be in use, but another process {what} in {folder}.") from error
        yield
    finally:
        os.close(descriptor)
