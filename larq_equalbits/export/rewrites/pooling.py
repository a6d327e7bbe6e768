"""convolution, MaxPool, BatchNorm becomes convolution, BatchNorm, MaxPool, which LCE fuses and pools in bits.

Exact where every factor of the normalization is positive: an increasing map commutes with a maximum, in floating
point too. It comes after the rewrites that give a layer another call, which the normalization then follows.
"""

from typing import Any

import larq
import tensorflow as tf

from larq_equalbits.export.lowering import Call, Leaf, Lowering, identity
from larq_equalbits.export.rewrites.batch_norm import affine, fold, over_channels


def _then(first: Call, second: Call) -> Call:
    def call(inputs: tf.Tensor, *args: Any, **kwargs: Any) -> tf.Tensor:
        return second(first(inputs, *args, **kwargs), training=False)

    return call


def _swappable(lowering: Lowering, leaf: Leaf, pool: Leaf | None, norm: Leaf | None) -> bool:
    return (
        pool is not None
        and norm is not None
        and isinstance(leaf.layer, larq.layers.QuantConv2D)
        and type(pool.layer) is tf.keras.layers.MaxPooling2D
        and pool.layer.data_format == "channels_last"
        and over_channels(lowering, norm)
        and bool((affine(norm.layer)[0] > 0).all())
    )


def apply(lowering: Lowering) -> None:
    """Moves each normalization after a pooling in front of it."""
    for leaf in lowering.leaves.values():
        pool = lowering.consumer(leaf)
        norm = lowering.consumer(pool) if pool is not None else None
        if pool is not None and norm is not None and _swappable(lowering, leaf, pool, norm):
            if not fold(leaf, *affine(norm.layer)):
                leaf.call = _then(leaf.call, norm.call)
            norm.call = identity
            leaf.moved = pool.moved = True
            leaf.rewrite.append("batch normalization before pooling")
            norm.rewrite.append(f"moved before {pool.name}")
