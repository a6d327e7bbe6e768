"""Keras callbacks: what the bits of a model do while it trains, and schedules over the epochs of training."""

from larq_equalbits.callbacks.bit_logger import BitLogger
from larq_equalbits.callbacks.schedules import ErrorDecay, PercentileDecay

__all__ = ["BitLogger", "ErrorDecay", "PercentileDecay"]
__dir__ = __all__.copy
