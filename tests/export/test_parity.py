"""Every network of the zoo, trained for a few steps, gives 256 real images the class that Keras gives them."""

import functools
import itertools

import numpy as np
import pytest
import tensorflow as tf
from small import slow_but

from larq_equalbits import data, export, zoo

KERNELS = (tf.keras.layers.Conv2D, tf.keras.layers.DepthwiseConv2D, tf.keras.layers.Dense)
QUANTIZERS = ("bi_half", "siman", "ir_net", "rbnn", "ste_sign")
# Keras compiled by XLA gives as many images another class than Keras: see scripts/benchmarks/parity.py.
ROUNDED = 2
FAST = [("conv2", "bi_half", True), ("vgg_small", "ste_sign", False)]
CASES = list(itertools.product(zoo.list_models(), QUANTIZERS, (True, False)))


@functools.cache
def photographs():
    """Handwritten digits in the size and the channels of small photographs."""
    digits = data.load("digits", batch_size=256)
    images, labels = next(iter(digits.train))
    tests, _ = next(iter(digits.test))
    images, tests = (
        np.repeat(tf.image.resize(each, (32, 32)).numpy(), 3, axis=-1) for each in (images[:192], tests)
    )
    return images, labels.numpy()[:192], tests


@pytest.mark.parametrize("case", slow_but(FAST, CASES), ids=lambda case: "-".join(map(str, case)))
def test_the_file_answers_as_keras_does(case):
    name, quantizer, binary = case
    images, labels, tests = photographs()
    tf.keras.utils.set_random_seed(0)
    options = {"quantizer": quantizer, "binarize_activations": binary, "width": 0.25}
    model = zoo.get(name)(input_shape=(32, 32, 3), num_classes=10, **options)
    model.compile(tf.keras.optimizers.SGD(0.01, 0.9), "sparse_categorical_crossentropy")
    model.fit(images, labels, batch_size=32, epochs=1, verbose=0)
    # Only signs of activations turn a rounding into another bit, and only of a value next to 0.
    report = export.convert(model, verify_on=tests, tolerance=ROUNDED / 256 if binary else 0)
    assert report.verification.images == 256
    if report.verification.differing:
        assert report.verification.first_difference.startswith("no layer alone differs")
    weighted = [layer.name for layer in model.layers if isinstance(layer, KERNELS)]
    assert {layer.name for layer in report.layers} == set(weighted)
    assert any(layer.expected for layer in report.layers) is binary
    assert all(layer.binary for layer in report.layers if layer.expected)
    tf.keras.backend.clear_session()
