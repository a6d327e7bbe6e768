"""From a trained model to a verified .tflite file: freeze, rewrite, convert, audit, verify."""

from larq_equalbits._errors import ConversionError
from larq_equalbits.export.auditing import Audit, audit
from larq_equalbits.export.conversion import convert, float_size
from larq_equalbits.export.freezing import freeze
from larq_equalbits.export.layer_outputs import LayerDifference, compare_layers
from larq_equalbits.export.results import ConversionReport, LayerReport, Verification
from larq_equalbits.export.rewrites import REWRITES
from larq_equalbits.export.verification import verify

__all__ = [
    "REWRITES",
    "Audit",
    "ConversionError",
    "ConversionReport",
    "LayerDifference",
    "LayerReport",
    "Verification",
    "audit",
    "compare_layers",
    "convert",
    "float_size",
    "freeze",
    "verify",
]
__dir__ = __all__.copy
