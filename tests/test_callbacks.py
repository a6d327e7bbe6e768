import copy
import csv
import itertools
import math

import larq as lq
import numpy as np
import pytest
import tensorflow as tf

from larq_equalbits import pruning
from larq_equalbits._bits import counting
from larq_equalbits._bits.kernels import quantized_kernels
from larq_equalbits._errors import InputError
from larq_equalbits.callbacks import BitLogger, ErrorDecay
from larq_equalbits.callbacks.activations import ActivationProbe

X = np.random.default_rng(0).normal(size=(48, 6, 6, 2)).astype("float32")
Y = np.random.default_rng(1).integers(0, 3, 48)
KEYS = {"bit_entropy", "positive_ratio", "bit_flips", "filter_entropy"}


class Scaled:
    """Any quantizer times a constant."""

    precision = 1

    def __init__(self, quantizer, scale):
        self.quantizer, self.scale = lq.quantizers.get(quantizer), scale

    def __call__(self, x):
        return self.scale * self.quantizer(x)


def ternary(x):
    """Codes with zeros, as a pruned kernel has them."""
    codes = tf.where(tf.abs(x) < 0.1, tf.zeros_like(x), tf.sign(x))
    return codes + x - tf.stop_gradient(x)


def layers(quantizer):
    return [
        lq.layers.QuantConv2D(4, 3, kernel_quantizer=quantizer, name="conv"),
        tf.keras.layers.Flatten(),
        tf.keras.layers.BatchNormalization(),
        lq.layers.QuantDense(3, kernel_quantizer=quantizer, input_quantizer="ste_sign", name="dense"),
    ]


def compiled(model, **arguments):
    optimizer = tf.keras.optimizers.SGD(0.5)
    loss = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss, metrics=["accuracy"], **arguments)
    return model


def sequential(quantizer="ste_sign", **arguments):
    model = tf.keras.Sequential([tf.keras.Input((6, 6, 2)), *layers(quantizer)])
    return compiled(model, **arguments)


class Subclassed(tf.keras.Model):
    def __init__(self):
        super().__init__()
        self.stack = layers("ste_sign")

    def call(self, x):
        for layer in self.stack:
            x = layer(x)
        return x


def nested():
    convolution, flatten, *rest = layers("ste_sign")
    inner = tf.keras.Sequential([tf.keras.Input((6, 6, 2)), convolution, flatten], name="inner")
    return compiled(tf.keras.Sequential([tf.keras.Input((6, 6, 2)), inner, *rest]))


class Saved(tf.keras.callbacks.Callback):
    """Keeps the codes as NumPy finds them in the weights, and the logs, of every epoch and step."""

    def __init__(self):
        super().__init__()
        self.epochs, self.steps, self.epoch_logs, self.step_logs = [], [], [], []

    def codes(self):
        # The quantizer is applied to a copy of the weights: nothing of the logger's own path is used.
        return {
            kernel.name: np.sign(kernel.quantizer(tf.constant(kernel.latent())).numpy())
            for kernel in quantized_kernels(self.model)
        }

    def on_epoch_begin(self, epoch, logs=None):
        if not self.epochs and self.model.built:
            self.epochs.append(self.codes())
            self.steps.append(self.codes())

    def on_train_batch_end(self, batch, logs=None):
        self.steps.append(self.codes())
        self.step_logs.append(dict(logs))

    def on_epoch_end(self, epoch, logs=None):
        self.epochs.append(self.codes())
        self.epoch_logs.append(dict(logs))


def entropy(codes, symbols=(-1, 1)):
    counts = [np.sum(codes == symbol) for symbol in symbols]
    shares = [count / sum(counts) for count in counts if count]
    return -sum(share * math.log2(share) for share in shares)


def assert_equal_numpy(all_logs, all_codes):
    """What is logged is what NumPy counts in each of the codes and the ones before."""
    for logs, (before, after) in zip(all_logs, itertools.pairwise(all_codes), strict=True):
        assert_one_equal_numpy(logs, before, after)


