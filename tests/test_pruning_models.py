"""Pruned layers and models: every layer class, every format, schedules, resuming, Larq's summary."""

import itertools

import larq
import numpy as np
import pytest
import tensorflow as tf
from small import LAYERS, precision, slow_but, stack

from larq_equalbits import data, pruning
from larq_equalbits._bits import kernels
from larq_equalbits._errors import InputError

layers = larq.layers
BH = {"kernel_quantizer": "bi_half"}


def small(**middle):
    return stack(
        layers.QuantConv2D(4, 3, name="a", **BH),
        tf.keras.layers.BatchNormalization(),
        layers.QuantConv2D(6, 3, input_quantizer="ste_sign", name="b", **{**BH, **middle}),
        tf.keras.layers.Flatten(),
        layers.QuantDense(3, name="c", **BH),
    )


def inputs(count=16):
    random = np.random.default_rng(0)
    return random.normal(size=(count, 8, 8, 3)).astype("float32"), random.integers(0, 3, count)


def fit(model, updates=2, optimizer="sgd"):
    x, y = inputs(8 * updates)
    if model.optimizer is None:
        model.compile(optimizer, tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(x, y, batch_size=8, verbose=0)
    return model


def codes(model):
    return {kernel.name: kernel.codes() for kernel in kernels.quantized_kernels(model)}


def sparsities(model):
    return {name: float((code == 0).mean()) for name, code in codes(model).items()}


@pytest.mark.parametrize("granularity", slow_but({"weight"}, ("weight", "filter")))
@pytest.mark.parametrize("name", LAYERS)
def test_every_layer_is_pruned_and_stripped(name, granularity):
    make, shape = LAYERS[name]
    layer = make("bi_half")
    layer.activation = tf.keras.layers.PReLU("uniform")
    model = stack(layer, shape=shape)
    before = [weight.copy() for weight in model.get_weights()]
    dense = codes(model)
    pruned = pruning.prune(model, 0.5, "magnitude", granularity)
    np.testing.assert_equal(before, pruned.get_weights())
    assert sorted(codes(pruned)) == sorted(dense)
    for kernel in kernels.quantized_kernels(pruned):
        code = kernel.codes()
        zero = code == 0
        n = code[..., 0].size
        if granularity == "weight":
            assert (zero.reshape(n, -1).sum(0) == n // 2).all()
            assert np.isin(code.reshape(n, -1).sum(0), (0, 1)).all()
        else:
            depthwise = kernel.variable.name.endswith("depthwise_kernel:0")
            axes = (-2, -1) if depthwise else (-2,) if "transpose" in name else (-1,)
            rest = tuple(i for i in range(code.ndim) if i - code.ndim not in axes)
            assert (zero.all(rest) == zero.any(rest)).all()
            assert zero.all(rest).sum() == zero.all(rest).size // 2
    x = np.random.randn(2, *shape).astype("float32")
    stripped = pruning.strip(pruned)
    assert type(stripped.layers[0]) is type(model.layers[0])
    np.testing.assert_array_equal(pruned(x), stripped(x))
    np.testing.assert_array_equal(model.get_weights()[0], before[0])
    for kernel in kernels.quantized_kernels(model):
        np.testing.assert_array_equal(kernel.codes(), dense[kernel.name])


def some_mask(kernel):
    return np.abs(kernel) > np.median(np.abs(kernel))


VARIANTS = {
    "rank": {"sparsity": 0.5},
    "cubic": {"sparsity": 0.9, "criterion": "magnitude", "schedule": pruning.CubicRamp(0, 8)},
    "filter": {"sparsity": 0.5, "granularity": "filter"},
    "score": {"sparsity": 0.7, "criterion": "score", "schedule": pruning.Polynomial(1, 6, power=2)},
    "mask": {"criterion": some_mask},
    "network": {"sparsity": 0.6, "criterion": "score", "scope": "network"},
}


QUICK = {("cubic", ".keras"), ("cubic", ""), ("network", ".h5")}
FORMATS = slow_but(QUICK, itertools.product(VARIANTS, (".keras", ".h5", "")))


@pytest.mark.parametrize("case", FORMATS, ids=" ".join)
def test_every_format_keeps_kernel_step_and_training(case, tmp_path):
    variant, suffix = case
    model = fit(pruning.prune(small(), **VARIANTS[variant]))
    x, y = inputs()
    path = str(tmp_path / f"model{suffix}")
    model.save(path)
    loaded = tf.keras.models.load_model(path)
    for name, code in codes(model).items():
        np.testing.assert_array_equal(code, codes(loaded)[name])
    np.testing.assert_array_equal(model(x), loaded(x))
    for one in (model, loaded):
        one.fit(x, y, batch_size=8, shuffle=False, verbose=0)
    for name, code in codes(model).items():
        np.testing.assert_array_equal(code, codes(loaded)[name])
    if variant == "cubic":
        # A SavedModel loses the optimizer's own count, and the schedule goes on all the same.
        assert loaded.get_layer("a").step.numpy() == 4
    stripped = pruning.strip(loaded)
    stripped.save(path)
    np.testing.assert_array_equal(tf.keras.models.load_model(path)(x), loaded(x))
    assert not any(isinstance(layer, pruning.PrunedBinary) for layer in stripped.layers)


@pytest.mark.parametrize("suffix", slow_but({".keras", ".h5"}, (".keras", ".h5", "")))
def test_a_quantizer_with_weights_keeps_them(suffix, tmp_path):
    rotated = [layers.QuantDense(6, kernel_quantizer="rbnn", name=name) for name in ("a", "b")]
    model = stack(*rotated, shape=(6,))
    angle = model.get_layer("b").kernel_quantizer.angle
    angle.assign(tf.fill(angle.shape, 0.3))
    pruned = pruning.prune(model, 0.5, "magnitude")
    np.testing.assert_equal(model.get_weights(), pruned.get_weights())
    np.testing.assert_array_equal(np.where(codes(pruned)["b"], codes(model)["b"], 0), codes(pruned)["b"])
    x, path = np.random.randn(4, 6), str(tmp_path / f"model{suffix}")
    for one in (pruned, pruning.strip(pruned)):
        one.compile("sgd", "mse")
        one.get_layer("b").trainable = False
        one.fit(x, x, verbose=0)
        one.save(path)
        np.testing.assert_array_equal(tf.keras.models.load_model(path)(x), one(x))


@pytest.mark.parametrize("variant", ["cubic", "score"])
def test_weights_load_into_a_frozen_model(variant, tmp_path):
    model, frozen = (pruning.prune(small(), **VARIANTS[variant]) for _ in range(2))
    model.get_layer("a").step.assign(5)
    frozen.trainable = False
    model.save_weights(tmp_path / "weights.h5")
    frozen.load_weights(tmp_path / "weights.h5")
    np.testing.assert_equal([v.numpy() for v in frozen.variables], [v.numpy() for v in model.variables])
    np.testing.assert_equal(codes(frozen), codes(model))


@pytest.mark.parametrize("variant", VARIANTS)
def test_configurations_describe_the_layer(variant):
    model = pruning.prune(small(), **VARIANTS[variant])
    layer = model.get_layer("b")
    config = layer.get_config()
    again = pruning.PrunedBinary.from_config(config)
    assert again.get_config() == config
    again.build((None, 6, 6, 4))
    again.set_weights(layer.get_weights())
    np.testing.assert_array_equal(codes(again)["b"], codes(layer)["b"])


def test_fit_follows_the_schedule_by_the_optimizers_step():
    schedule = pruning.CubicRamp(1, 7)
    model = pruning.prune(small(), 0.9, "magnitude", schedule=schedule)
    for updates in (0, 1, 3, 4):
        if updates:
            fit(model, updates)
        step = int(model.optimizer.iterations) if updates else 0
        assert int(model.get_layer("a").step) == step
        target = float(schedule.at(step, 0.9))
        for layer in model.layers:
            if isinstance(layer, pruning.PrunedBinary):
                assert float(layer.current_sparsity()) == target
        for code in codes(model).values():
            n = code[..., 0].size
            assert ((code == 0).reshape(n, -1).sum(0) == int(target * n + 1e-6)).all()


def test_accumulated_gradients_count_once():
    model = pruning.prune(small(kernel_constraint="weight_clip"), 0.9, schedule=pruning.Polynomial(0, 10))
    optimizer = tf.keras.optimizers.Adam(0.01)
    x, _ = inputs()

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            loss = sum(tf.reduce_mean(model(x) ** 2) for _ in range(3))
        variables = model.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))

    for _ in range(2):
        step()
    assert int(model.get_layer("b").step) == 2 == int(optimizer.iterations)
    assert np.abs(model.get_layer("b").kernel.latent_variable).max() <= 1


