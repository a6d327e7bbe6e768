"""Trains a network by a recipe: repeatable bit for bit, resumable after a kill at any moment."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from larq_equalbits.training.loop import train
    from larq_equalbits.training.run_folder import Run
    from larq_equalbits.training.settings import Settings

__all__ = ["Run", "Settings", "train"]
__dir__ = __all__.copy

# Settings are checked before TensorFlow loads.
_HOMES = {"Run": "run_folder", "Settings": "settings", "train": "loop"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
