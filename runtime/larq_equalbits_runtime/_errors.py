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
    """The first line of what `error` says, as `visible`."""
    return visible((str(error).strip() or type(error).__name__).splitlines()[0])


def visible(text: Any) -> str:
    """`text` with every character that cannot be seen, those of escape sequences too, written as Python writes it."""
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in str(text))
