"""Networks of Larq Zoo with a quantizer of ours convert, and answer as Keras does."""

import numpy as np
import pytest
import tensorflow as tf

import larq_equalbits as lqe
from larq_equalbits import export
from larq_equalbits.quantizers import BiHalf

# Below 65 pixels the last stages are smaller than their window.
SIZE = 96
# name: layers that become binary
NETWORKS = {"QuickNet": 16, "BiRealNet": 16, "RealToBinaryNet": 16, "BinaryDenseNet28": 23}


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_of_larq_zoo_with_bi_half_converts(name):
    reason = "larq-zoo is not installed: pip install --no-deps larq-zoo zookeeper typeguard"
    zoo = pytest.importorskip("larq_zoo", reason=reason)
    tf.keras.utils.set_random_seed(0)
    builder = getattr(zoo.sota, name, None) or getattr(zoo.literature, name)
    model = builder(weights=None, input_shape=(SIZE, SIZE, 3), num_classes=10)
    twin = lqe.binarize(model)
    quantizers = [getattr(layer, "kernel_quantizer", None) for layer in twin._flatten_layers()]
    assert all(one is None or isinstance(one, BiHalf) for one in quantizers)
    assert sum(row.binary for row in twin.binarization.layers) == NETWORKS[name]
    assert all(row.reason for row in twin.binarization.layers if row.weights and not row.binary)
    generator = np.random.default_rng(1)
    for layer in twin._flatten_layers():
        if isinstance(layer, tf.keras.layers.BatchNormalization):
            layer.moving_mean.assign(generator.normal(size=layer.moving_mean.shape))
    images = generator.normal(size=(4, SIZE, SIZE, 3)).astype("float32")
    report = export.convert(twin, verify_on=images)
    assert sum(row.binary for row in report.layers) == NETWORKS[name]
    assert report.verification.max_abs_diff <= 1e-3
