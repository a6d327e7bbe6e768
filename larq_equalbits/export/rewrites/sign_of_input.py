"""A sign that another layer takes is taken once more by the layer that it reaches, where LCE looks for it.

The sign of -1 and +1 is itself. With it a layer is what one with an input quantizer is, to the other rewrites too.
"""

import larq

from larq_equalbits.export.lowering import BINARY_KINDS, Lowering


def apply(lowering: Lowering) -> None:
    """Gives each layer with binary kernels that takes nothing but signs a sign of its own."""
    for leaf in lowering.leaves.values():
        if leaf.takes_signs and isinstance(leaf.layer, BINARY_KINDS):
            lowering.replace(leaf, "input_quantizer", larq.quantizers.SteSign())
