"""The shared library with the delegate: where it is, and how it is loaded."""

import ctypes
import functools
import struct
from pathlib import Path
from typing import Any

from ai_edge_litert import interpreter as litert

from larq_equalbits_runtime._errors import InputError, first_line, invalid

KERNELS = ("auto", "plain", "popcnt", "avx2", "avx512", "neon")


def library_path() -> str:
    """The path of the shared library, which any TensorFlow Lite loads as an external delegate.

    Raises:
        InputError: on a 32-bit system, or where the installation lacks the library.
    """
    bits = 8 * struct.calcsize("P")
    if bits != 64:
        raise InputError(
            f"This needs a 64-bit system, but these are {bits}-bit programs: install a 64-bit one."
        )
    path = Path(__file__).with_name("liblarq_equalbits_runtime.so")
    if not path.is_file():
        raise InputError(f"{path} is missing: install the package again, pip install larq-equalbits-runtime.")
    return str(path)


@functools.cache
def _loaded() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL(library_path())
    except OSError as error:
        raise InputError(f"The library does not fit this machine: {first_line(error)}") from error
    for function in (library.lqe_runtime_version, library.lqe_runtime_kernels):
        function.argtypes, function.restype = [], ctypes.c_char_p
    return library


def version() -> str:
    """The library's version."""
    return _loaded().lqe_runtime_version().decode()


def kernels() -> str:
    """The bit kernels that this processor can run, the one that is used first."""
    return _loaded().lqe_runtime_kernels().decode()


def _text(value: Any) -> str:
    return str(int(value)) if isinstance(value, bool) else str(value)


def load_delegate(**options: Any) -> litert.Delegate:
    """The delegate as an object for `experimental_delegates` of an interpreter of one's own.

    Args:
        options: `ternary` (bool, default True): whether two kernels that are the halves of a pruned one run as one,
            with one rounding instead of three. `kernel`: one of "auto" (default), "plain", "popcnt", "avx2", "avx512"
            and "neon".

    Raises:
        InputError: an option that is unknown or not as above, a kernel that this processor cannot run, or a TensorFlow
            Lite that the library does not know.
    """
    for name, value in options.items():
        if name == "ternary" and isinstance(value, bool):
            continue
        if name == "kernel" and value in KERNELS:
            continue
        if name not in ("ternary", "kernel"):
            raise invalid("options", name, '"ternary" or "kernel"')
        raise invalid(name, value, "True or False" if name == "ternary" else f"one of {', '.join(KERNELS)}")
    _loaded()
    try:
        return litert.load_delegate(library_path(), {name: _text(value) for name, value in options.items()})
    except ValueError as error:
        # Before what the library says stands a line of LiteRT's with its path.
        said = str(error).strip().splitlines()
        raise InputError(said[-1] if said else "The library refused these options.") from error
