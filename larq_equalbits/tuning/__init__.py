"""Which bit ratio? Sweeps and searches with keras-tuner, resumable and in parallel, on Keras 2."""

from larq_equalbits.tuning.hypermodel import HyperModel, objective
from larq_equalbits.tuning.keras_2 import keras_tuner
from larq_equalbits.tuning.search import (
    BayesianOptimization,
    BitRatioSweep,
    Hyperband,
    RandomSearch,
    Search,
    from_folder,
)

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
