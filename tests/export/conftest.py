import importlib.util

import numpy as np
import pytest
from stacks import as_if_trained

from larq_equalbits import export
from larq_equalbits.export import interpreter

_RUNTIME = importlib.util.find_spec("larq_equalbits_runtime") is not None


def _check_the_runtime(tflite, images):
    """Answers as LCE's interpreter does, where the runtime is installed."""
    from larq_equalbits_runtime import Interpreter

    runner = interpreter.load(tflite)
    expected = list(runner.predict({runner.inputs[0].key: images}).values())
    found = Interpreter(tflite).predict(images)
    answers = list(found.values()) if isinstance(found, dict) else [found]
    for answer, right in zip(answers, expected, strict=True):
        np.testing.assert_allclose(answer, right, rtol=0, atol=1e-4)


@pytest.fixture
def images():
    return np.random.default_rng(1).normal(size=(6, 8, 8, 32)).astype("float32")


@pytest.fixture
def exact():
    """Converts a model, verifies it on inputs, and returns the report and the counts of operators."""

    def run(model, inputs, *, atol=0.0, **options):
        as_if_trained(model, negative=False)
        report = export.convert(model, verify_on=inputs, **options)
        assert report.verification.max_abs_diff <= atol
        if _RUNTIME and isinstance(inputs, np.ndarray):
            _check_the_runtime(report.tflite, inputs)
        return report, export.audit(report.tflite).operators

    return run
