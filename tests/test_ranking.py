import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from larq_equalbits._errors import InputError
from larq_equalbits._ranking import bisection, ranking
from larq_equalbits._ranking.compiled import by_xla
from larq_equalbits._ranking.keys import rank_keys

SHAPES = [(1, 2), (5, 3), (3, 3, 2, 4)]
TYPES = [np.float16, tf.bfloat16.as_numpy_dtype, np.float32, np.float64]
SPECIAL = [0.0, -0.0, 1e-45, -1e-45, 1e-40, 1.0, -1.0, 3e38, -3e38, np.inf, -np.inf, np.nan]


def top_by_sorting(kernel, count, granularity="filter"):
    columns = kernel.shape[-1] if granularity == "filter" else 1
    flat = kernel.astype(np.float64).reshape(-1, columns)
    order = np.argsort(flat, axis=0, kind="stable")
    mask = np.zeros(flat.shape, bool)
    np.put_along_axis(mask, order[len(flat) - count :], True, axis=0)
    return mask.reshape(kernel.shape)


weights = st.sampled_from([np.float32(v) for v in SPECIAL]) | st.floats(width=32, allow_nan=True)
kernels = st.sampled_from(SHAPES).flatmap(lambda shape: hnp.arrays(np.float32, shape, elements=weights))


@settings(max_examples=80, deadline=None)
@given(kernels, st.floats(0, 1), st.sampled_from(ranking.GRANULARITIES))
def test_top_mask_is_what_a_stable_sort_gives(kernel, share, granularity):
    count = round(share * ranking.filter_size(kernel.shape, granularity))
    expected = top_by_sorting(kernel, count, granularity)
    np.testing.assert_array_equal(ranking.top_mask(kernel, count, granularity), expected)


# More than 4,096 weights are not sorted; of the last kernel, all filters are taken at once.
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("shape", [*((size, 6) for size in (1, 2, 15, 16, 33, 200)), (80, 128), (300, 251)])
def test_every_type_and_size(dtype, shape):
    rng, size = np.random.default_rng(shape[0]), shape[0]
    for draw in (rng.normal(size=shape), np.round(rng.normal(size=shape)), np.zeros(shape)):
        kernel = draw.astype(dtype)
        for count in {0, 1, size // 2, size - 1, size}:
            np.testing.assert_array_equal(ranking.top_mask(kernel, count), top_by_sorting(kernel, count))


def test_denormal_weights_of_every_type_rank_by_their_bits():
    for dtype, bits in [(np.float16, np.uint16), (np.float32, np.uint32), (np.float64, np.uint64)]:
        kernel = np.random.default_rng(0).permutation(40).astype(bits).view(dtype).reshape(20, 2)
        kernel[::3] *= -1
        np.testing.assert_array_equal(ranking.top_mask(kernel, 7), top_by_sorting(kernel, 7))


def test_float64_keeps_the_order_that_float32_loses():
    kernel = 1 + np.random.default_rng(0).permutation(64).reshape(32, 2) * 2.0**-50
    np.testing.assert_array_equal(ranking.top_mask(kernel, 11), top_by_sorting(kernel, 11))


@pytest.mark.parametrize(
    "draw",
    [
        lambda rng, shape: rng.laplace(size=shape),
        lambda rng, shape: rng.normal(size=shape) + 3 * rng.choice([-1, 1], shape),
        lambda rng, shape: np.exp(20 * rng.normal(size=shape)),
        lambda rng, shape: rng.choice([-1.0, 0.0, 1.0], shape),
        lambda rng, shape: np.clip(rng.normal(size=shape), -0.5, 0.5),
        lambda rng, shape: rng.standard_cauchy(shape) * 1e30,
    ],
    ids=["laplace", "bimodal", "log-normal", "three values", "clipped", "heavy tails"],
)
def test_a_poor_estimate_costs_no_exactness(draw):
    kernel = draw(np.random.default_rng(3), (300, 250)).astype(np.float32)
    for count in (90, 299):
        np.testing.assert_array_equal(ranking.top_mask(kernel, count), top_by_sorting(kernel, count))


@pytest.mark.parametrize("shape", [(80, 128), (300, 250)])
@pytest.mark.parametrize("special", [np.nan, np.inf, -np.inf, 1e-45, -0.0])
def test_large_kernels_of_special_values(special, shape):
    rng = np.random.default_rng(0)
    kernel = np.where(rng.random(shape) < 0.3, special, rng.choice([-1, 0, 1e-42, 3e38], shape))
    kernel = kernel.astype(np.float32)
    for count in (0, 1, shape[0] // 2, shape[0]):
        np.testing.assert_array_equal(ranking.top_mask(kernel, count), top_by_sorting(kernel, count))


def test_a_tall_filter_is_counted_beyond_16_bits():
    kernel = np.random.default_rng(0).normal(size=(70_001, 2)).astype(np.float32)
    np.testing.assert_array_equal(ranking.top_mask(kernel, 69_000), top_by_sorting(kernel, 69_000))


def test_the_form_for_a_gpu_selects_the_same(monkeypatch):
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: [kind])
    kernel = np.random.default_rng(0).choice([-1, 0, 1, 2], (300, 40)).astype(np.float32)
    keys, count = rank_keys(tf.constant(kernel)), tf.fill([40], 110)
    np.testing.assert_array_equal(bisection.highest(keys, count), top_by_sorting(kernel, 110))


def test_a_kernel_that_doubles_the_filters_has_no_program_of_its_own():
    traced = []

    @by_xla
    def sums(filters, offset):
        traced.append(tuple(filters.shape))
        return tf.reduce_sum(filters, axis=0) + offset, filters

    for columns in (64, 128):
        filters = np.random.default_rng(0).normal(size=(576, columns)).astype(np.float32)
        total, same = sums(tf.constant(filters), tf.constant(1.0))
        np.testing.assert_allclose(total, filters.sum(axis=0) + 1, rtol=1e-4, atol=1e-4)
        np.testing.assert_array_equal(same, filters)
    assert traced == [(576, 64)]


def test_counts_may_differ_by_filter():
    kernel = np.random.default_rng(0).normal(size=(9, 3)).astype(np.float32)
    mask = ranking.top_mask(kernel, tf.constant([0, 4, 9])).numpy()
    assert mask.sum(axis=0).tolist() == [0, 4, 9]


def test_exact_count_is_a_decimal_product():
    for percent in range(101):
        for size in (1, 7, 9, 10, 30, 100, 144, 4608):
            assert ranking.exact_count(percent / 100, size) == -(-percent * size // 100)
    assert [ranking.exact_count(ratio, 7) for ratio in (0, 1, 1e-9)] == [0, 7, 1]


@pytest.mark.parametrize("shape", [(1, 1), (3, 3, 7), (3, 3, 64, 9)])
def test_quantiles_are_those_of_numpy(shape):
    values = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    shares = np.array([0.0, 0.03, 0.15, 0.5, 0.85, 1.0])
    found = ranking.quantiles(tf.constant(values), tf.constant(shares))
    np.testing.assert_allclose(found, np.quantile(values, shares), rtol=1e-5)


def test_an_unknown_granularity_is_refused():
    with pytest.raises(InputError, match="granularity must be one of"):
        ranking.top_mask(np.zeros((2, 2), np.float32), 1, "channel")
