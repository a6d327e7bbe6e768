"""What a pruned kernel is: the papers' numbers, exact counts, balance, gradients, errors."""

import math
from decimal import Decimal

import larq
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from larq_equalbits import pruning, quantizers
from larq_equalbits._bits import kernels
from larq_equalbits._errors import InputError


def wrapped(kernel, quantizer="bi_half", **arguments):
    kernel = np.asarray(kernel, np.float32)
    layer = larq.layers.QuantDense(kernel.shape[-1], kernel_quantizer=quantizer, use_bias=False)
    layer.build((None, kernel.shape[0]))
    layer.set_weights([kernel])
    return pruning.PrunedBinary(layer, **arguments)


def values(layer):
    (kernel,) = kernels.quantized_kernels(layer)
    return kernel.values()


def gradient(layer, upstream, of=None):
    with larq.context.quantized_scope(True), tf.GradientTape() as tape:
        kernel = tf.convert_to_tensor(layer.kernel)
    target = layer.kernel.latent_variable if of is None else of
    return tape.gradient(kernel, target, output_gradients=tf.constant(upstream, tf.float32))


@pytest.mark.parametrize("case", range(3))
@pytest.mark.parametrize("sparsity", [0.3, 0.5, 0.8])
def test_rank_answers_as_the_authors_code(golden, case, sparsity):
    kernel = golden[case]["kernel"]
    *size, _, filters = kernel.shape
    layer = larq.layers.QuantConv2D(filters, size, kernel_quantizer="bi_half", use_bias=False)
    layer.build((None, 8, 8, kernel.shape[2]))
    layer.set_weights([kernel])
    pruned = pruning.PrunedBinary(layer, sparsity=sparsity)
    np.testing.assert_array_equal(values(pruned), golden[case][f"halfmask_{sparsity}"])
    actual = gradient(pruned, golden[case]["upstream"])
    np.testing.assert_array_equal(actual, golden[case][f"halfmask_{sparsity}_grad"])


weights = st.integers(-4, 4).map(float) | st.floats(-2, 2, width=32)


@pytest.mark.parametrize(("n", "sparsity"), [(9, 1 / 3), (9, 1 - 2 / 3), (15, 0.2), (100, 0.29), (20, 0.9)])
def test_rank_counts_in_double_precision(n, sparsity):
    codes = pruning.Pruned("bi_half", sparsity)(np.zeros((n, 1), np.float32)).numpy()
    assert (codes == -1).sum() == int((1 - sparsity) / 2 * n)
    assert (codes == 1).sum() == n - int((1 + sparsity) / 2 * n)


@pytest.mark.parametrize("ratio", [0.0, 0.1, 0.29, 0.3, 0.57, 0.71, 0.999, 1.0])
def test_rank_keeps_any_ratio_exact_among_the_survivors(ratio):
    n = 100
    kernel = np.random.randn(n, 2).astype(np.float32)
    dense = quantizers.BiHalf(ratio)
    np.testing.assert_array_equal(pruning.Pruned(dense, 0.0)(kernel), dense(kernel))
    for zeros in (1, 29, 58, 90, n - 1):
        codes = pruning.Pruned(dense, zeros / n)(kernel).numpy()
        positive = math.ceil(Decimal(str(ratio)) * (n - zeros))
        assert ((codes == 0).sum(0) == zeros).all()
        assert ((codes == 1).sum(0) == positive).all()
        # The zeros are the ranks between.
        for column, code in zip(kernel.T, codes.T, strict=True):
            assert (np.diff(code[np.argsort(column)]) >= 0).all()


