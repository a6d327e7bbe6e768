"""Exported pruned models: what Keras computes, by binary convolutions alone, at twice the size of one at most."""

import functools

import larq
import numpy as np
import pytest
import tensorflow as tf
from small import slow_but, stack

from larq_equalbits import callbacks, data, export, pruning, zoo
from larq_equalbits._bits.kernels import quantized_kernels

pytest.importorskip("larq_compute_engine")

layers = larq.layers
BINARY = {"input_quantizer": "ste_sign", "kernel_quantizer": "bi_half", "use_bias": False}
CHANNELS, FILTERS = 32, 8
WEIGHTS = 9 * CHANNELS


def convolution(**arguments):
    return layers.QuantConv2D(FILTERS, 3, **{**BINARY, "padding": "same", "pad_values": 1, **arguments})


model_of = functools.partial(stack, shape=(6, 6, CHANNELS))


def exported(model):
    """The report; asserts that the file computes what Keras does, and by binary convolutions alone."""
    inputs = np.random.default_rng(1).normal(size=(3, *model.input_shape[1:])).astype("float32")
    report = export.convert(model, verify_on=inputs)
    assert report.layers and all(row.binary for row in report.layers)
    for row in report.layers:
        assert set(row.operator.split(" + ")) == {"LceBconv2d"}
    return report


@pytest.mark.parametrize("sparsity", [0, 0.5, 1 - 1 / WEIGHTS])
@pytest.mark.parametrize("pad_values", [0, 1])
def test_one_convolution_is_exact(sparsity, pad_values):
    model = pruning.prune(model_of(convolution(pad_values=pad_values)), sparsity, "magnitude")
    report = exported(model)
    assert report.verification.max_abs_diff == 0
    assert report.layers[0].operator == ("LceBconv2d + LceBconv2d" if sparsity else "LceBconv2d")


def some_mask(kernel):
    return np.abs(kernel) > np.median(np.abs(kernel))


@pytest.mark.parametrize("strip", [False, True])
@pytest.mark.parametrize("criterion", ["rank", "magnitude", "score", some_mask])
def test_every_criterion_wrapped_and_stripped(criterion, strip):
    model = pruning.prune(model_of(convolution()), 0.5, criterion)
    report = exported(pruning.strip(model) if strip else model)
    # The scale of "score" is no power of two: the sum of two halves is rounded.
    limit = 1e-4 if criterion == "score" else 0
    assert report.verification.max_abs_diff <= limit
    assert report.layers[0].operator == "LceBconv2d + LceBconv2d"


GEOMETRIES = ({"padding": "valid"}, {"strides": 2}, {"dilation_rate": 2}, {"strides": 2, "pad_values": 0})
SEPARABLE = {"depthwise_quantizer": "bi_half", "pointwise_quantizer": "bi_half"}


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        *((convolution(**each), (6, 6, CHANNELS)) for each in GEOMETRIES),
        (layers.QuantDense(FILTERS, **BINARY), (64,)),
        (layers.QuantConv1D(FILTERS, 3, **BINARY), (8, CHANNELS)),
        (
            layers.QuantSeparableConv2D(FILTERS, 3, input_quantizer="ste_sign", use_bias=False, **SEPARABLE),
            (6, 6, CHANNELS),
        ),
    ],
    ids=[*map(str, GEOMETRIES), "dense", "conv1d", "separable"],
)
def test_other_geometries_and_layers_are_exact(layer, shape):
    report = exported(pruning.prune(model_of(layer, shape=shape), 0.5))
    assert report.verification.max_abs_diff == 0
    assert report.layers[0].operator == "LceBconv2d + LceBconv2d"


@pytest.mark.parametrize("strip", [False, True])
def test_batch_norm_leaves_one_add(strip):
    norm = tf.keras.layers.BatchNormalization
    model = model_of(convolution(), norm())
    random = np.random.default_rng(0)
    gamma, variance = random.uniform(0.5, 2, (2, FILTERS))
    model.layers[1].set_weights([gamma, *random.normal(size=(2, FILTERS)), variance])
    model = pruning.prune(model, 0.5)
    report = exported(pruning.strip(model) if strip else model)
    assert report.verification.max_abs_diff < 1e-4
    operators = export.audit(report.tflite).operators
    assert operators["ADD"] == 1 and operators["LceBconv2d"] == 2 and "MUL" not in operators


@pytest.mark.slow
def test_size_is_at_most_twice_one_convolution():
    model = model_of(layers.QuantConv2D(256, 3, **BINARY), shape=(8, 8, 256))
    one, two = (len(exported(each).tflite) for each in (model, pruning.prune(model, 0.5)))
    assert two <= 2.05 * one


EVERY = slow_but({"rank"}, ("rank", "magnitude", "score"))


@pytest.fixture(scope="module")
def trained():
    """A network, and the digits that it has seen once."""
    digits = data.load("digits")
    # Its normalization comes after the pooling and moves before it, into both kernels.
    network = zoo.conv2(input_shape=digits.input_shape, num_classes=digits.num_classes, width=0.25)
    network.compile("adam", "sparse_categorical_crossentropy")
    network.fit(digits.train, epochs=1, verbose=0)
    return network, digits


@pytest.mark.parametrize("sparsity", slow_but({0.5}, (0.5, 0, 0.1, 0.9, "all but one")))
@pytest.mark.parametrize("criterion", EVERY)
def test_a_trained_network_keeps_its_classes(trained, criterion, sparsity):
    network, digits = trained
    if sparsity == "all but one":
        # Of the largest filter, and so of every one.
        sparsity = 1 - 1 / max(kernel.latent()[..., 0].size for kernel in quantized_kernels(network))
    report = export.convert(pruning.prune(network, sparsity, criterion), verify_on=digits.test)
    assert report.verification.images == digits.num_test
    assert report.verification.argmax_agreement == 1
    assert all(layer.binary for layer in report.layers if layer.expected)


@pytest.mark.parametrize("criterion", EVERY)
def test_the_logger_shows_that_the_balance_is_kept(trained, criterion):
    network, digits = trained
    pruned = pruning.prune(network, 0.5, criterion)
    pruned.compile("adam", "sparse_categorical_crossentropy")
    history = pruned.fit(digits.train, epochs=1, verbose=0, callbacks=[callbacks.BitLogger()]).history
    # Of an odd number of survivors one more is +1.
    assert history["positive_ratio"][-1] == pytest.approx(0.5, abs=0.02)
    assert history["sparsity"][-1] == pytest.approx(0.5, abs=0.02)
