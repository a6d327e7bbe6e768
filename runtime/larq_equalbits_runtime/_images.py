"""Images of any size as a network takes them: decoded by Pillow, cropped, resized and normalised as in training."""

from pathlib import Path
from typing import Any

import numpy as np

from larq_equalbits_runtime._description import Description
from larq_equalbits_runtime._errors import InputError

_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
#: Of ImageNet's test images the centre is used: 224 of 256 pixels after the shorter side was resized.
_CENTER = {"imagenet2012": 224 / 256}


def decode(path: Path, channels: int) -> np.ndarray:
    """The pixels (height, width, channels) of an image file, 0 to 255.

    Raises:
        InputError: a file that is no image, or a number of channels that no image has.
        ImportError: without Pillow, naming the extra to install.
    """
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError as error:
        raise ImportError(
            "Images need Pillow, which is not installed: pip install 'larq-equalbits-runtime[images]'."
        ) from error
    if channels not in _MODES:
        raise InputError(
            f"The model takes {channels} channels; an image has 1, 3 or 4. Use Interpreter.predict."
        )
    try:
        with Image.open(path) as image:
            pixels = np.asarray(image.convert(_MODES[channels]), np.float32)
    except (OSError, UnidentifiedImageError, ValueError, Image.DecompressionBombError) as error:
        reason = getattr(error, "strerror", None) or "Pillow cannot read it, or it is cut off"
        raise InputError(f"IMAGE must be an image file, but {path} is not: {reason}.") from error
    return pixels.reshape(*pixels.shape[:2], channels)


def _weights(size: int, target: int) -> np.ndarray:
    """The matrix (target, size) of bilinear interpolation between the centres of pixels."""
    centers = np.clip((np.arange(target) + 0.5) * (size / target) - 0.5, 0, size - 1)
    lower = np.floor(centers).astype(int)
    upper = np.minimum(lower + 1, size - 1)
    share = (centers - lower).astype(np.float32)
    matrix = np.zeros((target, size), np.float32)
    rows = np.arange(target)
    matrix[rows, lower] += 1 - share
    matrix[rows, upper] += share
    return matrix


def resize(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """`pixels` (h, w, channels) as (height, width, channels): bilinear as in training, without smoothing."""
    if pixels.shape[:2] == (height, width):
        return pixels
    rows, columns = _weights(pixels.shape[0], height), _weights(pixels.shape[1], width)
    return np.einsum("yh,hwc,xw->yxc", rows, pixels, columns, optimize=True).astype(np.float32)


def fit(pixels: np.ndarray, height: int, width: int, share: float = 1.0) -> np.ndarray:
    """The centre of `pixels` with the proportions of (height, width), resized to it.

    Args:
        pixels: (h, w, channels).
        height: of the answer.
        width: of the answer.
        share: how much of the largest such part is kept, in each direction.
    """
    if pixels.shape[:2] == (height, width):
        return pixels
    scale = min(pixels.shape[0] / height, pixels.shape[1] / width) * share
    sides = [max(1, round(scale * side)) for side in (height, width)]
    starts = [(have - side) // 2 for have, side in zip(pixels.shape[:2], sides, strict=True)]
    cropped = pixels[starts[0] : starts[0] + sides[0], starts[1] : starts[1] + sides[1]]
    return resize(cropped, height, width)


def normalised(pixels: np.ndarray, description: Description) -> np.ndarray:
    """`pixels` from 0 to 255 as the network was trained: (pixel / 255 - mean) / std, per channel."""
    mean, std = (np.asarray(values, np.float32) for values in (description.mean, description.std))
    return (pixels / np.float32(255) - mean) / std


def load(path: Path, shape: Any, description: Description) -> np.ndarray:
    """An image file as the network takes it, (1, height, width, channels).

    Args:
        path: the file.
        shape: (1, height, width, channels) of the network's input.
        description: the network's, as its `require` accepts it.

    Raises:
        InputError: see `decode`.
        ImportError: without Pillow.
    """
    height, width, channels = (int(side) for side in shape[1:])
    pixels = decode(path, channels)
    fitted = fit(pixels, height, width, _CENTER.get(description.dataset, 1.0))
    return normalised(fitted, description)[None]