@pytest.mark.parametrize("optimizer", [tf.keras.optimizers.legacy.SGD, larq.optimizers.Bop])
def test_optimizers_of_the_older_kind_count_too(optimizer):
    model = pruning.prune(small(), 0.9, schedule=pruning.Polynomial(0, 10))
    fit(model, 3, optimizer())
    assert int(model.get_layer("a").step) == 3


REPLICAS = """
import larq, numpy as np, tensorflow as tf
from larq_equalbits import pruning
from programs.train_small import replicas
with replicas(2).scope():
    model = tf.keras.Sequential([tf.keras.Input((8,)), larq.layers.QuantDense(4, kernel_quantizer="bi_half")])
    model = pruning.prune(model, 0.9, "magnitude", schedule=pruning.CubicRamp(0, 8))
    model.compile("sgd", "mse")
model.fit(np.random.randn(24, 8), np.random.randn(24, 4), batch_size=8, verbose=0)
assert [int(value.numpy()) for value in model.layers[0].step.values] == [3, 3]
"""


@pytest.mark.slow
def test_replicas_count_once_together(run_script):
    run_script(REPLICAS)


def test_checkpoint_restores_the_step(tmp_path):
    schedule = {"criterion": "magnitude", "schedule": pruning.CubicRamp(0, 8)}
    model = fit(pruning.prune(small(), 0.9, **schedule), 3)
    path = tf.train.Checkpoint(model=model).save(str(tmp_path / "checkpoint"))
    other = pruning.prune(small(), 0.9, **schedule)
    tf.train.Checkpoint(model=other).restore(path).assert_existing_objects_matched()
    assert int(other.get_layer("c").step) == 3
    for name, code in codes(model).items():
        np.testing.assert_array_equal(code, codes(other)[name])
    third = pruning.prune(small(), 0.9, **schedule)
    third.set_weights(model.get_weights())
    assert int(third.get_layer("c").step) == 3


