"""What the package raises: answers to bad input, and a missing optional package."""

import importlib
from types import ModuleType
from typing import Any


class InputError(ValueError):
    """Bad input: the message names the argument, what was received and what would be right."""


class WorkError(RuntimeError):
    """Work that failed although its input was fine: the message says what failed, and what can be done."""


def invalid(argument: str, received: Any, expected: str) -> InputError:
    """The error for an `argument` that is not as `expected`, ready to be raised."""
    return InputError(f"{argument} must be {expected}, but got {received!r}.")


def require(extra: str, module: str) -> ModuleType:
    """Imports the optional `module`, which the package's `extra` installs.

    Raises:
        ImportError: names the extra to install where the module is missing.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module.partition(".")[0]:
            raise
        raise ImportError(
            f"This needs {module}, which is not installed: pip install 'larq-equalbits[{extra}]'."
        ) from error
