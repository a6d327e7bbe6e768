"""A trained network as its binary twin: Larq layers with our quantizers in place of Keras', the weights kept."""

from larq_equalbits.binarization.changes import BinarizationReport, LayerChange
from larq_equalbits.binarization.model import binarize

__all__ = ["BinarizationReport", "LayerChange", "binarize"]
