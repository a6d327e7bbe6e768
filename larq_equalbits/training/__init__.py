"""Trains a network by a recipe: repeatable bit for bit, resumable after a kill at any moment."""

from larq_equalbits.training.loop import train
from larq_equalbits.training.run_folder import Run
from larq_equalbits.training.settings import Settings

__all__ = ["Run", "Settings", "train"]
__dir__ = __all__.copy
