import hashlib
import json
import shutil

import numpy as np
import pytest
import tensorflow as tf

from larq_equalbits import data, training, zoo
from larq_equalbits._errors import InputError
from larq_equalbits.export import convert, model_json
from larq_equalbits.training.settings import Settings


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    training.train(Settings(epochs=1, model_options={"width": 0.25}), folder, verbose=0)
    return folder


def test_a_run_converts_is_inspected_and_verified(command, refused, run, tmp_path):
    done = command("convert", run, "--json")
    assert done.stderr == ""
    described = json.loads(done.stdout)
    tflite = (run / "model.tflite").read_bytes()
    beside = json.loads((run / "model.json").read_text())
    assert beside["sha256"] == described["sha256"] == hashlib.sha256(tflite).hexdigest()
    assert beside["source"] == described["source"] == "model.keras"
    assert beside["labels"] == [str(label) for label in range(10)]
    assert (beside["mean"], beside["std"], beside["input_shape"]) == ([0.3053], [0.3763], [8, 8, 1])
    assert beside["report"]["verification"]["argmax_agreement"] == 1
    assert model_json.check(run / "model.json", tflite) == beside
    with pytest.raises(InputError, match="another file"):
        model_json.check(run / "model.json", tflite + b"\0")

    inspected = command("inspect", run / "model.tflite", "--json")
    assert json.loads(inspected.stdout)["operators"]["LceBconv2d"] == 3
    assert "LceBconv2d" in command("inspect", run / "model.tflite").stdout

    assert json.loads(command("verify", run, "--json").stdout)["images"] == 355

    command("report", run)
    page = (run / "report.html").read_text()
    assert page.count("LceBconv2d") == 3
    assert "accuracy of the .tflite" in page
    assert "model.json" not in page

    other = zoo.conv2(input_shape=(8, 8, 1), num_classes=10, width=0.1)
    other.save(tmp_path / "other.keras")
    compared = ("verify", tmp_path / "other.keras", "--tflite", run / "model.tflite", "--dataset", "digits")
    said = command(*compared, status=1).stderr
    assert "of the file gives another class than Keras on" in said and "(--tolerance" in said

    (tmp_path / "model.tflite").write_bytes(tflite + b"\0")
    (tmp_path / "model.json").write_text(json.dumps(beside))
    said = refused("verify", run, "--tflite", tmp_path / "model.tflite")
    assert "describes another file than this .tflite" in said


@pytest.mark.slow
def test_what_was_made_of_the_best_model_is_compared_with_it(command, run, tmp_path):
    folder = tmp_path / "best"
    shutil.copytree(run, folder)
    # Of the last model nothing is left that could agree.
    zoo.conv2(input_shape=(8, 8, 1), num_classes=10, width=0.25).save(folder / "model.keras")
    command("convert", folder, "--best")
    assert json.loads((folder / "model.json").read_text())["source"] == "best.keras"
    command("verify", folder)
    command("device", folder, "--repeats", "1", "--warmup", "1", "--rounds", "1")
    (result,) = json.loads((folder / "device" / "report.json").read_text())["results"]
    (keras,) = [one for one in result["agreements"] if one["reference"] == "keras"]
    assert keras["argmax"] == 1

    described = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps({**described, "source": "model.keras"}))
    command("verify", folder, status=1)
    command("verify", folder, "--best")


def test_a_model_without_a_data_set_is_compared_on_random_inputs(command, tmp_path):
    def converted(*options):
        command("convert", tmp_path / "m.keras", "--json", *options)
        return json.loads((tmp_path / "model.json").read_text())["report"]["verification"]

    model = tf.keras.Sequential([tf.keras.layers.Dense(2, input_shape=(3,), name="y")])
    model.save(tmp_path / "m.keras")
    found = converted("--decisions", "y=values")
    assert found["generated"] and found["images"] == 32 and found["outputs"][0]["rule"] == "values"
    assert converted("--no-verify") is None


