"""The rewrites, one module a rewrite, applied in this order: exact, or (`next_to_zero`) within LCE's own rounding."""

from collections.abc import Collection, Mapping, Sequence

from larq_equalbits._errors import invalid
from larq_equalbits.export.lowering import Rewrite
from larq_equalbits.export.rewrites import (
    batch_norm,
    before_sign,
    convolution,
    next_to_zero,
    not_binary,
    pooling,
    scale_before_sign,
    sign_of_input,
    zero_filters,
    zero_padding,
)

REWRITES: Mapping[str, Rewrite] = {
    "sign_of_input": sign_of_input.apply,
    "zero_filters": zero_filters.apply,
    "scale_before_sign": scale_before_sign.apply,
    "next_to_zero": next_to_zero.apply,
    "before_sign": before_sign.apply,
    "zero_padding": zero_padding.apply,
    "convolution": convolution.apply_convolution,
    "dense": convolution.apply_dense,
    "conv1d": convolution.apply_conv1d,
    "separable": convolution.apply_separable,
    "batch_norm_before_pooling": pooling.apply,
    "ternary_batch_norm": batch_norm.apply,
    "grouped_batch_norm": batch_norm.apply_groups,
    "not_binary": not_binary.apply,
}


def select(names: Sequence[str] | None) -> list[Rewrite]:
    """The rewrites called `names`, in their own order; all of them for None.

    Raises:
        InputError: for a name that is none of them, or no list of names.
    """
    if names is not None and (isinstance(names, str) or not isinstance(names, Collection)):
        raise invalid("rewrites", names, f"a list of names among {list(REWRITES)}")
    chosen = list(REWRITES if names is None else names)
    for name in chosen:
        if not (isinstance(name, str) and name in REWRITES):
            raise invalid("rewrites", name, f"among {list(REWRITES)}")
    return [rewrite for name, rewrite in REWRITES.items() if name in chosen]
