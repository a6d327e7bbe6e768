"""Layers that choose their zeros together: one threshold, whichever of them an optimizer updates."""

import larq
import numpy as np
import pytest
import tensorflow as tf

from larq_equalbits import pruning
from larq_equalbits._bits import kernels


def three_layers():
    return tf.keras.Sequential(
        [
            tf.keras.Input((16,)),
            *(larq.layers.QuantDense(8, kernel_quantizer="bi_half", name=name) for name in ("a", "b", "c")),
        ]
    )


def fit(model, updates):
    x = np.random.default_rng(0).normal(size=(8 * updates, 16))
    model.compile("sgd", "mse")
    model.fit(x, x[:, :8], batch_size=8, verbose=0)


def share_of_zeros(model):
    found = kernels.quantized_kernels(model)
    return float(np.mean(np.concatenate([kernel.codes().ravel() == 0 for kernel in found])))


@pytest.mark.parametrize("criterion", ["magnitude", "score"])
@pytest.mark.parametrize("frozen", ["a", "b", "c"])
def test_the_choice_goes_on_where_a_layer_is_frozen(frozen, criterion):
    model = pruning.prune(three_layers(), 0.5, criterion, scope="network", schedule=pruning.CubicRamp(0, 4))
    model.get_layer(frozen).trainable = False
    fit(model, 5)
    assert int(model.get_layer(frozen).step) == 0
    assert share_of_zeros(model) == 0.5


def test_another_layer_may_be_frozen_later():
    model = pruning.prune(
        three_layers(), 0.5, "magnitude", scope="network", schedule=pruning.Polynomial(0, 4)
    )
    model.get_layer("c").trainable = False
    fit(model, 2)
    assert share_of_zeros(model) == 0.25
    model.get_layer("c").trainable, model.get_layer("a").trainable = True, False
    fit(model, 2)
    # The largest count of updates is b's.
    assert [int(model.get_layer(name).step) for name in "abc"] == [2, 4, 2]
    assert share_of_zeros(model) == 0.5
