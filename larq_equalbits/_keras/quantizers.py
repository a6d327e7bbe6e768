"""Quantizers by name, and copies of them."""

import contextlib
from collections.abc import Mapping
from typing import Any

import larq
import tensorflow as tf

from larq_equalbits._errors import InputError, invalid


def resolve(quantizer: Any, argument: str = "quantizer", options: Mapping[str, Any] | None = None) -> Any:
    """The quantizer that a name or an object stands for; None stays None.

    Args:
        quantizer: an alias, such as "bi_half", or a quantizer.
        argument: what to call it in an error.
        options: arguments for the quantizer of an alias.

    Raises:
        InputError: an unknown name, listing the known ones, or a class; options that the quantizer does not have.
    """
    found: Any = type
    with contextlib.suppress(ValueError, TypeError, AttributeError):
        found = larq.quantizers.get_kernel_quantizer(quantizer)
    # A class is callable, which is all that Larq asks for.
    if isinstance(found, type):
        objects = tf.keras.utils.get_custom_objects()
        known = sorted(
            name
            for name, value in objects.items()
            if name.islower() and isinstance(value, type) and issubclass(value, larq.quantizers.Quantizer)
        )
        raise invalid(argument, quantizer, f"a quantizer or one of {known}")
    if not options:
        return found
    try:
        return larq.quantizers.get({"class_name": quantizer, "config": dict(options)})
    except InputError:
        raise
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError(f"{argument}_options must suit {quantizer!r}, but {error}.") from error


def copied(quantizer: Any, *, as_built: bool = False, **changes: Any) -> Any:
    """An equal quantizer, but for `changes` of its configuration, for one layer alone; a function as it is.

    One object in several layers would share its name, its metrics and its state. With `as_built` the copy of a built
    quantizer is built too, so a layer's weights fit it.
    """
    if not isinstance(quantizer, tf.keras.layers.Layer):
        return quantizer
    if as_built:
        return larq.quantizers.get(larq.quantizers.serialize(quantizer))
    config = quantizer.get_config()
    # Metrics are logged under the name.
    config.pop("name", None)
    # Larq's own configuration leaves them out.
    metrics = getattr(quantizer, "_custom_metrics", None)
    given = {"metrics": list(metrics)} if metrics else {}
    return type(quantizer).from_config({**config, **given, **changes})
