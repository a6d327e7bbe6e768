"""Larq's quantized scope, closed also when what runs inside it fails."""

import contextlib
from collections.abc import Iterator

from larq import context


@contextlib.contextmanager
def _quantized_scope(quantize: bool) -> Iterator[bool]:
    """`larq.context.quantized_scope`, which leaves itself open when a layer's call raises.

    While it is open, variables answer their quantized values: `get_weights`, `save` and constraints
    would take binary kernels for latent weights.
    """
    before = context.should_quantize()
    context._quantized_scope.should_quantize = quantize
    try:
        yield quantize
    finally:
        context._quantized_scope.should_quantize = before


def close_after_failures() -> None:
    """Gives Larq's layers the scope above."""
    context.quantized_scope = _quantized_scope
