"""Masks that a user gives: checked, and packed into a layer's configuration."""

import base64
from typing import Any

import numpy as np

from larq_equalbits.errors import InputError


def check(owner: str, mask: Any, shape: tuple[int, ...]) -> np.ndarray:
    """`mask` as a boolean array of the kernel's `shape`, True for what survives.

    Raises:
        InputError: another shape, or values besides 0 and 1; names the `owner`.
    """
    array = np.asarray(mask)
    if array.shape != shape:
        raise InputError(
            f"criterion of layer {owner!r}: a mask must have the kernel's shape {shape}, but got {array.shape}."
        )
    if array.dtype.kind not in "biuf" or not np.isin(array, (0, 1)).all():
        raise InputError(
            f"criterion of layer {owner!r}: a mask must hold 0 (pruned) and 1 (kept) alone, "
            f"but got {array.dtype} with {np.unique(array[~np.isin(array, (0, 1))])[:3].tolist()}."
        )
    return array.astype(bool)


def pack(mask: np.ndarray) -> dict[str, Any]:
    """One bit a weight, as text that fits into JSON."""
    return {"shape": list(mask.shape), "bits": base64.b64encode(np.packbits(mask).tobytes()).decode("ascii")}


def unpack(packed: dict[str, Any]) -> np.ndarray:
    """The mask that `pack` was given."""
    shape = tuple(packed["shape"])
    bits = np.frombuffer(base64.b64decode(packed["bits"]), np.uint8)
    return np.unpackbits(bits, count=int(np.prod(shape))).reshape(shape).astype(bool)
