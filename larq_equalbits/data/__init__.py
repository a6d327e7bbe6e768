"""Data sets through one input pipeline: shuffled by a seed, augmented as in the papers, normalised, batched."""

from larq_equalbits.data.loading import AUGMENTATIONS, NAMES, Data, load

__all__ = ["AUGMENTATIONS", "NAMES", "Data", "load"]


def __dir__() -> list[str]:
    return __all__
