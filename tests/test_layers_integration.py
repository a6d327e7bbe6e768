import json
import logging
from pathlib import Path

import forking
import larq as lq
import numpy as np
import pytest
import tensorflow as tf
from small import LAYERS, precision, slow_but, stack

from larq_equalbits import pruning
from larq_equalbits._bits.kernels import quantized_kernels
from larq_equalbits.callbacks import schedules
from larq_equalbits.quantizers import BiHalf

PROGRAM = Path(__file__).parent / "programs" / "train_quantizers.py"
ALIASES = ["bi_half", "siman", "ir_net", "rbnn"]
# One of them everywhere by default: what the others need of a layer or a type is the same.
FIRST_QUICK = slow_but({"bi_half"}, ALIASES)
L = lq.layers


@pytest.fixture
def starved(caplog):
    caplog.set_level(logging.WARNING, "larq.layers_base")
    return lambda: [record for record in caplog.records if "starved" in record.message]


def assert_bits(model, alias):
    """Every code is -1 or +1, and the quantizers that balance do so in each filter."""
    for kernel in quantized_kernels(model):
        codes = kernel.codes().reshape(-1, kernel.codes().shape[-1])
        assert (np.abs(codes) == 1).all()
        if alias in ("bi_half", "siman"):
            assert ((codes == 1).sum(axis=0) == (len(codes) + (alias == "bi_half")) // 2).all()


@pytest.mark.parametrize("alias", FIRST_QUICK)
@pytest.mark.parametrize("name", LAYERS)
def test_every_layer_trains_with_bits_and_no_warning(name, alias, starved):
    make, shape = LAYERS[name]
    model = stack(make(alias), shape=shape)
    model.compile(tf.keras.optimizers.SGD(0.1), "mse")
    images = np.random.default_rng(0).normal(size=(4, *shape)).astype(np.float32)
    model.fit(images, np.zeros((4, *model.output_shape[1:])), verbose=0)
    assert_bits(model, alias)
    assert all(kernel.variable.precision == 1 for kernel in quantized_kernels(model))
    assert not starved()


def test_larq_still_warns_of_its_own_quantizers(starved):
    L.QuantDense(2, kernel_quantizer="bi_half")
    assert not starved()
    L.QuantDense(2, kernel_quantizer="ste_sign")
    assert len(starved()) == 1
    L.QuantDense(2, kernel_quantizer="ste_sign", kernel_constraint="weight_clip")
    assert len(starved()) == 1


@pytest.mark.parametrize("granularity", ["weight", "filter"])
def test_a_pruned_layer_brings_no_warning_of_its_own(granularity, starved):
    pruned = pruning.PrunedBinary(L.QuantDense(2, kernel_quantizer="bi_half"), 0.5, granularity=granularity)
    pruned.build((None, 8))
    pruned.stripped()
    assert not starved()


def network(quantizer, constraint="magnitude_clip"):
    return stack(
        L.QuantConv2D(4, 3, kernel_quantizer=quantizer, kernel_constraint=constraint, use_bias=False),
        tf.keras.layers.Flatten(),
        L.QuantDense(3, kernel_quantizer=quantizer, input_quantizer="ste_sign"),
        shape=(8, 8, 2),
    )


IMAGES = np.random.default_rng(0).normal(size=(4, 8, 8, 2)).astype(np.float32)


@pytest.fixture(scope="module", params=ALIASES)
def trained(request):
    model = network(request.param)
    model.compile("sgd", "mse")
    decay = [schedules.ErrorDecay(t_min=0.1)] if request.param in ("ir_net", "rbnn") else []
    model.fit(IMAGES, np.zeros((4, 3)), epochs=2, verbose=0, callbacks=[*decay, schedules.PercentileDecay()])
    return model


@pytest.mark.parametrize("suffix", [".h5", ".keras", ""])
def test_models_load_without_custom_objects(trained, suffix, tmp_path):
    trained.save(tmp_path / f"model{suffix}")
    again = tf.keras.models.load_model(tmp_path / f"model{suffix}")
    np.testing.assert_allclose(again(IMAGES), trained(IMAGES), rtol=1e-5)
    for before, after in zip(quantized_kernels(trained), quantized_kernels(again), strict=True):
        assert type(after.quantizer) is type(before.quantizer)
        assert after.quantizer.get_config() == before.quantizer.get_config()
    assert again.layers[0].kernel_constraint.get_config() == {"percentile": 7.5}


@pytest.mark.parametrize("alias", ALIASES)
def test_summary_shows_one_bit(alias, capsys):
    model = network(alias)
    lq.models.summary(model)
    assert model.layers[0].kernel.precision == 1
    assert "# 1-bit" in capsys.readouterr().out
    # RBNN's angles and rotations are 32-bit weights of the training; the device has none.
    assert len(model.weights) == (3 + 2 * 3 if alias == "rbnn" else 3)


def test_a_failed_call_leaves_the_latent_weights_to_be_read():
    model = stack(L.QuantDense(4, kernel_quantizer="bi_half", name="dense"), shape=(6,))
    latent = model.get_weights()[0]
    for scope in (True, False):
        with pytest.raises(ValueError, match="incompatible"), lq.context.quantized_scope(scope):
            model(tf.zeros((2, 5)))
        assert not lq.context.should_quantize()
    with pytest.raises(tf.errors.InvalidArgumentError):
        model.get_layer("dense").call(tf.zeros((2, 5)))
    np.testing.assert_array_equal(model.get_weights()[0], latent)


def test_flip_ratio_reads_true_flips_below_a_scale_of_one():
    with lq.context.metrics_scope(["flip_ratio"]):
        model = stack(L.QuantDense(1, kernel_quantizer=BiHalf(scale=0.1), use_bias=False), shape=(4,))
    model.compile(tf.keras.optimizers.SGD(0.0), "mse")
    layer = model.layers[0]
    metric = layer.kernel_quantizer.flip_ratio
    for kernel in ([4, 3, 2, 1], [1, 2, 3, 4], [1, 2, 4, 3]):
        layer.kernel.latent_variable.assign(np.array(kernel, np.float32)[:, np.newaxis])
        model(np.ones((1, 4), np.float32))
    assert metric.result().numpy() == pytest.approx((1.0 + 0.0) / 2)


@pytest.mark.parametrize("alias", FIRST_QUICK)
@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("policy", ["float64", "mixed_bfloat16", "mixed_float16"])
def test_policies_and_compilation(policy, jit, alias):
    with precision(policy):
        model = network(alias, constraint="equal_bits" if alias == "bi_half" else None)
    model.compile("sgd", "mse", jit_compile=jit)
    history = model.fit(IMAGES, np.zeros((4, 3)), verbose=0)
    assert np.isfinite(history.history["loss"]).all()
    assert_bits(model, alias)


def test_codes_are_those_that_a_layer_of_mixed_precision_computes_with():
    with precision("mixed_bfloat16"):
        layer = L.QuantDense(32, kernel_quantizer=BiHalf(0.3), use_bias=False)
        model = stack(layer, shape=(512,))
    (kernel,) = quantized_kernels(model)
    # Rounded weights rank by position where they are equal.
    np.testing.assert_array_equal(kernel.codes(), np.sign(tf.cast(model(tf.eye(512)), tf.float32)))


def test_every_quantizer_trains_alike_on_replicas(tmp_path):
    workers = [f"127.0.0.1:{port}" for port in forking.free_ports(2)]
    runs = [("single", {}), ("mirrored", {})]
    for index in range(2):
        cluster = {"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}}
        runs.append(("multiworker", {"TF_CONFIG": json.dumps(cluster)}))
    outs = [tmp_path / f"{index}.npz" for index in range(len(runs))]
    processes = []
    for out, (strategy, environment) in zip(outs, runs, strict=True):
        log = out.with_suffix(".log")
        processes.append(forking.start(PROGRAM, out, strategy, outputs=(log, log), **environment))
    assert [forking.ended(process) for process in processes] == [0] * len(runs)
    alone, *others = map(np.load, outs)
    for other in others:
        for name in alone:
            if name.startswith("codes"):
                np.testing.assert_array_equal(np.sign(other[name]), np.sign(alone[name]))
            else:
                np.testing.assert_allclose(other[name], alone[name], rtol=1e-4, atol=1e-6)
    assert (alone["codes bi_half"] == 1).sum() == 18
    assert (alone["codes siman"] == 1).sum() == 18
