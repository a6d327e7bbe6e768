"""Bit ratios as hyper-parameters, put into a model."""

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from larq_equalbits._bits.kernels import QuantizedKernel, quantized_kernels
from larq_equalbits._errors import InputError
from larq_equalbits._keras.layers import KERNELS, quantizer_arguments
from larq_equalbits._keras.quantizers import copied

NAME = "positive_ratio"


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
