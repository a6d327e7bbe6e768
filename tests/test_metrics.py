import math

import numpy as np
import pytest
import tensorflow as tf

from larq_equalbits._errors import InputError
from larq_equalbits.metrics import BitEntropy, BitFlips


def entropy(codes):
    shares = [np.mean(codes == code) for code in np.unique(codes)]
    return -sum(share * math.log2(share) for share in shares)


@pytest.fixture
def kernels(rng_seed=3):
    rng = np.random.default_rng(rng_seed)
    return [rng.normal(0.1, 1, (3, 3, 4, 8)).astype("float32") for _ in range(4)]


@pytest.mark.parametrize("scale", [0.01, 1.0, 100.0])
def test_entropy_streams_over_updates_and_ignores_scale(kernels, scale):
    metric = BitEntropy()
    for kernel in kernels:
        metric.update_state(scale * kernel)
    assert metric.result().numpy() == pytest.approx(entropy(np.sign(np.stack(kernels))), abs=1e-6)


def test_entropy_of_equal_counts_is_exactly_one():
    metric = BitEntropy(dtype="float64")
    metric.update_state(tf.tile([[1.0, -1.0]], [27, 31]))
    assert metric.result().numpy() == 1.0


def test_zeros_are_left_out_or_a_third_symbol():
    values = [1.0, -1.0, 0.0, 0.0]
    bits, symbols = BitEntropy(), BitEntropy(zeros=True)
    bits.update_state(values)
    symbols.update_state(values)
    assert bits.result() == 1.0
    assert symbols.result() == 1.5


@pytest.mark.parametrize("metric", [BitEntropy(), BitEntropy(zeros=True), BitFlips()])
def test_nothing_seen_gives_zero(metric):
    assert metric.result().numpy() == 0.0


@pytest.mark.parametrize("scale", [0.01, 1.0, 100.0])
def test_flips_are_the_mean_over_updates(kernels, scale):
    metric = BitFlips()
    for kernel in kernels:
        metric.update_state(scale * kernel)
    pairs = zip(kernels[1:], kernels, strict=False)
    expected = np.mean([np.mean(np.sign(new) != np.sign(old)) for new, old in pairs])
    assert metric.result().numpy() == pytest.approx(expected, abs=1e-6)


def test_a_reset_empties_the_mean_and_keeps_the_codes():
    metric = BitFlips()
    metric.update_state([1.0, 1.0])
    metric.update_state([-1.0, 1.0])
    metric.reset_state()
    assert metric.result() == 0.0
    metric.update_state([1.0, -1.0])
    assert metric.result() == 1.0


def test_entropy_resets_as_every_metric():
    metric = BitEntropy()
    metric.update_state([1.0, -1.0])
    metric.reset_state()
    metric.update_state([1.0, 1.0])
    assert metric.result() == 0.0


def test_in_a_graph(kernels):
    metric = BitFlips(shape=kernels[0].shape)

    @tf.function
    def update(values):
        metric.update_state(values)

    for kernel in kernels[:2]:
        update(kernel)
    expected = np.mean(np.sign(kernels[0]) != np.sign(kernels[1]))
    assert metric.result().numpy() == pytest.approx(expected, abs=1e-6)


TWO_REPLICAS = """
import tensorflow as tf
from larq_equalbits.metrics import BitEntropy, BitFlips
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
with strategy.scope():
    entropy, flips = BitEntropy(), BitFlips(shape=(4,))
parts = tf.constant([[1.0, 1.0, 1.0, 1.0], [1.0, 1.0, -1.0, -1.0]])

@tf.function
def update(sign):
    values = sign * parts[tf.distribute.get_replica_context().replica_id_in_sync_group]
    entropy.update_state(values)
    flips.update_state(values)

strategy.run(update, args=(1.0,))
print(float(entropy.result()), float(flips.result()))
strategy.run(update, args=(-1.0,))
print(float(entropy.result()), float(flips.result()))
flips.reset_state()
strategy.run(update, args=(-1.0,))
print(float(flips.result()))
"""


def test_counts_of_replicas_add_up(run_script):
    finished = run_script("import larq_equalbits" + TWO_REPLICAS)
    values = [float(value) for value in finished.stdout.split()]
    assert values == pytest.approx([entropy(np.array([1] * 6 + [-1] * 2)), 0, 1, 1, 0], abs=1e-6)


@pytest.mark.parametrize("metric", [BitEntropy(zeros=True, name="e"), BitFlips(shape=(2, 3), name="f")])
def test_config_round_trip(metric):
    copy = tf.keras.metrics.deserialize(tf.keras.metrics.serialize(metric))
    assert type(copy) is type(metric)
    assert copy.get_config() == metric.get_config()


@pytest.mark.parametrize(("alias", "kind"), [("bit_entropy", BitEntropy), ("bit_flips", BitFlips)])
def test_found_by_alias(alias, kind):
    assert isinstance(tf.keras.metrics.deserialize({"class_name": alias, "config": {}}), kind)


def test_errors():
    metric = BitFlips(shape=(2,))
    with pytest.raises(InputError, match=r"shape \(2,\).*\(3,\)"):
        metric.update_state([1.0, 1.0, 1.0])
    for metric in (BitEntropy(), BitFlips()):
        with pytest.raises(InputError, match="sample_weight"):
            metric.update_state([1.0, 1.0], sample_weight=[1.0, 0.0])
