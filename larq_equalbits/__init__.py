"""Equal Bits and SiMaN for Larq: exact bit ratios in training, verified binary models on the device.

Importing the package selects Keras 2, and registers the quantizers and constraints under their aliases
(``kernel_quantizer="bi_half"``), so that models which use them also load without custom_objects.
"""

import importlib
import sys
from pathlib import Path
from typing import Any

from larq_equalbits._keras import select_keras_2
from larq_equalbits.version import VERSION

__version__ = VERSION

select_keras_2()

_REGISTERING: tuple[str, ...] = (
    "quantizers",
    "constraints",
    "metrics",
    "pruning",
    "decay",
    "learning_rates",
    "zoo",
)
_SUBMODULES = (
    *_REGISTERING,
    "binarization",
    "callbacks",
    "data",
    "device",
    "export",
    "kernels",
    "plots",
    "ranking",
    "recipes",
    "report",
    "schedules",
    "theory",
    "training",
    "tuning",
    "zoo",
)


def register() -> None:
    """Imports the modules that register names with Keras and Larq."""
    for name in _REGISTERING:
        importlib.import_module(f"{__name__}.{name}")


def __getattr__(name: str) -> Any:
    if name == "binarize":
        return importlib.import_module(f"{__name__}.binarization").binarize
    if name in _SUBMODULES:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*_SUBMODULES, "__version__", "binarize"]


# The command line registers when a command needs it: its help then needs no TensorFlow.
if Path(sys.argv[0]).name != "larq-equalbits":
    register()
