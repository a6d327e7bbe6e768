"""Models that were trained in mixed precision, as float32 models that convert."""

from typing import Any

import tensorflow as tf

from larq_equalbits._bits.kernels import quantized_kernels
from larq_equalbits._errors import InputError
from larq_equalbits._keras.cloning import clone
from larq_equalbits.export import graph


def _is_mixed(layer: Any) -> bool:
    return hasattr(layer, "dtype_policy") and layer.dtype_policy.name.startswith("mixed")


def in_float32(model: tf.keras.Model) -> tf.keras.Model:
    """`model` itself, or an uncompiled copy in float32 where some of its layers compute in mixed precision.

    A layer in mixed precision rounds its kernel before the quantizer sees it, and weights that are equal then rank by
    position. So the copy's quantized kernels are rounded in the same way, which keeps every code; all other weights are
    kept in float32.

    Raises:
        InputError: a subclassed model in mixed precision, which cannot be made again.
    """
    mixed = [layer for layer in graph.leaves(model).values() if _is_mixed(layer)]
    if not mixed:
        return model
    try:
        copy, _ = clone(model, _remade)
        copy.set_weights(model.get_weights())
    except (InputError, ValueError, NotImplementedError) as error:
        raise InputError(
            f"model {model.name!r} computes in {mixed[0].dtype_policy.name}, and no float32 copy of it can be made: "
            'build it with tf.keras.mixed_precision.set_global_policy("float32") and copy the weights '
            "(new_model.set_weights(model.get_weights()))."
        ) from error
    for own, copied in zip(quantized_kernels(model), quantized_kernels(copy), strict=True):
        if _is_mixed(own.layer):
            latent = own.variable.latent_variable
            rounded = tf.cast(tf.cast(latent, own.layer.compute_dtype), latent.dtype)
            copied.variable.latent_variable.assign(rounded)
    return copy


def _remade(layer: tf.keras.layers.Layer) -> tf.keras.layers.Layer | None:
    if not any(_is_mixed(part) for part in layer._flatten_layers()):
        return None
    return type(layer).from_config(_float32(layer.get_config()))


def _float32(config: Any) -> Any:
    """A configuration in which every policy is float32."""
    if isinstance(config, dict):
        if config.get("class_name") == "Policy":
            return "float32"
        mixed = str(config.get("dtype")).startswith("mixed")
        return {key: _float32(value) for key, value in config.items()} | (
            {"dtype": "float32"} if mixed else {}
        )
    if isinstance(config, tuple):
        return tuple(map(_float32, config))
    if isinstance(config, list):
        return list(map(_float32, config))
    return config
