import math

import numpy as np
import pytest
import tensorflow as tf

from larq_equalbits._errors import InputError
from larq_equalbits.metrics import BitEntropy, BitFlips


def entropy(codes):
    shares = [np.mean(codes == code) for code in np.unique(codes)]
    return -sum(share * math.log2(share) for share in shares)


@pytest.mark.parametrize("scale", [0.01, 1.0, 100.0])
def test_both_stream_over_updates_and_ignore_the_scale(scale):
    rng = np.random.default_rng(3)
    kernels = [rng.normal(0.1, 1, (3, 3, 4, 8)).astype("float32") for _ in range(4)]
    bits, flips = BitEntropy(), BitFlips()
    for kernel in kernels:
        bits.update_state(scale * kernel)
        flips.update_state(scale * kernel)
    codes = np.sign(np.stack(kernels))
    assert bits.result().numpy() == pytest.approx(entropy(codes), abs=1e-6)
    assert flips.result().numpy() == pytest.approx(np.mean(codes[1:] != codes[:-1]), abs=1e-6)


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


@pytest.mark.parametrize("metric", [BitEntropy(), BitFlips()])
def test_a_reset_empties_both_and_flips_keep_the_codes(metric):
    metric.update_state([1.0, 1.0])
    metric.update_state([-1.0, 1.0])
    metric.reset_state()
    assert metric.result() == 0.0
    metric.update_state([1.0, -1.0])
    assert metric.result() == 1.0


TWO_REPLICAS = """
import tensorflow as tf
from larq_equalbits.metrics import BitEntropy, BitFlips
from programs.train_small import replicas
strategy = replicas(2)
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
    finished = run_script(TWO_REPLICAS)
    values = [float(value) for value in finished.stdout.split()]
    assert values == pytest.approx([entropy(np.array([1] * 6 + [-1] * 2)), 0, 1, 1, 0], abs=1e-6)


@pytest.mark.parametrize(
    ("alias", "metric"),
    [("bit_entropy", BitEntropy(zeros=True, name="e")), ("bit_flips", BitFlips(shape=(2, 3), name="f"))],
)
def test_alias_and_configuration_give_the_same_kind(alias, metric):
    assert isinstance(tf.keras.metrics.deserialize({"class_name": alias, "config": {}}), type(metric))
    copy = tf.keras.metrics.deserialize(tf.keras.metrics.serialize(metric))
    assert type(copy) is type(metric)
    assert copy.get_config() == metric.get_config()


def test_errors():
    metric = BitFlips(shape=(2,))
    with pytest.raises(InputError, match=r"shape \(2,\).*\(3,\)"):
        metric.update_state([1.0, 1.0, 1.0])
    for metric in (BitEntropy(), BitFlips()):
        with pytest.raises(InputError, match="sample_weight"):
            metric.update_state([1.0, 1.0], sample_weight=[1.0, 0.0])
