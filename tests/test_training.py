import importlib.util
import json
import signal
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from programs import train_small
from programs.train_small import Stop, build, settings, train
from tensorflow.python.framework.config import is_op_determinism_enabled

from larq_equalbits import training
from larq_equalbits._bits.kernels import quantized_kernels
from larq_equalbits._errors import InputError, WorkError
from larq_equalbits.training import building, checkpoint, recipes

PROGRAM = Path(train_small.__file__)


def weights(folder, name="model.keras"):
    model = tf.keras.models.load_model(Path(folder) / name)
    return {variable.name: variable.numpy() for variable in model.variables}


def assert_same_files(one, other):
    assert (one / "history.csv").read_text() == (other / "history.csv").read_text()
    for name in ("model.keras", "best.keras"):
        mine, others = weights(one, name), weights(other, name)
        assert list(mine) == list(others)
        for key, value in mine.items():
            np.testing.assert_array_equal(value, others[key], err_msg=key)
    assert json.loads((one / "results.json").read_text()) == json.loads((other / "results.json").read_text())


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    folder = tmp_path_factory.mktemp("unbroken")
    return train(folder)


def test_a_run_leaves_everything_in_its_folder(unbroken):
    files = (path for path in unbroken.folder.rglob("*") if path.is_file())
    names = {path.relative_to(unbroken.folder).as_posix() for path in files}
    expected = {"settings.json", "history.csv", "results.json", "checkpoint/state.npz"}
    expected |= {"model.keras", "best.keras"}
    logs = {name for name in names if name.startswith("logs/")}
    assert names - logs == expected
    assert bool(logs) == (importlib.util.find_spec("tensorboard") is not None)
    assert all("events.out.tfevents" in name for name in logs)
    assert len(unbroken.history["val_accuracy"]) == 3
    for key in ("binary/bit_entropy", "bit_flips", "learning_rate", "loss"):
        assert len(unbroken.history[key]) == 3
    assert unbroken.results["test_accuracy"] > 0.3
    assert unbroken.best_epoch == int(np.argmax(unbroken.history["val_accuracy"]))


def test_a_run_is_read_again_as_it_was(unbroken):
    again = training.Run.load(unbroken.folder)
    assert again == unbroken
    optimizer = again.load_model("best").optimizer
    assert isinstance(optimizer.learning_rate, tf.Variable | tf.Tensor | float)


def test_the_same_seed_gives_the_same_bits(unbroken, tmp_path):
    again = train(tmp_path / "again")
    assert_same_files(unbroken.folder, again.folder)
    other = train(tmp_path / "other", settings(seed=1, epochs=1))
    assert other.history["loss"][0] != unbroken.history["loss"][0]


def test_training_leaves_the_process_as_it_was(tmp_path):
    train(tmp_path, settings(epochs=1, precision="mixed_bfloat16"))
    assert tf.keras.mixed_precision.global_policy().name == "float32"
    assert not is_op_determinism_enabled()
    assert not tf.keras.backend.experimental.is_tf_random_generator_enabled()


def interrupt():
    raise KeyboardInterrupt


# A run that is killed in a later epoch is resumed below.
def test_resuming_what_was_interrupted_in_the_first_epoch_equals_an_unbroken_run(unbroken, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, callbacks=[Stop(0, interrupt)])
    assert_same_files(unbroken.folder, train(tmp_path, resume=True).folder)


@pytest.mark.parametrize("epoch", [2, None])
def test_a_light_run_saves_the_same_models_at_its_end_alone(unbroken, tmp_path, epoch):
    if epoch is not None:
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path, callbacks=[Stop(epoch, interrupt)], light=True)
        assert not list(tmp_path.glob("*.keras"))
    run = train(tmp_path, resume=epoch is not None, light=True)
    assert_same_files(unbroken.folder, run.folder)
    assert not (tmp_path / "logs").exists()
    optimizers = [each.load_model("best").optimizer for each in (run, unbroken)]
    np.testing.assert_equal(*([value.numpy() for value in each.variables] for each in optimizers))


def test_a_run_is_resumed_as_light_as_it_was_begun(unbroken):
    with pytest.raises(InputError, match="light must be False to resume the run"):
        train(unbroken.folder, resume=True, light=True)