def assert_one_equal_numpy(logs, before, after):
    everything = [np.concatenate([codes[name].ravel() for name in codes]) for codes in (before, after)]
    pairs = [("", *everything), *((f"{name}/", before[name], after[name]) for name in after)]
    for prefix, old, new in pairs:
        expected = {
            "bit_entropy": entropy(new),
            "positive_ratio": np.sum(new == 1) / np.sum(new != 0),
            "bit_flips": np.mean(new != old),
        }
        if prefix:
            filters = new.reshape(-1, new.shape[-1]).T
            expected["filter_entropy"] = np.mean([entropy(each) for each in filters if each.any()])
        if f"{prefix}sparsity" in logs:
            expected["sparsity"] = np.mean(new == 0)
            expected["symbol_entropy"] = entropy(new, (-1, 0, 1))
        got = {key: logs[prefix + key] for key in expected}
        assert got == pytest.approx(expected, abs=1e-12), prefix


def fit(model, *callbacks, epochs=3, **arguments):
    return model.fit(
        X, Y, batch_size=16, epochs=epochs, callbacks=list(callbacks), **{"verbose": 0, **arguments}
    )


QUANTIZERS = {
    **{name: name for name in ("ste_sign", "approx_sign", "swish_sign", "magnitude_aware_sign", "bi_half")},
    "ste_tern": lq.quantizers.SteTern(),
    "dorefa": lq.quantizers.DoReFa(k_bit=2, mode="weights"),
    **{name: name for name in ("siman", "ir_net", "rbnn")},
    "pruned": ternary,
    "small": Scaled("ste_sign", 0.01),
    "large": Scaled("bi_half", 100.0),
}


@pytest.mark.parametrize("name", QUANTIZERS)
def test_every_epoch_and_step_equal_numpy(name):
    saved = Saved()
    logger = BitLogger(every=1)
    fit(sequential(QUANTIZERS[name]), logger, saved, epochs=2)
    assert_equal_numpy(saved.epoch_logs, saved.epochs)
    assert_equal_numpy(saved.step_logs, saved.steps)
    assert saved.epoch_logs[0]["bit_flips"] > 0
    assert [record["step"] for record in logger.records] == [1, 2, 3, 4, 5, 6]
    assert logger.records[3]["bit_flips"] == saved.step_logs[3]["bit_flips"]


@pytest.mark.parametrize("granularity", ["weight", "filter"])
def test_pruned_layers_equal_numpy(granularity):
    model = compiled(pruning.prune(sequential("bi_half"), sparsity=0.5, granularity=granularity))
    saved = Saved()
    fit(model, BitLogger(every=1), saved, epochs=2)
    assert_equal_numpy(saved.step_logs, saved.steps)
    assert saved.epoch_logs[0]["conv/sparsity"] == pytest.approx(0.5, abs=0.05)


REPLICAS = """
from programs.train_small import replicas
strategy = replicas(2)
from test_callbacks import *
with strategy.scope():
    parts = [*layers("siman")[:3], layers("ste_sign")[3]]
    model = compiled(tf.keras.Sequential([tf.keras.Input((6, 6, 2)), *parts]))
saved = Saved()
fit(model, BitLogger(every=1, probe=X[:4]), saved)
assert_equal_numpy(saved.step_logs, saved.steps)
assert sum(logs["bit_flips"] for logs in saved.step_logs) > 0
"""


def test_two_replicas_are_observed_as_one_model(run_script):
    run_script(REPLICAS)


def test_zeros_are_a_symbol_of_their_own():
    history = fit(sequential(ternary), BitLogger()).history
    assert 0 < history["conv/sparsity"][0] < 1
    assert 1 < history["conv/symbol_entropy"][0] <= math.log2(3)
    assert history["conv/bit_entropy"][0] <= 1
    # The keys are in the history wherever the logger stands.
    assert set(fit(sequential(), Saved(), BitLogger()).history) == {
        "loss",
        "accuracy",
        *KEYS,
        *(f"{name}/{key}" for name in ("conv", "dense") for key in KEYS),
    }


def test_odd_filters_are_reported_as_they_are():
    layer = lq.layers.QuantDense(4, kernel_quantizer="bi_half", input_shape=(9,))
    model = compiled(tf.keras.Sequential([layer]))
    history = model.fit(X[:, :3, :3, 0].reshape(48, 9), Y, verbose=0, callbacks=[BitLogger()]).history
    assert history["positive_ratio"] == [5 / 9]
    assert history["bit_entropy"] == [pytest.approx(entropy(np.array([1] * 5 + [-1] * 4)))]


