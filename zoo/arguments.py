"""The arguments of the zoo's builders, checked."""

from collections.abc import Iterable
from typing import Any

import larq
import tensorflow as tf

from larq_equalbits._errors import invalid, is_number, is_whole

_CLIPPED = (
    larq.quantizers.SteSign,
    larq.quantizers.ApproxSign,
    larq.quantizers.SwishSign,
    larq.quantizers.MagnitudeAwareSign,
    larq.quantizers.SteTern,
    larq.quantizers.SteHeaviside,
)


def is_clipped(quantizer: Any) -> bool:
    """Whether a weight outside [-1, 1] gets no gradient from `quantizer`."""
    return isinstance(quantizer, _CLIPPED) and getattr(quantizer, "clip_value", 1.0) is not None


def check_arguments(input_shape: Any, num_classes: Any, width: Any, least: int) -> tuple[int, int, int]:
    """The input shape as integers, once all arguments are found right; an image has `least` pixels or more each way.

    Raises:
        InputError: an argument that is not as `blocks` says.
    """
    sizes = tuple(input_shape) if isinstance(input_shape, Iterable) else ()
    if len(sizes) != 3 or not all(is_whole(size, 0) for size in sizes):
        raise invalid("input_shape", input_shape, "(height, width, channels), all known")
    height, wide, channels = map(int, sizes)
    if min(height, wide) < least or channels < 1:
        raise invalid("input_shape", input_shape, f"at least {least}x{least} pixels with a channel or more")
    if not is_whole(num_classes, 2):
        raise invalid("num_classes", num_classes, "an integer of 2 or more")
    if not (is_number(width) and width > 0):
        raise invalid("width", width, "a number above 0")
    return height, wide, channels


def checked_initializer(initializer: Any) -> Any:
    """The configuration from which each layer makes its own initializer; None stays None.

    Raises:
        InputError: an unknown initializer.
    """
    try:
        made = tf.keras.initializers.get(initializer)
    except (ValueError, TypeError) as error:
        raise invalid(
            "kernel_initializer", initializer, 'None, a Keras initializer or its name, such as "he_normal"'
        ) from error
    return None if made is None else tf.keras.initializers.serialize(made)
