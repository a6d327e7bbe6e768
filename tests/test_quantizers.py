import re

import larq as lq
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from small import slow_but

from larq_equalbits._errors import InputError
from larq_equalbits.quantizers import RBNN, BiHalf, IRNet, SiMaN
from larq_equalbits.quantizers.rbnn import factors, fit_rotations

SEEDS = st.integers(0, 2**32 - 1)
SHAPE = (3, 3, 2, 5)


def draw(seed, shape=SHAPE):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def forward_and_gradient(quantizer, kernel, upstream):
    kernel = tf.constant(kernel)
    with tf.GradientTape() as tape:
        tape.watch(kernel)
        values = quantizer(kernel)
    return values.numpy(), tape.gradient(values, kernel, tf.constant(upstream, values.dtype)).numpy()


def assert_near(actual, expected, relative=1e-5):
    np.testing.assert_allclose(actual, expected, rtol=relative, atol=relative * 0.1 * np.abs(expected).max())


def test_bi_half_is_the_authors(golden):
    for case in golden:
        codes, gradient = forward_and_gradient(lq.quantizers.get("bi_half"), case["kernel"], case["upstream"])
        np.testing.assert_array_equal(codes, case["half"])
        np.testing.assert_array_equal(gradient, case["half_grad"])


def test_siman_is_the_authors(golden):
    for case in golden:
        for kernel in (case["kernel"], case["siman_kernel_after_centering"]):
            codes, gradient = forward_and_gradient(SiMaN(), kernel, case["upstream"])
            np.testing.assert_array_equal(codes, case["siman"])
            assert_near(gradient, case["siman_grad"])


def test_ir_net_is_the_authors(golden):
    for case in golden:
        values, gradient = forward_and_gradient(IRNet(t=0.1, k=10.0), case["kernel"], case["upstream"])
        np.testing.assert_array_equal(np.sign(values), case["irnet"])
        np.testing.assert_array_equal(np.abs(values[0, 0, 0]), case["irnet_scale"])
        assert_near(gradient, case["irnet_grad_k10_t0.1"])


def codes_of_the_largest(values, count):
    """+1 for the `count` largest of every column by a stable sort, -1 for the others."""
    order = np.argsort(values, axis=0, kind="stable")
    codes = -np.ones(values.shape)
    np.put_along_axis(codes, order[len(values) - count :], 1, axis=0)
    return codes