@pytest.mark.parametrize("build", [nested, lambda: compiled(Subclassed())])
def test_nested_and_subclassed_models(build):
    model = build()
    model(X[:1])
    saved = Saved()
    history = fit(model, BitLogger(), saved).history
    flips = {key for key in history if key.endswith("/bit_flips")}
    assert flips == {f"{kernel.name}/bit_flips" for kernel in quantized_kernels(model)}
    assert_equal_numpy(saved.epoch_logs, saved.epochs)


@pytest.mark.parametrize("run_eagerly", [False, True])
def test_a_model_that_its_first_batch_builds_is_observed_after_that(run_eagerly):
    tf.keras.utils.set_random_seed(5)
    late = BitLogger(every=1)
    fit(compiled(Subclassed(), run_eagerly=run_eagerly), late, shuffle=False)
    tf.keras.utils.set_random_seed(5)
    model = compiled(Subclassed(), run_eagerly=run_eagerly)
    model(X[:1])
    built = BitLogger(every=1)
    fit(model, built, shuffle=False)
    assert late.records[0]["bit_flips"] == 0.0 and built.records[0]["bit_flips"] > 0
    assert late.records[1:] == built.records[1:]


class WithTeacher(tf.keras.Model):
    """A student that learns what its teacher answers, without a call of its own."""

    def __init__(self, student, teacher, built=False):
        super().__init__()
        self.student, self.teacher = student, teacher
        self.built = built

    def train_step(self, data):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((self.student(data[0]) - self.teacher(data[0])) ** 2)
        variables = self.student.trainable_variables
        self.optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return {"loss": loss}


def test_a_model_without_a_call_is_observed_from_its_first_step():
    model = compiled(WithTeacher(sequential(), sequential()))
    saved = Saved()
    saved.codes = lambda: {kernel.name: kernel.codes() for kernel in quantized_kernels(model)}
    logger = BitLogger(every=1)
    before = saved.codes()
    fit(model, logger, saved, epochs=1)
    changed = [np.mean(before[name] != saved.steps[0][name]) for name in before]
    assert [logger.records[0][f"{name}/bit_flips"] for name in before] == pytest.approx(changed)
    assert logger.records[0]["bit_flips"] > 0


@pytest.mark.parametrize("built", [False, True])
@pytest.mark.parametrize("shape", [None, (None, 4)])
def test_a_distiller_is_observed_whoever_says_that_it_is_built(built, shape):
    student, teacher = (
        tf.keras.Sequential([lq.layers.QuantDense(4, kernel_quantizer="ir_net", name="q")], name=name)
        for name in ("student", "teacher")
    )
    if shape is not None:
        teacher.build(shape)
        student.build(shape)
    model = WithTeacher(student, teacher, built)
    model.compile("sgd")
    callbacks = [BitLogger(), ErrorDecay(t_min=0.2)]
    logs = model.fit(np.ones((4, 4)), np.ones((4, 4)), verbose=0, callbacks=callbacks).history
    assert student.layers[0].kernel_quantizer.t.numpy() == pytest.approx(0.2)
    assert {"student/q/bit_entropy", "teacher/q/bit_entropy", "loss"} <= set(logs)
    with pytest.raises(InputError, match="probe must be None for 'with_teacher"):
        model.fit(np.ones((4, 4)), np.ones((4, 4)), verbose=0, callbacks=[BitLogger(probe=np.ones((2, 4)))])


def test_a_second_fit_counts_against_loaded_weights(tmp_path):
    model = sequential()
    model.save_weights(tmp_path / "weights.h5")
    logger = BitLogger()
    fit(model, logger)
    model.load_weights(tmp_path / "weights.h5")
    saved = Saved()
    fit(model, logger, saved)
    assert_equal_numpy(saved.epoch_logs, saved.epochs)


