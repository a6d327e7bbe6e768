"""Quantizers for Larq layers: one module for each paper."""

from larq_equalbits.quantizers.bi_half import BiHalf

__all__ = ["BiHalf"]
