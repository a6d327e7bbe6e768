"""What the package raises: answers to bad input, and a missing optional package; and what it takes for a number."""

import dataclasses
import importlib
import importlib.util
import sys
from numbers import Integral, Real
from types import ModuleType, UnionType
from typing import Any, get_args, get_origin

# Of float32's normal numbers.
LARGEST, _SMALLEST = 2.0**128 - 2.0**104, 2.0**-126


class InputError(ValueError):
    """Bad input: the message names the argument, what was received and what would be right."""

    # AutoGraph keeps the class of such errors alone where a layer's call raises one.
    __init__ = Exception.__init__


class WorkError(RuntimeError):
    """Work that failed although its input was fine: the message says what failed, and what can be done."""


class BuildError(WorkError):
    """A trial's model could not be built; the cause says why."""


class ConversionError(WorkError):
    """A model that was converted, but not to what was asked for: a float layer, or outputs that differ."""


class DeviceError(WorkError):
    """The device, or the program on it, did not do what was asked; the message says what and what to do."""


class DeviceLostError(DeviceError):
    """The device cannot be reached, or disappeared while it was in use."""


def invalid(argument: str, received: Any, expected: str) -> InputError:
    """The error for an `argument` that is not as `expected`, ready to be raised."""
    return InputError(f"{argument} must be {expected}, but got {received!r}.")


def check_kind(argument: str, value: Any, kinds: Any, expected: str) -> None:
    """Raises the error for an `argument` that is of none of the `kinds`, a type or several."""
    if not isinstance(value, kinds):
        raise invalid(argument, value, expected)


def is_number(value: Any) -> bool:
    """Whether `value` is a real number, numpy's among them, that float32 can hold; a truth value is none."""
    try:
        return isinstance(value, Real) and not isinstance(value, bool) and abs(float(value)) <= LARGEST
    except OverflowError:
        return False


def is_positive(value: Any) -> bool:
    """Whether `value` is a number, as `is_number`, which float32 does not take for 0."""
    return is_number(value) and float(value) >= _SMALLEST


def is_whole(value: Any, least: int) -> bool:
    """Whether `value` is a whole number of at least `least`, of the type int or one of numpy's."""
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= least


def fits(value: Any, kind: Any) -> bool:
    """Whether `value` is of the type that a field is annotated with; a list may stand for a tuple."""
    if isinstance(kind, UnionType):
        return any(fits(value, each) for each in get_args(kind))
    origin = get_origin(kind) or kind
    if origin in (tuple, list):
        return isinstance(value, tuple | list) and all(fits(each, get_args(kind)[0]) for each in value)
    if origin is float:
        origin = Real
    return isinstance(value, origin) and (origin is bool or not isinstance(value, bool))


def check_fields(*parts: Any) -> None:
    """Raises TypeError where a field of these dataclasses is not of the type that it is annotated with."""
    for part in parts:
        for each in dataclasses.fields(part):
            if not fits(getattr(part, each.name), each.type):
                raise TypeError(f"{each.name} is {getattr(part, each.name)!r}")


def advice(extra: str) -> str:
    """How to come by what the package's `extra` installs."""
    if extra == "deploy" and sys.version_info >= (3, 13):
        return (
            "larq-compute-engine has no wheel for Python 3.13 or newer; convert with Python 3.10, 3.11 or 3.12, "
            "which takes a run's folder or a saved model as it is"
        )
    return f"pip install 'larq-equalbits[{extra}]'"


def require(extra: str, module: str) -> ModuleType:
    """Imports the optional `module`, which the package's `extra` installs.

    Raises:
        ImportError: says what to do where the module is missing.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module.partition(".")[0]:
            raise
        raise _absent(extra, module) from error


def first_line(error: BaseException) -> str:
    """The first line of an error's message: TensorFlow's go on for pages."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def check_installed(extra: str, module: str) -> None:
    """Raises as `require` does where the top-level `module` is missing, and imports nothing."""
    if importlib.util.find_spec(module) is None:
        raise _absent(extra, module)


def _absent(extra: str, module: str) -> ImportError:
    return ImportError(f"This needs {module}, which is not installed: {advice(extra)}.")
