"""keras-tuner on Keras 2, beside an installed Keras 3."""

import importlib
import sys
from types import ModuleType
from typing import Any

from larq_equalbits._errors import require


def load() -> ModuleType:
    """Imports keras-tuner so that it works with Keras 2 models.

    keras-tuner asks the module ``keras`` for its version, once. Where that is Keras 3 it would reject every model
    of Larq, so `tf_keras` stands in for it during this first import; afterwards ``import keras`` gives what it
    gave before.

    Raises:
        ImportError: keras-tuner is not installed, or was imported before with Keras 3.
    """
    if "keras_tuner" not in sys.modules:
        substitute = importlib.import_module("tf_keras")
        hidden = _take_keras()
        sys.modules["keras"] = substitute
        try:
            return require("tuning", "keras_tuner")
        finally:
            _take_keras()
            sys.modules.update(hidden)
    module = sys.modules["keras_tuner"]
    if importlib.import_module("keras_tuner.src.backend.config").multi_backend():
        raise ImportError(
            "larq_equalbits.tuning needs keras-tuner on Keras 2, but keras_tuner was imported first and has "
            "chosen Keras 3: import larq_equalbits.tuning before keras_tuner."
        )
    return module


def _take_keras() -> dict[str, ModuleType]:
    """Removes the modules of `keras` from those that are loaded, and returns them."""
    names = [name for name in sys.modules if name == "keras" or name.startswith("keras.")]
    return {name: sys.modules.pop(name) for name in names}


keras_tuner: Any = load()
