"""Zeros in binary kernels: chosen by rank, magnitude or learned scores, or given as a mask.

A pruned layer is a Larq layer whose kernel's quantizer yields 0 too (`Pruned`), so whatever observes or
exports a model needs to know nothing about pruning.
"""

from larq_equalbits.pruning import profile
from larq_equalbits.pruning.models import NetworkPruned, link, prune, strip
from larq_equalbits.pruning.quantizer import Pruned
from larq_equalbits.pruning.schedules import Constant, ConstantSparsity, CubicRamp, Polynomial
from larq_equalbits.pruning.wrapper import PrunedBinary

__all__ = [
    "Constant",
    "ConstantSparsity",
    "CubicRamp",
    "NetworkPruned",
    "Polynomial",
    "Pruned",
    "PrunedBinary",
    "link",
    "prune",
    "strip",
]
__dir__ = __all__.copy


profile.register()
