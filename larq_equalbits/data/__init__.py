"""Data sets through one input pipeline: shuffled by a seed, augmented as in the papers, normalised, batched."""

from larq_equalbits._choices import AUGMENTATIONS
from larq_equalbits.data.folders import from_folder
from larq_equalbits.data.given import from_datasets
from larq_equalbits.data.loading import NAMES, load
from larq_equalbits.data.pipeline import Data

__all__ = ["AUGMENTATIONS", "NAMES", "Data", "from_datasets", "from_folder", "load"]
__dir__ = __all__.copy