@settings(max_examples=30, deadline=None)
@given(SEEDS, st.integers(0, 100), st.sampled_from([1.0, 2.0**-140]))
def test_bi_half_is_a_stable_sort_at_every_ratio(seed, percent, size):
    kernel = np.round(draw(seed), 1) * np.float32(size)
    for granularity, weights in (("filter", 18), ("layer", 90)):
        codes = BiHalf(percent / 100, granularity=granularity)(kernel).numpy().reshape(weights, -1)
        expected = codes_of_the_largest(kernel.reshape(weights, -1), -(-percent * weights // 100))
        np.testing.assert_array_equal(codes, expected)


@settings(max_examples=30, deadline=None)
@given(SEEDS, st.sampled_from([(1.0, False), (1e-42, False), (5e37, False), (1.0, True)]))
def test_siman_optimal_beats_every_other_count(seed, case):
    size, standardize = case
    kernel = (draw(seed, (11, 3)) * size).astype(np.float32) + np.float32(0.5 * standardize)
    codes = SiMaN("optimal", standardize=standardize)(kernel).numpy()
    wide = kernel.astype(np.float64)
    magnitudes = -np.sort(-np.abs(wide - wide.mean(axis=0) * standardize), axis=0)
    objective = np.cumsum(magnitudes, axis=0) / np.sqrt(np.arange(1, 12))[:, None]
    for column, count in enumerate(objective.argmax(axis=0) + 1):
        expected = siman_by_numpy(kernel[:, [column]], count, standardize)
        np.testing.assert_array_equal(codes[:, [column]], expected)


def test_siman_gradients_that_are_not_the_default():
    kernel, upstream = draw(0), draw(1)
    _, identity = forward_and_gradient(SiMaN(gradient="identity"), kernel, upstream)
    np.testing.assert_array_equal(identity, upstream)
    _, plain = forward_and_gradient(SiMaN(standardize=False), kernel, upstream)
    np.testing.assert_array_equal(plain, upstream * np.sign(kernel))


def test_scales():
    kernel = draw(0)
    np.testing.assert_allclose(np.abs(BiHalf(scale="fan_in")(kernel)), np.sqrt(2 / 18), rtol=1e-6)
    np.testing.assert_allclose(np.abs(BiHalf(scale=0.25)(kernel)), 0.25)
    values, gradient = forward_and_gradient(BiHalf(scale="mean_abs"), kernel, np.ones_like(kernel))
    means = np.broadcast_to(np.abs(kernel).mean(axis=(0, 1, 2)), SHAPE)
    np.testing.assert_allclose(np.abs(values), means, rtol=1e-6)
    np.testing.assert_allclose(gradient, means, rtol=1e-6)


def test_a_constant_filter_is_no_trouble():
    kernel = np.full((6, 2), 0.3, np.float32)
    for name in ("bi_half", "siman", "ir_net", "rbnn"):
        values, gradient = forward_and_gradient(lq.quantizers.get(name), kernel, np.ones_like(kernel))
        assert set(np.unique(values)) <= {-1.0, 1.0}
        assert np.isfinite(gradient).all()
    assert BiHalf()(kernel).numpy()[:, 0].tolist() == [-1, -1, -1, 1, 1, 1]


@pytest.mark.parametrize("name", ["bi_half", "siman", "ir_net", "rbnn"])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("shape", [(3, 3, 4, 6), (700, 11), pytest.param((700, 128), marks=pytest.mark.slow)])
def test_codes_are_the_same_compiled_or_not_and_those_of_the_wider_type(name, dtype, shape):
    kernel = tf.cast(draw(2, shape), dtype)
    quantizer = lq.quantizers.get(name)
    with tf.GradientTape() as tape:
        tape.watch(kernel)
        values = quantizer(kernel)
    assert values.dtype == tape.gradient(values, kernel).dtype == dtype
    compiled = tf.function(quantizer, jit_compile=True)(kernel)
    np.testing.assert_array_equal(tf.sign(values), tf.sign(compiled))
    # Rotations by matrix products round otherwise in every type.
    if name != "rbnn" and dtype in ("float16", "bfloat16"):
        np.testing.assert_array_equal(tf.sign(values), tf.sign(quantizer(tf.cast(kernel, tf.float32))))


def test_rotations_stay_orthogonal_and_raise_the_objective():
    quantizer = RBNN()
    kernel = draw(0, (3, 3, 4, 8))
    before = quantizer(kernel).numpy()
    assert (quantizer.left.shape, quantizer.right.shape) == ((6, 6), (6, 6))
    quantizer.rotate(kernel)
    left = quantizer.left.numpy()
    np.testing.assert_allclose(left @ left.T, np.eye(6), atol=1e-5)
    assert (quantizer(kernel).numpy() != before).any()

    matrices = np.random.default_rng(0).normal(size=(8, 4, 5))
    objective = [np.abs(matrices).sum()]
    rotations = np.eye(4), np.eye(5)
    for _ in range(4):
        rotations = fit_rotations(matrices, *rotations, updates=1)
        objective.append(np.abs(rotations[0].T @ matrices @ rotations[1]).sum())
    assert (np.diff(objective) >= -1e-9).all()


def test_rbnn_without_an_angle_is_the_sign_of_the_standardized_weights():
    quantizer = RBNN(t=0.5)
    kernel = draw(0)
    quantizer.build(kernel.shape)
    quantizer.angle.assign(tf.zeros_like(quantizer.angle))
    _, gradient = forward_and_gradient(quantizer, kernel, np.ones_like(kernel))
    z, deviation = standardized(kernel)
    np.testing.assert_array_equal(quantizer(kernel), np.where(z >= 0, 1, -1))
    slope = 2 * np.maximum(np.sqrt(2) * 0.5 - 0.25 * np.abs(z), 0)
    np.testing.assert_allclose(gradient, through_standardization(slope, z, deviation), atol=1e-6)


def standardized(kernel, epsilon=0):
    """(w - mean) / deviation (unbiased) of every filter, in long double, and the deviation."""
    axes = tuple(range(kernel.ndim - 1))
    centred = kernel - kernel.mean(axis=axes, dtype=np.longdouble)
    freedom = max(centred[..., 0].size - 1, 1)
    deviation = np.sqrt((centred**2).sum(axis=axes) / freedom + np.longdouble(epsilon))
    return centred / deviation, deviation


def through_standardization(upstream, z, deviation):
    """The gradient before `standardized`."""
    axes = tuple(range(z.ndim - 1))
    pull = (upstream * z).sum(axis=axes) / max(z[..., 0].size - 1, 1)
    return (upstream - upstream.mean(axis=axes) - z * pull) / deviation


@pytest.mark.parametrize("shape", [(3, 3, 2, 5), (1, 1, 40, 250), (3, 3, 64, 130)])
def test_ir_net_is_numpys(shape):
    kernel, upstream = draw(4, shape) * np.float32(0.05) + np.float32(0.02), draw(5, shape)
    values, gradient = forward_and_gradient(IRNet(t=0.7, k=1.5), kernel, upstream)
    z, deviation = standardized(kernel)
    scale = 2 ** np.round(np.log2(np.abs(z).mean(axis=(0, 1, 2))))
    np.testing.assert_array_equal(values, np.where(z >= 0, scale, -scale))
    slope = upstream * scale * 1.5 * 0.7 * (1 - np.tanh(0.7 * z) ** 2)
    assert_near(gradient, through_standardization(slope, z, deviation))


def test_rbnn_learns_its_angle():
    quantizer = RBNN(t=0.5)
    quantizer.build(SHAPE)
    quantizer.angle.assign(tf.ones_like(quantizer.angle))
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(quantizer(draw(0)) * draw(1))
    assert np.abs(tape.gradient(loss, quantizer.angle)).min() > 0


@pytest.mark.parametrize(("size", "sides"), [(1, (1, 1)), (7, (1, 7)), (576, (24, 24)), (4608, (64, 72))])
def test_factors_are_near_each_other(size, sides):
    assert factors(size) == sides


def rotated_by_numpy(quantizer, kernel):
    """RBNN as the paper writes it: filter by filter, in float64."""
    codes = np.empty(kernel.shape)
    left, right = (np.asarray(part, np.float64) for part in (quantizer.left, quantizer.right))
    for index, angle in enumerate(quantizer.angle.numpy().astype(np.float64)):
        z = standardized(kernel[..., [index]])[0].astype(np.float64)
        turned = left.T @ z.reshape(len(left), len(right)) @ right
        mixed = z + abs(np.sin(angle)) * (turned.reshape(z.shape) - z)
        codes[..., [index]] = np.where(mixed >= 0, 1, -1)
    return codes


@pytest.mark.parametrize("shape", [(3, 3, 4, 8), (2, 5), (3, 3, 64, 64)])
def test_rbnn_is_numpys(shape):
    quantizer, kernel = RBNN(), draw(3, shape)
    quantizer.build(shape)
    quantizer.angle.assign(np.linspace(-2, 2, shape[-1]).astype(np.float32))
    np.testing.assert_array_equal(quantizer(kernel), rotated_by_numpy(quantizer, kernel))
    quantizer.rotate(kernel)
    np.testing.assert_array_equal(quantizer(kernel), rotated_by_numpy(quantizer, kernel))


def siman_by_numpy(kernel, count, standardize=True):
    """The highest magnitudes by a stable sort: centred in float64, rounded to 24 bits but for float64 kernels."""
    wide = kernel.astype(np.float64)
    difference = np.abs(wide - wide.mean(axis=0) * standardize)
    if kernel.dtype != np.float64:
        mantissa, exponent = np.frexp(difference)
        difference = np.ldexp(np.rint(mantissa * 2**24), exponent)
    return codes_of_the_largest(difference, count)


DRAWS = {
    "normal": lambda rng, shape: rng.normal(size=shape),
    "shifted": lambda rng, shape: rng.normal(size=shape) + 5,
    "few values": lambda rng, shape: np.round(rng.normal(size=shape) * 4) / 4,
    "clipped": lambda rng, shape: np.clip(rng.normal(size=shape), -0.5, 0.5),
    "constant": lambda rng, shape: np.full(shape, 0.3),
    "zeros": lambda rng, shape: np.where(rng.random(shape) < 0.5, -0.0, 0.0),
    "denormal": lambda rng, shape: rng.normal(size=shape) * 1e-42,
    "huge": lambda rng, shape: rng.normal(size=shape) * 5e37,
    "cauchy": lambda rng, shape: rng.standard_cauchy(shape) * 1e20,
    "half denormal": lambda rng, shape: rng.normal(size=shape) * np.where(rng.random(shape) < 0.5, 1e-40, 1),
    "infinite": lambda rng, shape: np.where(rng.random(shape) < 0.001, np.inf, rng.normal(size=shape)),
}


@pytest.mark.parametrize("name", DRAWS)
@pytest.mark.parametrize("rows", [1, 2, 7, 147, 301])
@pytest.mark.parametrize("dtype", slow_but({np.float32}, (np.float16, np.float32, np.float64)))
def test_siman_is_a_stable_sort(name, rows, dtype):
    with np.errstate(all="ignore"):
        kernel = DRAWS[name](np.random.default_rng(rows), (rows, 250)).astype(dtype)
        np.testing.assert_array_equal(SiMaN()(kernel), siman_by_numpy(kernel, rows // 2))


@pytest.mark.parametrize("name", sorted(set(DRAWS) - {"infinite", "huge", "cauchy", "constant"}))
@pytest.mark.parametrize("rows", [1, 2, 301])
def test_the_gradient_of_siman_is_exact_to_float32(name, rows):
    rng = np.random.default_rng(rows)
    kernel = DRAWS[name](rng, (rows, 256)).astype(np.float32)
    upstream = rng.normal(size=kernel.shape).astype(np.float32)
    with tf.GradientTape() as tape:
        weights = tf.constant(kernel)
        tape.watch(weights)
        codes = SiMaN()(weights)
    z, deviation = standardized(kernel, epsilon=1e-5)
    expected = through_standardization(upstream * np.sign(z), z, deviation)
    # Of two weights the terms cancel but for the epsilon, so they set the tolerance.
    term = np.abs(upstream / deviation).max()
    np.testing.assert_allclose(tape.gradient(codes, weights, upstream), expected, rtol=1e-5, atol=3e-7 * term)


def largest_stored(function, *tensors):
    """Bytes of the largest tensor that XLA's program of `function` stores."""
    program = tf.function(function, jit_compile=True).experimental_get_compiler_ir(*tensors)("optimized_hlo")
    sizes = []
    for computation in re.split(r"\n(?=\S)", program):
        # What a fused computation names is never stored, but for its result, which its caller names too.
        if not re.match(r"%?(fused|wrapped|region)", computation):
            for width, dimensions in re.findall(r"\b[a-z](\d+)\[([\d,]+)\]", computation):
                sizes.append(int(width) // 8 * np.prod([int(size) for size in dimensions.split(",")]))
    return max(sizes)


@pytest.mark.parametrize(
    ("quantizer", "dtype", "times"),
    [
        *[(each, dtype, 1) for each in (BiHalf(), SiMaN(), IRNet()) for dtype in ("float32", "float64")],
        (BiHalf(), "float16", 1),
        (SiMaN(), "float16", 2),
        (SiMaN(encoding="optimal"), "float32", 2),
        (RBNN(), "float32", 2),
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_nothing_much_larger_than_the_kernel_is_stored(quantizer, dtype, times):
    kernel = tf.cast(tf.random.stateless_normal((1152, 100), [0, 1]), dtype)
    quantizer(kernel)

    def codes_and_gradient(weights, upstream):
        with tf.GradientTape() as tape:
            tape.watch(weights)
            codes = quantizer(weights)
        return codes, tape.gradient(codes, weights, upstream)

    size = kernel.dtype.size * kernel.shape.num_elements()
    assert largest_stored(codes_and_gradient, kernel, kernel) <= times * size


def test_a_wider_copy_that_is_stored_is_found():
    kernel = tf.zeros((1152, 100))
    assert largest_stored(lambda weights: tf.sort(tf.cast(weights, tf.float64)), kernel) == 8 * 1152 * 100


def test_without_standardization_denormal_magnitudes_keep_their_order():
    bits = np.random.default_rng(0).permutation(120).astype(np.int32).reshape(40, 3)
    kernel = bits.view(np.float32) * np.where(bits % 3 == 0, -1, 1).astype(np.float32)
    expected = siman_by_numpy(kernel, 20, standardize=False)
    np.testing.assert_array_equal(SiMaN(standardize=False)(kernel), expected)


OBJECTS = [
    BiHalf(0.3, granularity="layer", scale="mean_abs"),
    BiHalf(scale=0.5),
    SiMaN(encoding="optimal", gradient="identity", standardize=False, scale="fan_in"),
    IRNet(t=0.3, k=2.0, scale=None),
    RBNN(t=0.2, seed=3),
]


@pytest.mark.parametrize("quantizer", OBJECTS, ids=lambda q: q.name)
def test_configurations_round_trip(quantizer):
    again = lq.quantizers.get(lq.quantizers.serialize(quantizer))
    assert type(again) is type(quantizer)
    assert again.get_config() == quantizer.get_config()
    assert again.precision == 1


@pytest.mark.parametrize(
    ("make", "name"),
    [
        *[(lambda r=r: BiHalf(r), "positive_ratio") for r in (-0.1, 1.1, float("nan"), True, "half", None)],
        (lambda: BiHalf(granularity="channel"), "granularity"),
        *[(lambda s=s: BiHalf(scale=s), "scale") for s in ("fan_out", 0, -1.0, True, float("nan"), [1])],
        (lambda: SiMaN(encoding="best"), "encoding"),
        (lambda: SiMaN(gradient="sign"), "gradient"),
        (lambda: SiMaN(standardize=1), "standardize"),
        (lambda: IRNet(t=0), "t"),
        (lambda: IRNet(k=float("inf")), "k"),
        (lambda: IRNet(scale="two"), "scale"),
        (lambda: RBNN(t=-1), "t"),
    ],
)
def test_bad_arguments_are_refused_when_the_object_is_made(make, name):
    with pytest.raises(InputError, match=f"^{name} must be .*, but got"):
        make()


@pytest.mark.parametrize("name", ["bi_half", "siman", "ir_net", "rbnn"])
@pytest.mark.parametrize(
    ("shape", "dtype", "words"),
    [
        *[(shape, "float32", "kernel must have") for shape in ((), (3,), (0, 2), (3, 0, 2))],
        *[((3, 2), dtype, "kernel must be of a floating type") for dtype in ("int32", "uint8", "bool")],
    ],
)
def test_a_kernel_without_filters_or_of_integers_has_no_codes(name, shape, dtype, words):
    with pytest.raises(InputError, match=words):
        lq.quantizers.get(name)(tf.zeros(shape, dtype))


def test_rotations_are_those_of_one_kernel():
    quantizer = RBNN()
    quantizer(tf.ones((4, 3)))
    with pytest.raises(InputError, match=r"3 filters of 4 weights, .* an object of its own"):
        quantizer(tf.ones((3, 4)))
