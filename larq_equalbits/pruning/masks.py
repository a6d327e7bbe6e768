"""Masks that a user gives: checked, and packed into a layer's configuration."""

import base64
from collections.abc import Sequence
from typing import Any

import numpy as np

from larq_equalbits._errors import InputError


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


class Given:
    """The masks of one layer: an array, a dict of arrays by kernel, or a callable that makes one from a kernel.

    Args:
        owner: the layer's name, for errors.
        criterion: what the user gave, or what `config` made of it.
        kernels: the names of the layer's kernels.

    Raises:
        InputError: one array for several kernels, or a dict that lacks one.
    """

    def __init__(self, owner: str, criterion: Any, kernels: Sequence[str]) -> None:
        self._owner = owner
        if isinstance(criterion, dict):
            if sorted(criterion) != sorted(kernels):
                raise InputError(
                    f"criterion of layer {owner!r} must have a mask for each of {list(kernels)}, "
                    f"but got {list(criterion)}."
                )
            self._sources = {
                kernel: unpack(mask) if isinstance(mask, dict) else mask for kernel, mask in criterion.items()
            }
        elif len(kernels) > 1 and not callable(criterion):
            raise InputError(
                f"criterion of layer {owner!r} must be a dict of masks for {list(kernels)}, but got one array."
            )
        else:
            self._sources = dict.fromkeys(kernels, criterion)

    def of(self, kernel: str, latent: np.ndarray) -> np.ndarray:
        """The mask for `kernel`, whose latent weights a callable is given; InputError as `check`."""
        source = self._sources[kernel]
        return check(self._owner, source(latent) if callable(source) else source, latent.shape)

    def config(self) -> dict[str, Any]:
        """The arrays, packed; InputError for a callable, whose masks are known once the layer is built."""
        if any(callable(source) for source in self._sources.values()):
            raise InputError(
                f"criterion of layer {self._owner!r}: a callable is saved once the layer is built."
            )
        return {
            kernel: pack(check(self._owner, source, np.shape(source)))
            for kernel, source in self._sources.items()
        }