class Interrupt(tf.keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 2:
            raise KeyboardInterrupt


@pytest.mark.parametrize("logger_first", [True, False])
def test_flips_after_a_resume_count_against_the_restored_weights(tmp_path, logger_first):
    def callbacks():
        pair = [BitLogger(every=1), tf.keras.callbacks.BackupAndRestore(tmp_path)]
        return pair if logger_first else pair[::-1]

    saved, resumed = Saved(), Saved()
    with pytest.raises(KeyboardInterrupt):
        fit(sequential(), *callbacks(), saved, Interrupt(), epochs=4)
    history = fit(sequential(), *callbacks(), resumed, epochs=4).history
    assert len(history["bit_flips"]) == 2
    assert_equal_numpy(resumed.epoch_logs, [saved.epochs[-1], *resumed.epochs[1:]])
    assert_equal_numpy(resumed.step_logs, [saved.steps[-1], *resumed.steps[1:]])
    assert len(resumed.step_logs) == 6 and sum(logs["bit_flips"] for logs in resumed.step_logs) > 0


class Accumulating(tf.keras.Model):
    """Applies the sum of the gradients of two steps in every second one."""

    def build_sums(self):
        self.sums = [tf.Variable(tf.zeros_like(v), trainable=False) for v in self.trainable_variables]
        self.count = tf.Variable(0, trainable=False)

    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            loss = self.compute_loss(x, y, self(x, training=True))
        for total, gradient in zip(self.sums, tape.gradient(loss, self.trainable_variables), strict=True):
            total.assign_add(gradient)
        self.count.assign_add(1)
        self.optimizer.build(self.trainable_variables)
        tf.cond(self.count % 2 == 0, self.apply, lambda: None)
        return {"loss": loss}

    def apply(self):
        self.optimizer.apply_gradients(zip(self.sums, self.trainable_variables, strict=True))
        for total in self.sums:
            total.assign(tf.zeros_like(total))


def test_gradient_accumulation():
    inner = sequential()
    model = compiled(Accumulating(inner.inputs, inner.outputs))
    model.build_sums()
    saved = Saved()
    fit(model, BitLogger(every=1), saved)
    assert_equal_numpy(saved.step_logs, saved.steps)
    flips = [logs["bit_flips"] for logs in saved.step_logs]
    assert flips[0::2] == [0.0] * len(flips[0::2])
    assert sum(flips) > 0


@pytest.mark.parametrize(
    ("steps_per_execution", "epochs", "expected"), [(1, (1, 1), [2, 4, 6]), (3, (2,), [3, 6])]
)
def test_every_second_step_is_recorded_as_far_as_keras_calls_between(steps_per_execution, epochs, expected):
    logger = BitLogger(every=2)
    model = sequential(steps_per_execution=steps_per_execution)
    for count in epochs:
        fit(model, logger, epochs=count)
    assert [record["step"] for record in logger.records] == expected


def test_state_continues_where_it_was():
    first, second = BitLogger(every=2), BitLogger(every=2)
    fit(sequential(), first, epochs=1)
    second.set_state(first.get_state())
    fit(sequential(), second, epochs=1)
    assert [record["step"] for record in second.records] == [2, 4, 6]


def test_callbacks_after_it_see_the_keys(tmp_path):
    csv_path = tmp_path / "history.csv"
    stopping = tf.keras.callbacks.EarlyStopping("conv/bit_flips", mode="max", min_delta=2, patience=1)
    best = tf.keras.callbacks.ModelCheckpoint(
        str(tmp_path / "best.keras"), monitor="bit_entropy", mode="max", save_best_only=True
    )
    history = fit(sequential(), BitLogger(), tf.keras.callbacks.CSVLogger(csv_path), stopping, best, epochs=5)
    assert len(history.epoch) == 2
    with csv_path.open() as file:
        rows = list(csv.DictReader(file))
    assert rows[0].keys() >= KEYS
    assert [float(row["conv/bit_flips"]) for row in rows] == history.history["conv/bit_flips"]
    assert (tmp_path / "best.keras").exists()


@pytest.mark.parametrize("verbose", [0, 1, 2])
def test_progress_shows_the_network_only(capsys, verbose):
    fit(sequential(), BitLogger(every=1), epochs=1, verbose=verbose)
    line = capsys.readouterr().out
    assert ("bit_flips" in line) == (verbose > 0)
    assert "conv/" not in line


def test_copies_start_afresh():
    logger = BitLogger(every=1, layers=["conv"])
    fit(sequential(), logger, epochs=1)
    twin = copy.deepcopy(logger)
    assert twin.layers == ["conv"]
    assert twin.model is None
    history = fit(sequential("bi_half"), twin, epochs=1).history
    assert "dense/bit_entropy" not in history
    assert history["conv/bit_entropy"] == history["bit_entropy"] == [1.0]


def test_larqs_own_metric_is_left_alone():
    def flip_ratio(*callbacks):
        tf.keras.utils.set_random_seed(1)
        with lq.context.metrics_scope(["flip_ratio"]):
            model = sequential()
        history = fit(model, *callbacks, shuffle=False).history
        return [values for key, values in history.items() if "flip_ratio" in key]

    alone = flip_ratio()
    assert np.sum(alone) > 0
    assert flip_ratio(BitLogger(every=1)) == alone


def test_activations_of_a_probe_equal_numpy():
    model = sequential()
    saved = Saved()
    history = fit(model, BitLogger(probe=X[:7]), saved, epochs=2).history
    before = tf.keras.Model(model.inputs, model.layers[-2].output)(X[:7], training=False)
    codes = np.where(before.numpy() >= 0, 1, -1)
    assert history["dense/activation_entropy"][-1] == pytest.approx(entropy(codes))
    assert history["activation_positive_ratio"][-1] == pytest.approx(np.mean(codes == 1))
    assert isinstance(model.layers[-1].input_quantizer, lq.quantizers.SteSign)


def test_layers_of_one_name_have_keys_of_their_own_and_their_activations_the_same():
    binary = {"kernel_quantizer": "bi_half", "input_quantizer": "ste_sign"}

    def one_sided(x):
        return tf.ones_like(x)

    class Twins(tf.keras.Model):
        def __init__(self):
            super().__init__()
            shared = lq.layers.QuantDense(4, name="d", **binary)
            other = lq.layers.QuantDense(4, name="d", kernel_quantizer=one_sided)
            self.parts = [other, shared, lq.layers.QuantDense(4, name="d", **binary), shared]
            options = {"input_quantizer": "ste_sign", "depthwise_quantizer": "ste_sign"}
            self.head = lq.layers.QuantSeparableConv1D(4, 1, name="s", **options)

        def call(self, inputs):
            for part in self.parts:
                inputs = part(inputs)
            return tf.reduce_mean(self.head(inputs), axis=1)

    model = Twins()
    model(X[:1, :3, :2, 0])
    names = [kernel.name for kernel in quantized_kernels(model)]
    assert names == ["d", "d_1", "d_2", "s"]
    counts = ActivationProbe(model, X[:7, :3, :2, 0]).observe()
    assert list(counts) == ["d_1", "d_2", "s"]
    # A shared layer is one layer, called twice.
    assert [int(each.size.sum()) for each in counts.values()] == [2 * 7 * 3 * 4, 7 * 3 * 4, 7 * 3 * 4]
    history = compiled(model).fit(X[:, :3, :2, 0], Y, verbose=0, callbacks=[BitLogger()]).history
    assert [history[f"{name}/bit_entropy"] for name in ("d", "d_1", "d_2")] == [[0.0], [1.0], [1.0]]


def test_activations_of_pruned_layers():
    model = compiled(pruning.prune(sequential(), sparsity=0.5))
    history = fit(model, BitLogger(probe=X[:7]), epochs=1).history
    assert "dense/activation_entropy" in history and "dense/dense/activation_entropy" not in history
    wrapper = model.layers[-1]
    assert "input_quantizer" not in vars(wrapper)
    assert wrapper.input_quantizer is wrapper.layer.input_quantizer


def test_activations_without_a_value_have_no_sign():
    values = tf.constant([[1.0, -2.0], [float("nan"), 0.0], [-0.5, float("nan")]])
    counts = counting.count_codes(values)
    assert (counts.positive.tolist(), counts.zero.tolist()) == ([1, 0], [1, 2])
    assert counts.positive_ratio == pytest.approx(1 / 3)


def test_share_of_positive_bits_at_simans_optimum():
    model = sequential()
    history = fit(model, BitLogger(optimal_ratio=True), epochs=1).history
    filters = np.abs(quantized_kernels(model)[0].latent().reshape(-1, 4)).T
    sums = np.cumsum(-np.sort(-filters, axis=1), axis=1)
    best = np.argmax(sums / np.sqrt(np.arange(1, filters.shape[1] + 1)), axis=1) + 1
    assert history["conv/optimal_ratio"] == [pytest.approx(np.mean(best) / filters.shape[1])]


def events(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.util.tensor_util import make_ndarray

    accumulator = EventAccumulator(str(folder), size_guidance={"tensors": 0})
    accumulator.Reload()
    return {
        tag: [(event.step, make_ndarray(event.tensor_proto)) for event in accumulator.Tensors(tag)]
        for tag in accumulator.Tags()["tensors"]
    }


@pytest.mark.parametrize("beside_keras", [True, False])
def test_tensorboard_files(tmp_path, beside_keras):
    board = [tf.keras.callbacks.TensorBoard(tmp_path, write_graph=False)] if beside_keras else []
    logger = BitLogger(every=2, log_dir=tmp_path)
    history = fit(sequential("bi_half"), logger, *board, epochs=2).history
    read = events(tmp_path / "bits")
    for measure in KEYS:
        for layer in ("conv", "dense"):
            assert [step for step, _ in read[f"{measure}/{layer}"]] == [0, 1]
            values = [float(value) for _, value in read[f"{measure}/{layer}"]]
            assert values == pytest.approx(history[f"{layer}/{measure}"])
    assert [step for step, _ in read["bit_flips_by_step/network"]] == [2, 4, 6]
    size = 3 * 3 * 2 * 4
    for tag in ("latent/conv", "codes/conv"):
        assert [histogram[:, 2].sum() for _, histogram in read[tag]] == [size, size]
    assert read["codes/conv"][0][1][:, 2].tolist() == [size / 2, 0, size / 2]
    if beside_keras:
        assert "epoch_conv/bit_flips" in events(tmp_path / "train")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"every": 0}, "every"),
        ({"every": "batch"}, "every"),
        ({"layers": "conv"}, "layers"),
        ({"histogram_freq": -1}, "histogram_freq"),
        ({"layers": ["conv", "covn"]}, r"layers.*'conv', 'dense'.*'covn'"),
        ({"probe": X[:, :5]}, r"probe.*\(None, 6, 6, 2\).*\(48, 5, 6, 2\)"),
        ({"probe": "images"}, "probe"),
        ({"log_dir": "file/logs"}, "log_dir"),
    ],
)
def test_bad_input_is_an_error_before_training(tmp_path, monkeypatch, arguments, message):
    (tmp_path / "file").write_text("")
    monkeypatch.chdir(tmp_path)
    model = sequential()
    before = model.get_weights()
    with pytest.raises(InputError, match=message):
        fit(model, BitLogger(**arguments))
    np.testing.assert_equal(before, model.get_weights())


