"""Equal Bits and SiMaN for Larq: exact bit ratios in training, verified binary models on the device.

Importing the package selects Keras 2, and registers the quantizers and constraints under their aliases
(``kernel_quantizer="bi_half"``), so models which use them also load without custom_objects. Larq's quantized scope
closes after a call that failed. Messages of TensorFlow's C++ libraries are left out; LARQ_EQUALBITS_VERBOSE=1 in the
environment brings them back.
"""

import contextlib
import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from larq_equalbits import _quiet
from larq_equalbits._keras.keras_2 import select_keras_2
from larq_equalbits._version import VERSION

if TYPE_CHECKING:
    # What `__getattr__` loads, for editors and type checkers.
    from larq_equalbits import callbacks as callbacks
    from larq_equalbits import constraints as constraints
    from larq_equalbits import data as data
    from larq_equalbits import device as device
    from larq_equalbits import export as export
    from larq_equalbits import metrics as metrics
    from larq_equalbits import optimizers as optimizers
    from larq_equalbits import plots as plots
    from larq_equalbits import pruning as pruning
    from larq_equalbits import quantizers as quantizers
    from larq_equalbits import theory as theory
    from larq_equalbits import training as training
    from larq_equalbits import tuning as tuning
    from larq_equalbits import zoo as zoo
    from larq_equalbits.binarization import binarize as binarize

__version__ = VERSION

# In a clone, where Python that is started there finds it first, the networks lie beside the package.
if not Path(__file__).with_name("zoo").is_dir():
    __path__.append(str(Path(__file__).parent.parent))

# Larq names NumPy below 2, of which Python 3.13 has no wheel, and works with NumPy 2.
_WITHOUT_LARQ = (
    "larq_equalbits needs Larq: pip install --no-deps larq. (On Python 3.13 and newer this is a step of its own, "
    "because Larq asks for an older NumPy than there is.)"
)
_REGISTERING = ("quantizers", "constraints", "metrics", "pruning", "optimizers", "zoo")
_NAMESPACES = (
    "callbacks",
    "constraints",
    "data",
    "device",
    "export",
    "metrics",
    "optimizers",
    "plots",
    "pruning",
    "quantizers",
    "theory",
    "training",
    "tuning",
    "zoo",
)

__all__ = ["binarize", *_NAMESPACES]
__dir__ = __all__.copy


def _register() -> None:
    """Imports the modules that register names with Keras and Larq.

    Raises:
        ImportError: without Larq, with the command that installs it.
    """
    # What has loaded has said what it had to say.
    loaded = "tensorflow" in sys.modules
    silence = contextlib.nullcontext() if loaded else _quiet.quiet()
    try:
        with silence:
            for name in _REGISTERING:
                importlib.import_module(f"{__name__}.{name}")
            importlib.import_module(f"{__name__}._keras.scopes").close_after_failures()
    except ModuleNotFoundError as error:
        if error.name != "larq":
            raise
        raise ImportError(_WITHOUT_LARQ) from error
    if not loaded:
        _quiet.lower_logger()


def __getattr__(name: str) -> Any:
    if name == "binarize":
        return importlib.import_module(f"{__name__}.binarization").binarize
    if name in _NAMESPACES:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


select_keras_2()
_quiet.lower_voices()
# The program shows its help before it loads TensorFlow, which takes seconds, and registers after that.
if "larq_equalbits_program" not in sys.modules:
    _register()
