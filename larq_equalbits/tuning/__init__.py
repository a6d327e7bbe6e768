"""Which bit ratio? Sweeps and searches with keras-tuner, resumable and in parallel, on Keras 2."""

from larq_equalbits.tuning.algorithms import (
    BayesianOptimization,
    BitRatioSweep,
    Hyperband,
    RandomSearch,
    from_folder,
)
from larq_equalbits.tuning.hypermodel import HyperModel
from larq_equalbits.tuning.keras_2 import keras_tuner
from larq_equalbits.tuning.objectives import objective
from larq_equalbits.tuning.search import Search

__all__ = [
    "BayesianOptimization",
    "BitRatioSweep",
    "HyperModel",
    "Hyperband",
    "RandomSearch",
    "Search",
    "from_folder",
    "keras_tuner",
    "objective",
]
__dir__ = __all__.copy
