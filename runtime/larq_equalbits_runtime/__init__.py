"""Runs networks converted for Larq Compute Engine, binary operators included, with LiteRT's own wheel.

    >>> interpreter = Interpreter("model.tflite", num_threads=4)  # doctest: +SKIP
    >>> scores = interpreter.predict(images)  # doctest: +SKIP

LiteRT has no kernels for Larq Compute Engine's operators. A delegate, a small shared library, brings them.
"""

from larq_equalbits_runtime._errors import InputError
from larq_equalbits_runtime._interpreter import Interpreter
from larq_equalbits_runtime._library import kernels, library_path, load_delegate, version

__all__ = ["InputError", "Interpreter", "kernels", "library_path", "load_delegate", "version"]
__version__ = version()
__dir__ = __all__.copy
