"""Searches that train: every one on digits, with a network of one binary layer."""

import csv
import gc
import json

import larq as lq
import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner
from tensorflow.python.framework.func_graph import FuncGraph

import larq_equalbits
from larq_equalbits import _files, callbacks, export, training, tuning
from larq_equalbits._errors import InputError, WorkError
from larq_equalbits.cli import program
from larq_equalbits.tuning import machine, trials

SETTINGS = training.Settings(epochs=1, train_images=256, learning_rate=0.01)


def tiny(hp, units=32):
    binary = {"input_quantizer": "ste_sign", "kernel_quantizer": "bi_half", "use_bias": False}
    layers = [
        tf.keras.layers.Flatten(input_shape=(8, 8, 1)),
        lq.layers.QuantDense(units, name="hidden", **binary),
        tf.keras.layers.BatchNormalization(scale=False),
        tf.keras.layers.Dense(10),
    ]
    return tf.keras.Sequential(layers)


def three_ratios(out, **options):
    """A sweep of three ratios, one of which cannot be built."""

    def build(hp):
        if hp.get("positive_ratio") == 0.9:
            raise ValueError("no such network")
        return tiny(hp)

    return tuning.BitRatioSweep(build, [0.25, 0.5, 0.9], out=out, **{"settings": SETTINGS, **options})


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    search = three_ratios(tmp_path_factory.mktemp("sweep") / "ratios")
    search.search()
    return search


def test_every_trial_is_kept_with_the_bits_and_a_failed_one_with_its_reason(searched):
    found = searched.trials()
    assert [trial.status for trial in found] == ["COMPLETED", "COMPLETED", "FAILED"]
    expected = [{"positive_ratio": ratio, "seed": 0} for ratio in (0.25, 0.5, 0.9)]
    assert [trial.values for trial in found] == expected
    assert found[2].reason == "the model could not be built: ValueError: no such network"
    assert [trial.metrics["positive_ratio"] for trial in found[:2]] == [0.25, 0.5]
    assert found[1].metrics["hidden/bit_entropy"] == 1.0
    for trial in found[:2]:
        kept = searched.oracle.trials[trial.name].metrics
        assert kept.get_last_value("filter_entropy") == trial.metrics["filter_entropy"]
        assert {"hidden/bit_flips", "val_accuracy", "test_accuracy", "learning_rate"} <= set(trial.metrics)


def test_the_files(searched):
    with (searched.out / "trials.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["positive_ratio"] for row in rows] == ["0.25", "0.5", "0.9"]
    assert float(rows[0]["measured_positive_ratio"]) == 0.25
    assert rows[2]["status"] == "FAILED" and rows[2]["reason"]
    content = json.loads((searched.out / "trials.json").read_text())
    assert [each["completed"] for each in content["ratios"]] == [1, 1, 0]
    assert content["trials"][1]["metrics"]["bit_entropy"] == 1.0
    for mine, other in zip(trials.load(searched.out), searched.trials(), strict=True):
        assert mine.to_dict() == other.to_dict()
    assert (searched.out / "ratios.png").read_bytes().startswith(b"\x89PNG")


def test_the_best_trial_is_a_run_that_converts(searched):
    run = training.Run.load(searched.out / "best")
    accuracies = {trial.folder: trial.metrics["val_accuracy"] for trial in searched.trials()[:2]}
    assert (searched.out / "best").resolve() == max(accuracies, key=accuracies.get).resolve()
    report = export.convert(run.load_model())
    assert [layer.binary for layer in report.layers if "hidden" in layer.name] == [True]


def test_a_trial_repeats_bit_for_bit(searched, tmp_path):
    trial = searched.trials()[0]
    run = training.Run.load(trial.folder)
    hyper = searched.hyper
    hp = searched.oracle.trials[trial.name].hyperparameters
    again = training.train(hyper.settings(hp), tmp_path, verbose=0, build=hyper.builder(hp))
    assert again.history == run.history and again.results == run.results
    np.testing.assert_equal(again.load_model().get_weights(), run.load_model().get_weights())


def test_other_settings_are_refused_by_name_and_nothing_is_touched(searched):
    before = sorted(searched.out.rglob("*"))
    words = "settings.epochs: 1 against 2; objective.name: 'val_accuracy' against 'bit_entropy'.*overwrite"
    with pytest.raises(InputError, match=words):
        three_ratios(searched.out, settings=SETTINGS.replace(epochs=2), objective="bit_entropy")
    assert sorted(searched.out.rglob("*")) == before


def test_a_folder_of_another_version_is_refused_with_both(searched, tmp_path):
    description = json.loads((searched.out / "sweep.json").read_text())
    (tmp_path / "sweep.json").write_text(json.dumps({**description, "version": "9.8.7"}))
    with pytest.raises(InputError, match=rf"{larq_equalbits.__version__}, but .* with 9\.8\.7"):
        three_ratios(tmp_path)


def test_a_report_shows_what_failed_and_why(searched):
    found = [trial.to_dict() for trial in trials.found(searched.out)]
    assert found == [trial.to_dict() for trial in searched.trials()]
    result = CliRunner().invoke(program, ["sweep", "--report", "--out", str(searched.out)])
    assert result.exit_code == 0, result.output
    assert "failed: the model could not be built: ValueError: no such network" in result.output
    assert "--retry-failed" in result.output and "0.25" in result.output


def test_a_sweep_grows_by_ratios_and_seeds_and_repeats_nothing(tmp_path):
    arguments = {"settings": SETTINGS, "out": tmp_path / "out"}
    tuning.BitRatioSweep(tiny, [0.25], **arguments).search(verbose=0)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "trial_0").glob("*.json")}
    grown = tuning.BitRatioSweep(tiny, [0.5], **arguments)
    grown.search(verbose=0)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert [trial.values["positive_ratio"] for trial in grown.trials()] == [0.25, 0.5]
    description = json.loads((tmp_path / "out" / "sweep.json").read_text())
    assert (description["ratios"], description["seeds"]) == ([0.25, 0.5], [0])
    assert tuning.BitRatioSweep(tiny, [0.5], repeats=2, **arguments).oracle.remaining_trials() == 2