@pytest.mark.parametrize("built", [True, False])
@pytest.mark.parametrize(
    ("layer", "probe", "message"),
    [
        (lambda: tf.keras.layers.Dense(3), None, "no quantized kernel"),
        (lambda: lq.layers.QuantDense(3, kernel_quantizer="ste_sign"), X[:2], "input_quantizer"),
    ],
)
def test_a_model_without_what_is_to_be_observed(built, layer, probe, message):
    model = compiled(tf.keras.Sequential([tf.keras.layers.Flatten(), layer()]))
    if built:
        model(X[:1])
    with pytest.raises(InputError, match=message):
        fit(model, BitLogger(probe=probe))
    assert model.optimizer.iterations.numpy() == (0 if built else 1)


@pytest.mark.parametrize("subclassed", [True, False])
@pytest.mark.parametrize("probe", [X[:2, :5], X[:2, ..., :1], X[:2, 0]], ids=lambda probe: str(probe.shape))
def test_a_probe_of_the_wrong_shape_where_the_first_batch_builds(subclassed, probe):
    model = compiled(Subclassed() if subclassed else tf.keras.Sequential(layers("ste_sign")))
    with pytest.raises(InputError, match="probe must"):
        fit(model, BitLogger(probe=probe))
    assert model.optimizer.iterations.numpy() == 1
