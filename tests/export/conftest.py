import importlib.util

import larq
import numpy as np
import pytest
import tensorflow as tf

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
def convolution():
    """Makes a binary convolution."""

    def make(filters=8, size=3, *, kernel_quantizer="bi_half", **options):
        options = {"input_quantizer": "ste_sign", "use_bias": False, **options}
        return larq.layers.QuantConv2D(filters, size, kernel_quantizer=kernel_quantizer, **options)

    return make


@pytest.fixture
def images():
    return np.random.default_rng(1).normal(size=(6, 8, 8, 32)).astype("float32")


@pytest.fixture
def exact():
    """Converts a model, verifies it on inputs, and returns the report and the counts of operators."""

    def run(model, inputs, *, atol=0.0, **options):
        for layer in model._flatten_layers():
            if isinstance(layer, tf.keras.layers.BatchNormalization) and layer.built:
                generator = np.random.default_rng(2)
                shape = layer.moving_mean.shape
                layer.moving_mean.assign(generator.normal(size=shape))
                layer.moving_variance.assign(generator.uniform(0.5, 2, size=shape))
                if layer.gamma is not None:
                    layer.gamma.assign(generator.uniform(0.5, 1.5, size=shape))
                layer.beta.assign(generator.normal(size=shape))
        report = export.convert(model, verify_on=inputs, **options)
        assert report.verification.max_abs_diff <= atol
        if _RUNTIME and isinstance(inputs, np.ndarray):
            _check_the_runtime(report.tflite, inputs)
        return report, export.audit(report.tflite).operators

    return run