# A new shape is compiled again: few shapes, many kernels.
@settings(max_examples=60, deadline=None)
@given(data=st.data(), shape=st.sampled_from([(1, 2), (6, 3), (9, 1)]), sparsity=st.floats(0, 0.999))
def test_counts_and_balance_with_ties(data, shape, sparsity):
    n, filters = shape
    kernel = np.array(data.draw(st.lists(weights, min_size=n * filters, max_size=n * filters)), np.float32)
    kernel = kernel.reshape(n, filters)
    mask = np.array(data.draw(st.lists(st.booleans(), min_size=n * filters, max_size=n * filters)))
    rank = pruning.Pruned("bi_half", sparsity)(kernel).numpy()
    low, start = int((1 - sparsity) / 2 * n), int((1 + sparsity) / 2 * n)
    assert ((rank == -1).sum(0) == low).all() and ((rank == 1).sum(0) == n - start).all()
    magnitude = pruning.Pruned("bi_half", sparsity, "magnitude")(kernel).numpy()
    zeros = min(int(sparsity * n + 1e-6), n - 1)
    assert ((magnitude == 0).sum(0) == zeros).all()
    survivors = np.where(magnitude != 0, np.abs(kernel), np.inf).min(0)
    assert (np.where(magnitude == 0, np.abs(kernel), -np.inf).max(0) <= survivors).all()
    given_mask = pruning.Pruned("bi_half", criterion="mask", mask=mask.reshape(n, filters))(kernel).numpy()
    np.testing.assert_array_equal(given_mask != 0, mask.reshape(n, filters))
    for codes in (rank, magnitude, given_mask):
        difference = codes.sum(0)
        assert np.isin(difference, (0, 1)).all()
        assert ((difference == 1) == ((codes != 0).sum(0) % 2 == 1)).all()


@pytest.mark.parametrize("quantizer", ["ste_sign", "siman", "ir_net", "magnitude_aware_sign"])
@pytest.mark.parametrize("criterion", ["rank", "magnitude"])
def test_other_quantizers_are_masked_and_keep_their_gradient(quantizer, criterion):
    kernel = np.random.randn(11, 3)
    plain = larq.quantizers.get(quantizer)
    pruned = pruning.Pruned(quantizer, 0.4, criterion)
    variable = tf.Variable(kernel, dtype=tf.float32)
    upstream = tf.random.normal(kernel.shape)
    with tf.GradientTape(persistent=True) as tape:
        expected, actual = plain(variable), pruned(variable)
    zero = actual.numpy() == 0
    assert zero.any()
    np.testing.assert_array_equal(np.where(zero, 0, expected), actual)
    gradients = (tape.gradient(each, variable, upstream) for each in (expected, actual))
    np.testing.assert_array_equal(*gradients)


def test_pruned_weights_come_back():
    layer = wrapped([[1.0], [0.1], [-1.0], [-0.2]], sparsity=0.5, criterion="magnitude")
    assert values(layer).ravel().tolist() == [1, 0, -1, 0]
    layer.kernel.assign([[0.1], [1.0], [-0.1], [-0.2]])
    assert values(layer).ravel().tolist() == [0, 1, 0, -1]


def test_scores_decide_and_learn():
    kernel = np.array([[0.5, -2.0], [-1.0, 4.0]], np.float32)
    layer = wrapped(kernel, "ste_sign", sparsity=0.5, criterion="score")
    assert layer.scope == "layer"
    scores = np.array([[-0.5, 0.1], [0.2, 0.4]], np.float32)
    layer.kernel_scores.assign(scores)
    scale = (0.5 + 4.0) / 2
    np.testing.assert_allclose(values(layer), [[scale, 0], [0, scale]])
    upstream = np.array([[1.0, 2.0], [3.0, 4.0]])
    expected = upstream * kernel * np.sign(scores)
    np.testing.assert_allclose(gradient(layer, upstream, layer.kernel_scores), expected)
    assert [variable.name for variable in layer.trainable_weights] == [layer.kernel_scores.name]


def test_scores_start_uniform_within_one_over_root_fan_in():
    layer = wrapped(np.ones((400, 50)), "ste_sign", sparsity=0.5, criterion="score")
    scores = layer.kernel_scores.numpy()
    assert 0.0499 < np.abs(scores).max() <= 0.05
    np.testing.assert_allclose(scores.std(), 0.05 / np.sqrt(3), rtol=0.02)


@pytest.mark.parametrize("criterion", ["rank", "magnitude", "score"])
def test_whole_filters(criterion):
    kernel = np.random.randn(9, 8).astype(np.float32) * np.arange(1, 9)
    layer = wrapped(kernel, sparsity=0.5, criterion=criterion, granularity="filter")
    codes = np.sign(values(layer))
    empty = (codes == 0).all(0)
    assert empty.sum() == 4 and (codes[:, ~empty] != 0).all()
    assert (codes[:, ~empty].sum(0) == 1).all()
    if criterion != "score":
        assert empty[:3].all()
    assert layer.kernel.precision == 1