def test_the_results_are_those_of_the_files(tmp_path):
    class Forgetful(tf.keras.callbacks.Callback):
        def on_train_end(self, logs=None):
            for weight in self.model.trainable_weights:
                weight.assign(tf.zeros_like(weight))

    run = train(tmp_path, callbacks=[Forgetful()])
    images = building.images(settings())
    for which, prefix in (("last", ""), ("best", "best_")):
        values = run.load_model(which).evaluate(images.test, verbose=0)
        assert values == [run.results[f"{prefix}test_loss"], run.results[f"{prefix}test_accuracy"]]


def test_resuming_a_finished_run_only_evaluates(unbroken, tmp_path):
    before = (unbroken.folder / "model.keras").stat().st_mtime_ns
    again = train(unbroken.folder, resume=True)
    assert again == unbroken
    assert (unbroken.folder / "model.keras").stat().st_mtime_ns == before
    ended = [
        train(
            tmp_path, resume=resume, callbacks=[tf.keras.callbacks.EarlyStopping("val_loss", min_delta=100.0)]
        )
        for resume in (False, True)
    ]
    assert ended[0] == ended[1]
    assert ended[0].results["epochs"] == 2


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"epochs": 4}, "epochs: 3 against 4"),
        ({"quantizer": "bi_half"}, "quantizer: 'ste_sign' against 'bi_half'"),
        ({"seed": 2}, "seed: 0 against 2"),
        (
            {"learning_rate": 0.5, "momentum": 0.5},
            "learning_rate: 0.1 against 0.5; momentum: 0.9 against 0.5",
        ),
    ],
)
def test_resuming_with_other_settings_is_refused(unbroken, changes, words):
    with pytest.raises(InputError, match=words):
        train(unbroken.folder, settings(**changes), resume=True)


def test_resuming_with_another_model_is_refused(unbroken):
    def wider(**arguments):
        return build(**arguments, units=17)

    before = (unbroken.folder / "checkpoint" / "state.npz").read_bytes()
    with pytest.raises(InputError, match=r"binary/kernel:0 of shape \(64, 17\).*\(64, 16\)"):
        train(unbroken.folder, build=wider, resume=True)
    assert (unbroken.folder / "checkpoint" / "state.npz").read_bytes() == before


class Counter(tf.keras.callbacks.Callback):
    """A callback with a state."""

    def get_state(self):
        return {}

    def set_state(self, state):
        raise AssertionError("nothing may be taken up")


def test_resuming_with_other_callbacks_is_refused(unbroken):
    built = []

    def kept(**arguments):
        built.append((model := build(**arguments), model.get_weights()))
        return model

    with pytest.raises(InputError, match="begun with, 1 with a state, but got 2"):
        train(unbroken.folder, build=kept, resume=True, callbacks=[Counter()])
    [(model, before)] = built
    np.testing.assert_equal(model.get_weights(), before)


def test_resuming_nothing_is_refused(tmp_path):
    with pytest.raises(InputError, match="folder must be that of a run"):
        train(tmp_path / "none", resume=True)
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 half a file", None])
def test_a_damaged_checkpoint_is_named(unbroken, tmp_path, content):
    path = tmp_path / "state.npz"
    whole = (unbroken.folder / "checkpoint" / "state.npz").read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if content is None else content)
    with pytest.raises(InputError, match=r"state\.npz is damaged"):
        checkpoint.read_state(path)


def test_kill_9_within_an_epoch_loses_one_epoch(unbroken, run_script, tmp_path):
    run_script(PROGRAM, tmp_path, "--kill-in-epoch", 2, status=-signal.SIGKILL)
    assert checkpoint.read_state(tmp_path / "checkpoint" / "state.npz").epoch == 2
    assert_same_files(unbroken.folder, train(tmp_path, resume=True).folder)


@pytest.mark.slow
def test_kill_9_while_saving_loses_one_epoch(unbroken, run_script, tmp_path):
    run_script(PROGRAM, tmp_path, "--kill-while-saving", 2, status=-signal.SIGKILL)
    assert list((tmp_path / "checkpoint").glob(".state.npz.*"))
    assert checkpoint.read_state(tmp_path / "checkpoint" / "state.npz").epoch == 1
    assert_same_files(unbroken.folder, train(tmp_path, resume=True).folder)
    assert not list(tmp_path.rglob(".*.*"))