def test_more_trials_go_on_from_those_of_a_finished_search(tmp_path):
    def search(count):
        hypermodel = tuning.HyperModel(tiny, SETTINGS)
        return tuning.RandomSearch(hypermodel, out=tmp_path / "out", max_trials=count)

    search(1).search(verbose=0)
    result = tmp_path / "out" / "trial_0" / "trial_results.json"
    before = result.stat().st_mtime_ns
    more = search(2)
    more.search(verbose=0)
    first, second = more.trials()
    assert result.stat().st_mtime_ns == before and first.values != second.values
    with pytest.raises(InputError, match="max_trials: 2 against 1"):
        search(1)


def test_a_failed_trial_runs_again_where_that_is_asked_for(tmp_path):
    broken = [True]

    def build(hp):
        if broken[0]:
            raise ValueError("not yet")
        return tiny(hp)

    def search():
        return tuning.BitRatioSweep(build, [0.5], settings=SETTINGS, out=tmp_path / "out")

    with pytest.raises(WorkError, match="not yet"):
        search().search(verbose=0)
    broken[0] = False
    with pytest.raises(WorkError, match="not yet"):
        search().search(verbose=0)
    again = search()
    again.search(retry_failed=True, verbose=0)
    assert [(trial.status, trial.reason) for trial in again.trials()] == [("COMPLETED", None)]


def test_a_trial_lists_the_ratios_of_its_own_layers_only():
    def build(hp):
        model = tiny(hp)
        if hp.Choice("layers", [2, 1]) == 2:
            second = lq.layers.QuantDense(10, kernel_quantizer="bi_half", name="second")
            model = tf.keras.Sequential([*model.layers[:-1], second])
        return model

    hypermodel = tuning.HyperModel(build, SETTINGS, per_layer=True)
    hp = tuning.keras_tuner.HyperParameters()
    hypermodel.builder(hp)()
    both = {"positive_ratio/hidden", "positive_ratio/second"}
    assert both <= set(hypermodel.own_values(hp.values))
    hp.values["layers"] = 1
    hypermodel.builder(hp)()
    assert both & set(hypermodel.own_values(hp.values)) == {"positive_ratio/hidden"}


def test_a_folder_with_other_things_is_refused_even_to_overwrite(tmp_path):
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(InputError, match="other things"):
        tuning.BitRatioSweep("conv2", [0.5], out=tmp_path, overwrite=True)
    assert (tmp_path / "thesis.tex").exists()


def test_overwriting_replaces_the_sweep_and_leaves_the_rest(tmp_path):
    out = tmp_path / "out"
    first = tuning.BitRatioSweep("conv2", [0.5, 0.6], out=out)
    (out / "trial_0").mkdir()
    (out / "notes.txt").write_text("mine")
    second = tuning.BitRatioSweep("conv2", [0.5, 0.6], out=out, objective="bit_entropy", overwrite=True)
    assert first.trials() == second.trials() == []
    assert not (out / "trial_0").exists() and (out / "notes.txt").exists()