def test_scores_train_while_weights_are_frozen():
    model = pruning.prune(small(kernel_quantizer="ste_sign"), 0.5, "score")
    frozen = model.get_layer("b").kernel.numpy()
    scores = model.get_layer("b").kernel_scores.numpy()
    fit(model, 2, tf.keras.optimizers.SGD(0.5, weight_decay=0.1))
    np.testing.assert_array_equal(model.get_layer("b").kernel.numpy(), frozen)
    assert (model.get_layer("b").kernel_scores.numpy() != scores).mean() > 0.9


@pytest.mark.parametrize("criterion", ["score", "magnitude"])
def test_network_scope_takes_one_threshold_after_every_update(criterion):
    model = pruning.prune(small(), 0.6, criterion, scope="network", schedule=pruning.Polynomial(0, 4))
    fit(model, 3)
    wrapped = [layer for layer in model.layers if isinstance(layer, pruning.PrunedBinary)]
    importances = np.concatenate([layer.importances()[0].numpy().ravel() for layer in wrapped])
    threshold = np.sort(importances)[int(0.45 * importances.size)]
    kept = np.concatenate([codes(layer)[layer.name].ravel() for layer in wrapped]) != 0
    np.testing.assert_array_equal(kept, importances >= threshold)
    assert len({round(value, 2) for value in sparsities(model).values()}) > 1
    clone = tf.keras.models.clone_model(tf.keras.Model(model.inputs, model.outputs))
    # Raised while Keras traces the step, it comes as an error of the tracing with this message.
    with pytest.raises(Exception, match="link"):
        fit(clone)


