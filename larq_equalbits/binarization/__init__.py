"""A trained network as its binary twin: Larq layers with our quantizers in place of Keras', the weights kept."""

from larq_equalbits.binarization.model import binarize
from larq_equalbits.binarization.report import BinarizationReport, LayerChange

__all__ = ["BinarizationReport", "LayerChange", "binarize"]