def test_the_recorded_source_counts_for_its_own_file_alone(tmp_path):
    model = tf.keras.Sequential([tf.keras.layers.Dense(2, input_shape=(3,))])
    path = tmp_path / "model.tflite"
    report = convert(model, path, source="best.keras")
    assert model_json.source_of(path) == "best.keras"
    path.write_bytes(report.tflite + b"\0")
    with pytest.raises(InputError, match="another file"):
        model_json.source_of(path)
    convert(model, path)
    assert model_json.source_of(path) is None
    (tmp_path / "model.json").write_text("[]")
    with pytest.raises(InputError, match="JSON object"):
        model_json.source_of(path)
    for name in ("x.json", "net-1.3"):
        with pytest.raises(InputError, match=r"path must be one that ends in \.tflite, but got"):
            convert(model, tmp_path / name)
        assert not (tmp_path / name).exists()


def test_one_call_converts_compares_the_test_split_and_describes_the_images(tmp_path):
    images = data.load("digits")
    model = zoo.conv2(input_shape=images.input_shape, num_classes=images.num_classes, width=0.25)
    report = convert(model, tmp_path / "model.tflite", images=images)
    assert report.verification.images == images.num_test and not report.verification.generated
    content = json.loads((tmp_path / "model.json").read_text())
    assert content["labels"] == list(images.labels) and content["mean"] == list(images.mean)
    with pytest.raises(InputError, match="images must be the data"):
        convert(model, images=np.zeros((1, 8, 8, 1)))
    with pytest.raises(InputError, match=r"images must be of the shape that the model takes, \(8, 8, 2\)"):
        convert(zoo.conv2(input_shape=(8, 8, 2), num_classes=10, width=0.25), images=images, verify_on=False)
    with pytest.raises(
        InputError, match="images must be of no more classes than the model's 3, but got '10 classes'"
    ):
        convert(zoo.conv2(input_shape=(8, 8, 1), num_classes=3, width=0.25), images=images, verify_on=False)


def test_float_layers_become_integers_where_a_tolerance_allows_it(command, run, tmp_path):
    target = tmp_path / "m.tflite"
    options = ("--float-layers", "int8", "--int8-io", "--tolerance", "1")
    described = json.loads(command("convert", run, "--out", target, "--json", *options).stdout)
    assert {layer["weights"] for layer in described["report"]["layers"]} == {"1 bit", "int8"}
    assert described["inputs"][0]["dtype"] == described["outputs"][0]["dtype"] == "int8"
    assert 0 < described["report"]["verification"]["tflite_accuracy"] <= 1
    assert target.is_file()


def test_a_layer_that_went_to_float_ends_with_status_1(command, run, tmp_path):
    done = command("convert", run, "--without", "dense", "--out", tmp_path / "m.tflite", status=1)
    assert done.stderr.count("\n") == 1
    assert "dense1 (FULLY_CONNECTED)" in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["inspect", "RUN/settings.json"], "tflite"),
        pytest.param(["verify", "RUN", "--tflite", "RUN/settings.json"], "tflite", marks=pytest.mark.slow),
        pytest.param(["verify", "RUN/model.keras"], "--dataset", marks=pytest.mark.slow),
    ],
)
def test_bad_input_is_one_line_and_status_2(refused, run, arguments, word):
    # Where no test has converted the run: what is wrong is said before the file is read.
    (run / "model.tflite").touch()
    said = refused(*(argument.replace("RUN", str(run)) for argument in arguments))
    assert said.count("\n") == 1
    assert word in said


def test_a_sidecar_of_a_bare_model_has_no_data():
    content = model_json.describe(convert(tf.keras.Sequential([tf.keras.layers.Dense(2, input_shape=(3,))])))
    assert set(content) == {"sha256", "bytes", "inputs", "outputs", "versions", "report"}