def share_of_zeros(model):
    return float(np.mean(np.concatenate([code.ravel() == 0 for code in codes(model).values()])))


@pytest.mark.parametrize("criterion", ["magnitude", "score"])
@pytest.mark.parametrize("frozen", ["a", "c"])
def test_the_choice_in_a_network_goes_on_where_a_layer_is_frozen(frozen, criterion):
    model = pruning.prune(small(), 0.5, criterion, scope="network", schedule=pruning.CubicRamp(0, 4))
    model.get_layer(frozen).trainable = False
    fit(model, 5)
    assert int(model.get_layer(frozen).step) == 0
    assert share_of_zeros(model) == 0.5


def test_another_layer_may_be_frozen_later():
    model = pruning.prune(small(), 0.5, "magnitude", scope="network", schedule=pruning.Polynomial(0, 4))
    model.get_layer("c").trainable = False
    fit(model, 2)
    assert share_of_zeros(model) == 0.25
    model.get_layer("c").trainable, model.get_layer("a").trainable = True, False
    # Which weights are trained is settled when a model is compiled.
    model.compile("sgd", model.loss)
    fit(model, 2)
    # The largest count of updates is b's.
    assert [int(model.get_layer(name).step) for name in "abc"] == [2, 4, 2]
    assert share_of_zeros(model) == 0.5


@pytest.mark.parametrize("variant", ["rank", "cubic", "score", "mask"])
def test_summary_counts_two_bits_and_nothing_else(variant):
    model, pruned = small(), pruning.prune(small(), **VARIANTS[variant])
    plain, profile = larq.models.ModelProfile(model), larq.models.ModelProfile(pruned)
    binary = plain.weight_count(1)
    assert profile.weight_count(2) == binary and profile.weight_count(1) == 0
    assert profile.weight_count(32) == plain.weight_count(32)
    assert profile.memory == plain.memory + binary
    assert profile.op_count("mac") == plain.op_count("mac")
    assert profile.op_count("mac", 2) == plain.op_count("mac", 1) > 0
    stripped = larq.models.ModelProfile(pruning.strip(pruned))
    assert stripped.memory == profile.memory


def test_two_bits_stay_two_without_a_zero_and_when_they_are_stripped():
    whole = [np.ones((3, 3, 3, 4)), np.ones((3, 3, 4, 6)), np.ones((96, 3))]
    masks = {"criterion": dict(zip("abc", whole, strict=True)), "granularity": "filter"}
    for arguments in ({"sparsity": 0.0}, masks):
        pruned = pruning.prune(small(), **arguments)
        for model in (pruned, pruning.strip(pruned)):
            profile = larq.models.ModelProfile(model)
            assert (profile.weight_count(1), profile.weight_count(2)) == (0, sum(map(np.size, whole)))


def test_whole_filters_count_one_bit():
    profile = larq.models.ModelProfile(pruning.prune(small(), 0.5, granularity="filter"))
    assert profile.memory == larq.models.ModelProfile(small()).memory


def test_nested_and_shared_layers():
    shared = layers.QuantConv2D(3, 3, padding="same", name="shared", **BH)
    block_in = tf.keras.Input((8, 8, 3))
    block = tf.keras.Model(block_in, shared(tf.keras.layers.BatchNormalization()(block_in)), name="block")
    x = tf.keras.Input((8, 8, 3))
    y = tf.keras.layers.Add()([block(shared(x)), block(x)])
    model = tf.keras.Model(x, layers.QuantDense(2, name="out", **BH)(tf.keras.layers.Flatten()(y)))
    pruned = pruning.prune(model, 0.5)
    assert len(kernels.quantized_kernels(pruned)) == 2
    batch = inputs()[0]
    np.testing.assert_array_equal(pruning.strip(pruned)(batch), pruned(batch))
    assert len(pruned.get_weights()) == len(model.get_weights())


