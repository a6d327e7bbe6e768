"""Images of any size as a network takes them: decoded by Pillow, cropped, resized and normalised as in training."""

from pathlib import Path
from typing import Any

import numpy as np

from larq_equalbits_runtime._description import Description
from larq_equalbits_runtime._errors import InputError

# What Pillow decodes itself, whatever the name of a file says: for others it starts programs, as Ghostscript for EPS.
_FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF")
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}


def decode(path: Path, channels: int) -> np.ndarray:
    """The pixels (height, width, channels) of an image file, 0 to 255, upright as its EXIF data say.

    What is transparent becomes white where the network takes no fourth channel.

    Raises:
        InputError: a file that is no image, or a number of channels that no image has.
        ImportError: without Pillow, naming the extra to install.
    """
    try:
        from PIL import Image, ImageOps
    except ImportError as error:
        raise ImportError(
            "Images need Pillow, which is not installed: pip install 'larq-equalbits-runtime[images]'."
        ) from error
    if channels not in _MODES:
        raise InputError(
            f"The model takes {channels} channels; an image has 1, 3 or 4. Use Interpreter.predict."
        )
    try:
        with Image.open(path, formats=_FORMATS) as opened:
            image = ImageOps.exif_transpose(opened)
            # Up to Pillow 10.2 a PNG of 16 bits has the mode I.
            if image.mode.startswith("I;16") or (image.mode == "I" and opened.format == "PNG"):
                # Pillow clips 16 bits to 255 instead of scaling them.
                image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
            transparent = image.mode in ("P", "PA", "LA", "RGBA") or "transparency" in image.info
            if channels < 4 and transparent:
                white = Image.new("RGBA", image.size, "white")
                image = Image.alpha_composite(white, image.convert("RGBA"))
            pixels = np.asarray(image.convert(_MODES[channels]), np.float32)
    # Pillow's decoders raise whatever they meet: SyntaxError for a damaged PNG, struct.error for EXIF data.
    except Exception as error:
        reason = getattr(error, "strerror", None) or "Pillow cannot read it, or it is cut off"
        raise InputError(f"IMAGE must be an image file, but {path} is not: {reason}.") from error
    return pixels.reshape(*pixels.shape[:2], channels)


def _weights(size: int, target: int, scale: float, smooth: bool) -> np.ndarray:
    """The matrix (target, size) of bilinear interpolation between the centres of pixels, `scale` of them for each."""
    centers = size / 2 + (np.arange(target) - (target - 1) / 2) * scale - 0.5
    distances = np.abs(np.arange(size) - centers[:, None])
    matrix = np.maximum(0, 1 - distances / (max(scale, 1) if smooth else 1))
    return (matrix / matrix.sum(axis=1, keepdims=True)).astype(np.float32)


def fit(pixels: np.ndarray, height: int, width: int, share: float = 1.0, smooth: bool = True) -> np.ndarray:
    """The centre of `pixels` with the proportions of (height, width), resized to it.

    Args:
        pixels: (h, w, channels).
        height: of the answer.
        width: of the answer.
        share: how much of the largest such part is kept, in each direction.
        smooth: whether fine patterns are smoothed (antialiasing) where the answer is smaller.
    """
    if pixels.shape[:2] == (height, width):
        return pixels
    scale = min(pixels.shape[0] / height, pixels.shape[1] / width) * share
    rows = _weights(pixels.shape[0], height, scale, smooth)
    columns = _weights(pixels.shape[1], width, scale, smooth)
    return np.einsum("yh,hwc,xw->yxc", rows, pixels, columns, optimize=True).astype(np.float32)


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
    if description.dataset == "imagenet2012":
        # Of its test images the centre is used, 224 of 256 pixels after the shorter side was resized; not smoothed.
        fitted = fit(pixels, height, width, 224 / 256, smooth=False)
    else:
        fitted = fit(pixels, height, width)
    return normalised(fitted, description)[None]
