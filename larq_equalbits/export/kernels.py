"""Convolutions by constant kernels of few values, in the form that LCE makes binary."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

# LCE takes a kernel for binary where every weight is within this of its channel's scale.
_TOLERANCE = 0.005
_AT_ONCE = 2**22
SMALLEST_SCALE = float(np.finfo(np.float32).eps)
"""A filter's scale below this is zero to LCE."""


@dataclasses.dataclass(frozen=True)
class Parts:
    """A kernel (height, width, in, out) as a sum of kernels that each have one magnitude in a filter.

    Attributes:
        kernels: one or two kernels without a zero.
        mask: (out,) of 0 and 1 that multiplies the outputs, or None.
        form: "binary", "binary with zero filters" or "two binary kernels".
        bias: (out,) added to the last part's output, or None.
    """

    kernels: list[np.ndarray]
    mask: np.ndarray | None
    form: str
    bias: np.ndarray | None = None


def split(kernel: np.ndarray) -> Parts | None:
    """The parts of `kernel`; None where its filters have more than one magnitude, which no sum of two gives.

    A kernel in {-s, 0, +s} is half the sum of two that agree where it is not zero, and differ where it is.
    """
    magnitudes = np.abs(kernel)
    scale = magnitudes.max(axis=tuple(range(kernel.ndim - 1)))
    kept = scale > 0
    off = (magnitudes > 0) & (np.abs(magnitudes - scale) > _TOLERANCE * scale)
    if off.any() or (scale[kept] < SMALLEST_SCALE).any():
        return None
    ones = np.where(kept, scale, 1.0).astype(kernel.dtype)
    zeros = kernel == 0
    if not zeros.any():
        return Parts([kernel], None, "binary")
    if not zeros[..., kept].any():
        mask = kept.astype(kernel.dtype)
        return Parts([np.where(kept, kernel, ones)], mask, "binary with zero filters")
    upper = np.where(zeros, ones, kernel) * kernel.dtype.type(0.5)
    lower = np.where(zeros, -ones, kernel) * kernel.dtype.type(0.5)
    return Parts([upper, lower], None, "two binary kernels")


_NEARLY_ZERO = f"scale nearly zero: that of a filter is below {SMALLEST_SCALE:.2g}, which LCE takes for zero"
_NOT_BINARY = "kernel not binary: a filter has weights of more than one magnitude"
_WITH_ZEROS = "zero in the kernel: to LCE every weight is + or - the scale of its filter"


def why_not(kernel: np.ndarray) -> str:
    """Why LCE takes a constant `kernel`, whose last axis counts the filters, for float; "" where it does not."""
    # Some filters at a time, for nothing is to be as large as the kernel.
    parts = np.array_split(kernel, kernel.size // _AT_ONCE + 1, axis=-1)
    found = {_why_not(part) for part in parts if part.size}
    return next((reason for reason in (_NEARLY_ZERO, _NOT_BINARY, _WITH_ZEROS) if reason in found), "")


def _why_not(kernel: np.ndarray) -> str:
    scale = np.abs(kernel).max(axis=tuple(range(kernel.ndim - 1)))
    if ((scale > 0) & (scale < SMALLEST_SCALE)).any():
        return _NEARLY_ZERO
    if split(kernel) is None:
        return _NOT_BINARY
    return "" if kernel.all() else _WITH_ZEROS


def convolve(
    inputs: tf.Tensor, parts: Parts, strides: Sequence[int], padding: str, dilations: Sequence[int]
) -> tf.Tensor:
    """The convolution of binary `inputs` (batch, height, width, in) by the sum of the parts."""
    outputs = [
        tf.nn.conv2d(inputs, tf.constant(kernel), list(strides), padding.upper(), dilations=list(dilations))
        for kernel in parts.kernels
    ]
    if parts.bias is not None:
        outputs[-1] = tf.nn.bias_add(outputs[-1], tf.constant(parts.bias))
    total = outputs[0] if len(outputs) == 1 else tf.add(*outputs)
    return total if parts.mask is None else total * tf.constant(parts.mask)