def test_masks_by_layer_name():
    model = small()
    mask = (np.random.rand(3, 3, 4, 6) > 0.3).astype(int)
    pruned = pruning.prune(model, criterion={"b": mask})
    np.testing.assert_array_equal(codes(pruned)["b"] != 0, mask != 0)
    assert not isinstance(pruned.get_layer("a"), pruning.PrunedBinary)
    with pytest.raises(InputError, match="missing"):
        pruning.prune(model, criterion={"missing": mask})


def test_models_that_cannot_be_pruned_or_stripped():
    with pytest.raises(InputError, match="never pruned"):
        pruning.strip(small())
    with pytest.raises(InputError, match=r"'a'.*pruned already"):
        pruning.prune(pruning.prune(small(), 0.5), 0.5)
    with pytest.raises(InputError, match="to prune"):
        pruning.prune(stack(tf.keras.layers.Dense(2)), 0.5)
    with pytest.raises(InputError, match="skip"):
        pruning.prune(small(), 0.5, skip=("nothing",))
    for model in (None, 3, "conv2", np.zeros(3), [tf.keras.layers.Dense(2)]):
        for function in (pruning.prune, pruning.strip, pruning.link):
            with pytest.raises(InputError, match="model must be a Keras 2 model"):
                function(model)


def test_flip_metrics_and_mixed_precision():
    with larq.context.metrics_scope(["flip_ratio"]):
        model = small()
    pruned = fit(pruning.prune(model, 0.5))
    assert any("flip_ratio" in name for name in pruned.metrics_names)
    with precision("mixed_bfloat16"):
        half = fit(pruning.prune(small(), 0.5, "score", schedule=pruning.Polynomial(0, 5)))
    assert half.get_layer("a").compute_dtype == "bfloat16"
    assert int(half.get_layer("a").step) == 2


@pytest.mark.parametrize("criterion", ["magnitude", "score"])
def test_a_network_in_mixed_precision_compares_what_its_layers_see(criterion):
    with precision("mixed_bfloat16"):
        model = stack(layers.QuantDense(32, name="a", **BH), shape=(256,))
        # Not a number of bfloat16, to which it rounds downwards.
        model.get_layer("a").set_weights([np.full((256, 32), 0.3013, "float32"), np.zeros(32, "float32")])
        pruned = pruning.prune(model, 0.5, criterion, scope="network")
        for each in (pruned, pruning.strip(pruned)):
            computed = np.sign(tf.cast(each(tf.eye(256)), tf.float32))
            np.testing.assert_array_equal(computed, codes(each)["a"])
            assert (computed != 0).mean() == (1 if criterion == "magnitude" else 0.5)


def test_digits_are_learned_with_half_the_weights(tmp_path):
    digits = data.load("digits", data_dir=tmp_path, batch_size=64)
    model = stack(
        layers.QuantConv2D(32, 3, use_bias=False, **BH),
        tf.keras.layers.BatchNormalization(),
        layers.QuantConv2D(32, 3, input_quantizer="ste_sign", use_bias=False, **BH),
        tf.keras.layers.BatchNormalization(),
        tf.keras.layers.Flatten(),
        tf.keras.layers.Dense(digits.num_classes),
        shape=digits.input_shape,
    )
    pruned = pruning.prune(model, 0.5, schedule=pruning.CubicRamp(0, 60))
    loss = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    pruned.compile(tf.keras.optimizers.Adam(0.01), loss, metrics=["accuracy"])
    pruned.fit(digits.train, epochs=5, verbose=0)
    assert all(abs(value - 0.5) < 0.06 for value in sparsities(pruned).values())
    assert pruned.evaluate(digits.test, verbose=0)[1] > 0.85