def test_scope_layer_compares_all_filters():
    kernel = np.random.randn(20, 6).astype(np.float32) * 10.0 ** np.arange(6)
    codes = values(wrapped(kernel, sparsity=0.5, criterion="magnitude", scope="layer"))
    assert (codes == 0).sum() == 60
    assert (codes[:, 0] == 0).all() and (codes[:, 5] != 0).sum() == 20
    assert (codes[:, 5].sum()) == 0


def test_dtypes():
    for dtype in (tf.float16, tf.bfloat16, tf.float32, tf.float64):
        kernel = tf.cast(tf.random.normal((10, 3)), dtype)
        for criterion in ("rank", "magnitude"):
            codes = pruning.Pruned("bi_half", 0.5, criterion)(kernel)
            assert codes.dtype == dtype
            assert (tf.reduce_sum(tf.cast(codes == 0, tf.int32), 0) >= 5).numpy().all()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        *(({"sparsity": sparsity}, "sparsity") for sparsity in (1.0, -0.1, math.nan, True, "half", None)),
        ({"criterion": "best"}, "criterion"),
        ({"granularity": "channel"}, "granularity"),
        ({"scope": "model"}, "scope"),
        ({"scope": "filter", "granularity": "filter"}, "scope"),
        ({"scope": "network"}, "scope"),
        ({"schedule": "cubic"}, "schedule"),
        ({"schedule": pruning.CubicRamp(0, 5, final=0.9)}, "sparsity"),
        ({"criterion": np.ones((4, 2))}, "criterion"),
        ({"criterion": np.full((4, 3), 2)}, "criterion"),
        ({"criterion": np.full((4, 3), np.nan)}, "criterion"),
        ({"criterion": lambda kernel: kernel[0]}, "criterion"),
        ({"criterion": {"bias": np.ones((4, 3))}}, "criterion"),
    ],
)
def test_bad_arguments_name_layer_and_argument(arguments, named):
    layer = larq.layers.QuantDense(3, kernel_quantizer="bi_half", name="conv")
    layer.build((None, 4))
    with pytest.raises(InputError, match=rf"'conv'.*{named}|{named}.*'conv'"):
        pruning.PrunedBinary(layer, **{"sparsity": 0.5, **arguments})


def test_bad_layers_are_named():
    for layer in (
        tf.keras.layers.Dense(3, name="conv"),
        larq.layers.QuantDense(3, name="conv"),
        larq.layers.QuantDense(3, name="conv", kernel_quantizer="ste_tern"),
    ):
        with pytest.raises(InputError, match="'conv'"):
            pruning.PrunedBinary(layer, 0.5)
    once = wrapped(np.ones((4, 3)), sparsity=0.5)
    for twice in (once, once.layer, once.stripped()):
        with pytest.raises(InputError, match="pruned already"):
            pruning.PrunedBinary(twice, 0.5)


@pytest.mark.parametrize(
    "make",
    [
        lambda: pruning.Polynomial(5, 5),
        lambda: pruning.Polynomial(-1, 5),
        lambda: pruning.Polynomial(0, 5, initial=1.0),
        lambda: pruning.Polynomial(0, 5, power=0),
        lambda: pruning.Constant(float("nan")),
        lambda: pruning.Pruned("bi_half", criterion="mask"),
        lambda: pruning.Pruned("bi_half", criterion="score")(np.ones((3, 2), np.float32)),
    ],
)
def test_bad_schedules_and_quantizers(make):
    with pytest.raises(InputError):
        make()


def test_schedules():
    line = pruning.Polynomial(10, 20, initial=0.2, final=0.8)
    cubic = pruning.CubicRamp(10, 20, initial=0.2)
    for step, share in ((0, 0.0), (10, 0.0), (15, 0.5), (20, 1.0), (10**9, 1.0)):
        assert float(line.at(step, 0.8)) == pytest.approx(0.2 + 0.6 * share)
        assert float(cubic.at(step, 0.8)) == pytest.approx(0.8 - 0.6 * (1 - share) ** 3)
    assert float(cubic.at(20, 0.9)) == 0.9
