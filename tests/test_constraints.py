import larq as lq
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from larq_equalbits._errors import InputError
from larq_equalbits.constraints import EqualBits, MagnitudeClip
from larq_equalbits.quantizers import BiHalf

DRAWS = [
    lambda kernel: kernel,
    np.round,
    np.zeros_like,
    lambda kernel: kernel * np.float32(1e-42),
    lambda kernel: kernel * np.float32(5e37),
    lambda kernel: 1 + kernel * np.float32(1e-7),
]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 100), st.sampled_from(DRAWS))
def test_equal_bits_then_ste_sign_is_bi_half(seed, percent, draw):
    kernel = draw(np.random.default_rng(seed).normal(size=(3, 3, 2, 5)).astype(np.float32))
    shifted = EqualBits(percent / 100)(kernel)
    np.testing.assert_array_equal(lq.quantizers.SteSign()(shifted), BiHalf(percent / 100)(kernel))


@pytest.mark.parametrize("special", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("share", [0.1, 0.7, 1.0])
def test_equal_bits_of_weights_that_are_not_finite(special, share):
    rng = np.random.default_rng(0)
    kernel = np.where(rng.random((40, 6)) < share, special, rng.normal(size=(40, 6))).astype(np.float32)
    shifted = EqualBits(0.3)(kernel).numpy()
    nan = np.isnan(shifted)
    assert not (nan & ~np.isnan(kernel)).any()
    codes = np.where(shifted >= 0, 1, -1)
    np.testing.assert_array_equal(codes[~nan], BiHalf(0.3)(kernel).numpy()[~nan])


@pytest.mark.parametrize("percentile", [0.0, 5.0, 15.0])
@pytest.mark.parametrize("shape", [(3, 3, 4, 5), (1, 1, 300, 250)])
def test_magnitude_clip_is_its_formula(shape, percentile):
    kernel = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    centred = kernel - kernel.mean(axis=(0, 1, 2))
    low, high = np.percentile(np.abs(centred), [percentile, 100 - percentile])
    expected = np.sign(centred) * np.clip(np.abs(centred), low, high)
    np.testing.assert_allclose(MagnitudeClip(percentile)(kernel), expected, atol=1e-6)


@pytest.mark.parametrize("constraint", [EqualBits(0.3), MagnitudeClip(7.0)], ids=lambda c: type(c).__name__)
def test_configurations_round_trip(constraint):
    again = tf.keras.constraints.deserialize(tf.keras.constraints.serialize(constraint))
    assert type(again) is type(constraint)
    assert again.get_config() == constraint.get_config()


@pytest.mark.parametrize("constraint", [EqualBits(), MagnitudeClip()], ids=lambda c: type(c).__name__)
@pytest.mark.parametrize("shape", [(), (3,), (0, 2)])
def test_a_kernel_without_filters_is_refused(constraint, shape):
    with pytest.raises(InputError, match="kernel must have"):
        constraint(np.zeros(shape, np.float32))
