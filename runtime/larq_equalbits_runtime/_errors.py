"""What the package raises for bad input."""

from typing import Any


class InputError(ValueError):
    """Bad input: the message names the argument, what was received and what would be right."""


def invalid(argument: str, received: Any, expected: str) -> InputError:
    """The error for an `argument` that is not as `expected`, ready to be raised."""
    return InputError(f"{argument} must be {expected}, but got {received!r}.")


def is_whole(value: Any, least: int) -> bool:
    """Whether `value` is a whole number of at least `least`; a truth value is none."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def first_line(error: BaseException) -> str:
    """The first line of what `error` says."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
