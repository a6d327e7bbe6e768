"""Figures of what the bits did and of where they lie.

Each function returns a matplotlib figure, ready for `savefig`, and touches none of pyplot's global state.
"""

from larq_equalbits.plots.epochs import bits, filter_entropy, layer_names, learning
from larq_equalbits.plots.kernels import filter_map, filter_ratios, latent_weights, threshold
from larq_equalbits.plots.reading import load_model, read_history
from larq_equalbits.plots.tradeoff import Point, tradeoff

__all__ = [
    "Point",
    "bits",
    "filter_entropy",
    "filter_map",
    "filter_ratios",
    "latent_weights",
    "layer_names",
    "learning",
    "load_model",
    "read_history",
    "threshold",
    "tradeoff",
]
__dir__ = __all__.copy
