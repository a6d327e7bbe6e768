"""The fast signs of activations compute what Larq's own do."""

import larq
import numpy as np
import pytest
import tensorflow as tf

from larq_equalbits import export
from larq_equalbits.quantizers import FastApproxSign, FastSteSign, activations

PAIRS = [
    (FastSteSign(), larq.quantizers.SteSign()),
    (FastSteSign(clip_value=0.5), larq.quantizers.SteSign(clip_value=0.5)),
    (FastSteSign(clip_value=None), larq.quantizers.SteSign(clip_value=None)),
    (FastApproxSign(), larq.quantizers.ApproxSign()),
]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float64"])
@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: f"{type(pair[1]).__name__}")
def test_codes_and_gradients_are_larqs(pair, dtype):
    edges = [-2.0, -1.0, -0.5, -0.0, 0.0, 0.5, 1.0, 1.0000001, 3.0]
    values = np.concatenate([edges, np.random.default_rng(0).normal(size=1000)])
    x = tf.cast(tf.constant(values), dtype)
    upstream = tf.cast(tf.constant(np.random.default_rng(1).normal(size=x.shape)), dtype)
    found = []
    for quantizer in pair:
        quantizer = type(quantizer).from_config({**quantizer.get_config(), "dtype": dtype})
        with tf.GradientTape() as tape:
            tape.watch(x)
            codes = quantizer(x)
        found.append((codes.numpy(), tape.gradient(codes, x, upstream).numpy()))
    np.testing.assert_array_equal(found[0][0], found[1][0])
    tolerance = {"bfloat16": 2e-2, "float32": 1e-6, "float64": 1e-12}[dtype]
    ours, larqs = (each[1].astype("float64") for each in found)
    np.testing.assert_allclose(ours, larqs, rtol=tolerance, atol=tolerance)


def test_only_larqs_own_signs_have_a_twin():
    class Own(larq.quantizers.SteSign):
        """A subclass, which may compute anything."""

    assert type(activations.fast(larq.quantizers.ApproxSign())) is FastApproxSign
    assert activations.fast(larq.quantizers.SteSign(clip_value=0.5)).clip_value == 0.5
    for other in (Own(), larq.quantizers.SwishSign(), FastSteSign(), None):
        assert activations.fast(other) is other


@pytest.mark.parametrize("alias", ["fast_ste_sign", "fast_approx_sign"])
def test_a_model_with_them_saves_and_converts_to_binary_operators(alias, tmp_path):
    def convolution(name, **options):
        options = {"input_quantizer": alias, "kernel_quantizer": "bi_half", **options}
        return larq.layers.QuantConv2D(32, 3, pad_values=1, padding="same", name=name, **options)

    # What cannot change a sign disappears before it, as before Larq's own.
    layers = [tf.keras.Input((8, 8, 32)), convolution("a", activation="hard_tanh"), convolution("b")]
    model = tf.keras.Sequential(layers)
    images = np.random.default_rng(0).normal(size=(4, 8, 8, 32)).astype("float32")
    model.save(tmp_path / "model.keras")
    loaded = tf.keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.predict(images, verbose=0), model.predict(images, verbose=0))
    report = export.convert(loaded, verify_on=images)
    rows = {layer.name: layer for layer in report.layers}
    assert {rows[name].operator for name in "ab"} == {"LceBconv2d"}
    assert "hard tanh taken away before a sign" in rows["a"].rewrite