def test_a_metric_that_no_trial_logs_ends_the_search_at_once_and_names_those_there_are(tmp_path):
    out = tmp_path / "out"
    goal = tuning.objective("val_acuracy", "max")
    search = tuning.BitRatioSweep(tiny, [0.5, 0.6], out=out, settings=SETTINGS, objective=goal)
    with pytest.raises(InputError, match=r"'val_acuracy'.*val_accuracy.*hidden/bit_entropy.*tflite_bytes"):
        search.search(verbose=0)
    # Nothing stands in the way of a search with the right name.
    assert list(out.iterdir()) == []


def test_training_that_diverges_is_a_failed_trial_and_all_failed_is_an_error(tmp_path):
    def settings(hp):
        return SETTINGS.replace(learning_rate=hp.Fixed("learning_rate", 1e38))

    search = tuning.BitRatioSweep(tiny, [0.5], out=tmp_path / "out", settings=settings)
    with pytest.raises(WorkError, match=r"no trial.*diverged"):
        search.search(verbose=0)
    assert [trial.status for trial in search.trials()] == ["FAILED"]
    assert "diverged" in search.trials()[0].reason


def test_a_killed_trial_goes_on_from_its_last_epoch(tmp_path):
    epochs = []

    class Watch(tf.keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epochs == [0]:
                raise KeyboardInterrupt
            epochs.append(epoch)

        def __deepcopy__(self, memo):
            return self

    def search():
        two = SETTINGS.replace(epochs=2)
        return tuning.BitRatioSweep(tiny, [0.5], out=tmp_path / "out", settings=two, callbacks=[Watch()])

    with pytest.raises(KeyboardInterrupt):
        search().search(verbose=0)
    epochs.append("killed")
    result = CliRunner().invoke(program, ["sweep", "--report", "--out", str(tmp_path / "out"), "--json"])
    assert "positive_ratio 0.5, seed 0: epoch 1 of 2, val_accuracy" in json.loads(result.output)["begun"]["0"]
    search().search(verbose=0)
    assert epochs == [0, "killed", 1]


def test_a_trial_gives_back_the_graphs_that_it_traced(searched, tmp_path):
    def graphs():
        gc.collect()
        return sum(type(each) is FuncGraph for each in gc.get_objects())

    found = []

    class Count(tf.keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            found.append(graphs())

    # The first trial of all, that of `searched`, leaves functions that every later one uses.
    options = {"settings": SETTINGS, "callbacks": [Count()]}
    tuning.BitRatioSweep(tiny, [0.3, 0.5], out=tmp_path / "out", **options).search(verbose=0)
    assert found[1] == found[0]


@pytest.mark.slow
def test_two_processes_do_not_run_one_sweep(tmp_path, run_python):
    out = tmp_path / "out"
    search = tuning.BitRatioSweep("conv2", [0.5], out=out)
    code = f"from larq_equalbits import tuning; tuning.BitRatioSweep('conv2', [0.5], out={str(out)!r}, overwrite=True)"
    with _files.locked(out, "runs the sweep"):
        done = run_python("-c", code, status=1)
    assert "another process runs the sweep" in done.stderr.splitlines()[-1]
    assert search.trials() == [] and (out / "sweep.json").exists()


def test_callbacks_are_copied_for_every_trial_and_must_be_such_that_they_can_be(tmp_path):
    class Uncopyable(tf.keras.callbacks.Callback):
        def __deepcopy__(self, memo):
            raise TypeError("not me")

    with pytest.raises(InputError, match=r"deepcopy.*not me"):
        tuning.BitRatioSweep(tiny, [0.5], out=tmp_path, callbacks=[Uncopyable()])


@pytest.mark.slow
def test_hyperband_with_the_size_after_conversion_goes_on_from_checkpoints(tmp_path):
    def build(hp):
        return tiny(hp, hp.Choice("units", [32, 64]))

    arguments = {"out": tmp_path / "out", "max_epochs": 2, "factor": 2, "objective": "tflite_bytes"}
    hypermodel = tuning.HyperModel(build, SETTINGS, ratios=[0.5], seeds=[0, 1, 2, 3])
    search = tuning.Hyperband(hypermodel, **arguments)
    search.search()
    found = search.trials()
    promoted = [trial for trial in found if "tuner/trial_id" in trial.values]
    assert promoted and all(trial.status == "COMPLETED" for trial in found)
    for trial in promoted:
        former = search.oracle.trials[trial.values["tuner/trial_id"]]
        first = training.Run.load(search.get_trial_dir(former.trial_id)).history["loss"]
        assert training.Run.load(trial.folder).history["loss"][: len(first)] == first
        assert trial.metrics["epochs"] == 2
    sizes = {trial.values["units"]: trial.metrics["tflite_bytes"] for trial in found}
    assert sizes[32] < sizes[64]
    assert search.best_run().results and search.get_best_hyperparameters()[0]["units"] == 32
    before = {path: path.stat().st_mtime_ns for path in search.out.glob("trial_*/trial_results.json")}
    more = tuning.Hyperband(hypermodel, hyperband_iterations=2, **arguments)
    more.search(verbose=0)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert len(more.trials()) > len(found)
    assert (search.best_run().folder / "model.tflite").stat().st_size == sizes[32]


def test_a_search_over_a_ratio_for_each_layer(tmp_path):
    search = tuning.BayesianOptimization(
        tuning.HyperModel(tiny, SETTINGS, per_layer=True, low=0.2, high=0.8),
        out=tmp_path / "out",
        objective="hidden/bit_entropy",
        max_trials=1,
    )
    search.search(verbose=0)
    (trial,) = search.trials()
    ratio = trial.values["positive_ratio/hidden"]
    assert trial.metrics["hidden/positive_ratio"] == np.ceil(ratio * 64) / 64
    assert search.best_run().load_model().get_layer("hidden").kernel_quantizer.positive_ratio == ratio


def test_keras_tuners_own_classes_take_the_hypermodel(tmp_path):
    logger = callbacks.BitLogger(layers=["conv1_2"])
    model = tuning.HyperModel("conv2", SETTINGS.replace(model_options={"width": 0.1}), ratios=[0.25])
    tuner = tuning.keras_tuner.RandomSearch(
        model, tuning.objective("conv1_2/bit_entropy"), max_trials=1, directory=tmp_path, project_name="own"
    )
    tuner.search(callbacks=[logger], verbose=0)
    (trial,) = tuner.oracle.get_best_trials()
    assert trial.status == "COMPLETED" and 0.8 < trial.score < 0.83
    assert "val_accuracy" in trial.metrics.metrics and "dense1/bit_entropy" not in trial.metrics.metrics


def test_a_ratio_for_each_layer_keeps_what_the_recipe_says_of_the_network():
    settings = training.Settings(recipe="mpt", quantizer="bi_half", model_options={"width": 0.1})
    hp = tuning.keras_tuner.HyperParameters()
    tuning.HyperModel("conv2", settings, per_layer=True).build(hp)
    assert {"positive_ratio/conv1_1", "positive_ratio/classifier"} <= set(hp.values)


def test_workers_need_what_another_process_can_make(tmp_path):
    search = tuning.BitRatioSweep(tiny, [0.5], out=tmp_path / "out", settings=SETTINGS)
    with pytest.raises(InputError, match="keras-tuner's environment"):
        search.search(workers=2)
    with pytest.raises(InputError, match="workers"):
        search.search(workers=0)


def test_more_workers_than_processors_are_warned_of_with_numbers(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "machine", lambda: machine.Machine((0, 1), (), 0))
    search = tuning.BitRatioSweep("conv2", [0.3, 0.5, 0.7], out=tmp_path / "out")
    with pytest.warns(UserWarning, match="workers: 3 have to share 2 processors"):
        assert search._workers(9) == 3
    assert search._workers("auto") == 2
    with pytest.raises(InputError, match=r'workers must be an integer of at least 1.*or "auto"'):
        search._workers("all")


@pytest.mark.slow
def test_workers_run_any_search_of_a_network_of_the_zoo(tmp_path):
    out = tmp_path / "out"
    hypermodel = tuning.HyperModel("conv2", SETTINGS.replace(model_options={"width": 0.1}), per_layer=True)
    search = tuning.RandomSearch(hypermodel, out=out, objective="tflite_bytes", max_trials=2)
    search.search(workers=2)
    # The faster one may take both: a trial takes as long as the other needs to start.
    names = [json.loads(path.read_text())["worker"] for path in out.glob("trial_*/trial_results.json")]
    assert len(names) == 2 and {"worker-0", "worker-1"}.issuperset(names)
    assert search.best_run().results
    names = ("positive_ratio/conv1_2", "positive_ratio/dense1", "positive_ratio/dense2")
    for trial in search.trials():
        for name in names:
            kernel = name.partition("/")[2]
            assert trial.metrics[f"{kernel}/positive_ratio"] == pytest.approx(trial.values[name], abs=0.04)
