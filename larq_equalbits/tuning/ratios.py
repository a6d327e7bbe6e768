"""Bit ratios: as lists, as hyper-parameters, and put into a model."""

from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

import tensorflow as tf

from larq_equalbits._bits.kernels import QuantizedKernel, quantized_kernels
from larq_equalbits._errors import InputError, invalid
from larq_equalbits._keras.layers import KERNELS, quantizer_arguments
from larq_equalbits._keras.quantizers import copied

NAME = "positive_ratio"


def parse(text: str) -> tuple[float, ...]:
    """The ratios of a text: ``first:last:step`` (exact in decimal, `last` included) or numbers with commas.

    Examples:
        >>> parse("0.1:0.5:0.2")
        (0.1, 0.3, 0.5)

    Raises:
        InputError: neither of the two, a step that is not positive, or as `check`.
    """
    wanted = "first:last:step or numbers with commas between, such as 0.1:0.9:0.1"
    try:
        if ":" in text:
            first, last, step = (Decimal(part) for part in text.split(":"))
            if not (step > 0 and first.is_finite() and last.is_finite()):
                raise invalid("ratios", text, wanted + ", with a positive step")
            if not (0 <= first <= 1 and 0 <= last <= 1):
                raise invalid("ratios", text, "from 0 to 1")
            count = int((last - first) / step) + 1 if last >= first else 0
            if count > 10_000:
                raise invalid("ratios", text, f"at most 10,000 ratios, not {count}")
            return check([float(first + index * step) for index in range(count)])
        return check([float(Decimal(part)) for part in text.split(",") if part.strip()])
    except (InvalidOperation, OverflowError) as error:
        raise invalid("ratios", text, wanted) from error
    except InputError:
        raise
    except ValueError as error:
        raise invalid("ratios", text, wanted) from error


def check(ratios: Sequence[float]) -> tuple[float, ...]:
    """`ratios` as floats.

    Raises:
        InputError: none, one outside [0, 1], or one twice.
    """
    try:
        values = tuple(float(ratio) for ratio in ratios)
    except (TypeError, ValueError, OverflowError) as error:
        raise invalid("ratios", ratios, "numbers from 0 to 1") from error
    if not values:
        raise invalid("ratios", ratios, "at least one number from 0 to 1")
    for value in values:
        if not 0 <= value <= 1:
            raise invalid("ratios", value, "from 0 to 1")
    if len(set(values)) < len(values):
        raise invalid("ratios", list(values), "different numbers")
    return values


def tunable(model: tf.keras.Model) -> list[QuantizedKernel]:
    """The kernels of `model` whose quantizer has a ratio.

    Raises:
        InputError: there is none.
    """
    kernels = [kernel for kernel in quantized_kernels(model) if hasattr(kernel.quantizer, NAME)]
    if not kernels:
        raise InputError(
            f"model must have a kernel whose quantizer has a {NAME}, such as bi_half, but {model.name!r} has none."
        )
    return kernels


def apply(model: tf.keras.Model, ratios: Mapping[str, float] | float) -> None:
    """Gives the kernels of `model` the ratio of their name, or all of them one ratio.

    Every layer gets a quantizer of its own, so layers which shared one may differ.

    Raises:
        InputError: no kernel has a ratio.
    """
    for kernel in tunable(model):
        ratio = ratios[kernel.name] if isinstance(ratios, Mapping) else ratios
        changes: dict[str, Any] = {NAME: ratio}
        quantizer = copied(kernel.quantizer, **changes)
        for argument in quantizer_arguments(kernel.layer):
            if getattr(kernel.layer, KERNELS[argument][0]) is kernel.variable:
                setattr(kernel.layer, argument, quantizer)
        kernel.variable.quantizer = quantizer