@pytest.mark.slow
@pytest.mark.parametrize("recipe", recipes.NAMES)
def test_each_recipe_trains_the_zoos_conv2(tmp_path, recipe):
    chosen = training.Settings(recipe=recipe, epochs=1, model_options={"width": 0.1})
    run = training.train(chosen, tmp_path, verbose=0)
    assert np.isfinite(run.history["loss"]).all()
    model = run.load_model()
    kernels = quantized_kernels(model)
    assert kernels
    constraints = {type(kernel.variable.constraint).__name__ for kernel in kernels}
    assert ("MagnitudeClip" in constraints) == (recipe == "siman")
    zeros = np.mean([np.mean(kernel.codes() == 0) for kernel in kernels])
    assert zeros == pytest.approx(0.5 if recipe == "mpt" else 0.0, abs=0.02)


def test_a_full_disk_loses_nothing(unbroken, run_script, tmp_path):
    said = run_script(PROGRAM, tmp_path, "--fill-disk-in-epoch", 1, status=1).stderr
    assert f"epoch 2 could not be saved in {tmp_path}: File too large; 1 finished epochs are safe" in said
    assert checkpoint.read_state(tmp_path / "checkpoint" / "state.npz").epoch == 1
    assert training.Run.load(tmp_path).load_model()
    assert_same_files(unbroken.folder, train(tmp_path, resume=True).folder)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model": "conv3"}, "model must be one of"),
        ({"dataset": "mnist"}, "dataset must be one of"),
        ({"quantizer": "bihalf"}, "quantizer must be"),
        ({"quantizer": "bi_half", "quantizer_options": {"positive_ratio": 2}}, "positive_ratio"),
        (
            {"quantizer": "bi_half", "quantizer_options": {"ratio": 0.5}},
            "quantizer_options must suit 'bi_half'",
        ),
        ({"model": "conv2", "model_options": {"depth": 3}}, "model_options must suit the network 'conv2'"),
        ({"model": "conv2", "model_options": {"num_classes": 12}}, "model_options must suit.*num_classes"),
        ({"model": "vgg16"}, "input_shape must be at least 32x32 pixels"),
        ({"constraint": "tight", "model": "conv2"}, "constraint must be"),
        ({"estimator": (1e-3, 10.0), "model_options": {"width": 0.05}}, "needs a model with the quantizer"),
        (
            {"percentile": 15.0, "model_options": {"width": 0.05}},
            "needs a quantized kernel with the constraint",
        ),
    ],
)
def test_bad_settings_leave_nothing(tmp_path, changes, words):
    with pytest.raises(InputError, match=words):
        training.train(training.Settings(**changes), tmp_path / "out", verbose=0)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "callback",
    [tf.keras.callbacks.LearningRateScheduler(lambda epoch: 0.1), tf.keras.callbacks.ReduceLROnPlateau()],
)
def test_a_callback_that_could_not_set_the_rate_is_refused(tmp_path, callback):
    with pytest.raises(InputError, match=f"sets the learning rate: .* but got '{type(callback).__name__}'"):
        train(tmp_path / "out", callbacks=[callback])
    assert not (tmp_path / "out").exists()


def test_a_class_count_that_contradicts_the_data_is_refused(tmp_path):
    def twelve(*, num_classes, **arguments):
        return build(num_classes=12, **arguments)

    with pytest.raises(InputError, match="model must have 10 outputs for the classes of digits"):
        train(tmp_path / "out", build=twelve)
    assert not (tmp_path / "out").exists()


def test_an_output_folder_that_cannot_be_written_is_an_os_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        train(tmp_path / "file" / "run", settings(epochs=1))


def test_a_training_that_diverges_is_no_result(tmp_path):
    changes = {"learning_rate": 1e30, "schedule": "constant", "warmup_epochs": 1e-9}
    with pytest.raises(WorkError, match=r"diverged: loss of epoch 1 is .*learning_rate.*0 epochs"):
        train(tmp_path, settings(**changes))
    assert not (tmp_path / "model.keras").exists()
    assert not (tmp_path / "results.json").exists()
