"""Quantizers for Larq layers: one module for each paper."""

from larq_equalbits.quantizers.activations import FastApproxSign, FastSteSign
from larq_equalbits.quantizers.base import BinaryQuantizer, EstimatorQuantizer
from larq_equalbits.quantizers.bi_half import BiHalf
from larq_equalbits.quantizers.ir_net import IRNet
from larq_equalbits.quantizers.rbnn import RBNN
from larq_equalbits.quantizers.siman import SiMaN

__all__ = [
    "RBNN",
    "BiHalf",
    "BinaryQuantizer",
    "EstimatorQuantizer",
    "FastApproxSign",
    "FastSteSign",
    "IRNet",
    "SiMaN",
]
__dir__ = __all__.copy
