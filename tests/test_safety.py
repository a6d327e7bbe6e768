"""Nothing of a user's is lost, no file of a stranger's runs code, and damage is answered in one line."""

import contextlib
import io
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
import warnings
import zipfile
from pathlib import Path

import forking
import larq as lq
import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner
from PIL import Image

from larq_equalbits import (
    _choices,
    _files,
    _report,
    callbacks,
    constraints,
    data,
    device,
    export,
    optimizers,
    pruning,
    quantizers,
    theory,
    training,
    tuning,
)
from larq_equalbits._errors import InputError, WorkError
from larq_equalbits._keras.loading import load_model, load_weights
from larq_equalbits._text import csv_cell, render, visible
from larq_equalbits.binarization.changes import BinarizationReport
from larq_equalbits.cli import doctor, main, program
from larq_equalbits.export import gate
from larq_equalbits.training import run_folder
from larq_equalbits.tuning import presentation, progress, trials

SETTINGS = training.Settings(epochs=1, batch_size=64, train_images=128, model_options={"width": 0.1})


def small():
    return tf.keras.Sequential(
        [
            tf.keras.Input((6, 6, 32), name="images"),
            lq.layers.QuantConv2D(
                32, 3, input_quantizer="ste_sign", kernel_quantizer="bi_half", padding="same", pad_values=1
            ),
            tf.keras.layers.GlobalAveragePooling2D(),
            tf.keras.layers.Dense(3),
        ]
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    training.train(SETTINGS, folder, verbose=0)
    return folder


@pytest.fixture
def folder(run, tmp_path):
    """A copy of the run."""
    return shutil.copytree(run, tmp_path / "run")


# Nothing is overwritten or deleted unasked.


@pytest.mark.parametrize(
    "name", ["model.keras", "history.csv", "model.json", "logs/notes.txt", "settings.json"]
)
def test_a_folder_of_other_things_is_refused_and_stays(tmp_path, name):
    mine = tmp_path / name
    mine.parent.mkdir(exist_ok=True)
    mine.write_text("{}")
    with pytest.raises(InputError, match="out must be a new folder"):
        training.train(SETTINGS, tmp_path, verbose=0)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [mine]
    assert mine.read_text() == "{}"


def test_a_new_run_replaces_what_a_run_wrote_and_nothing_else(folder):
    others = {
        "notes.txt": "mine",
        "model.json": '{"class_name": "Sequential"}',
        "logs/train/mine.txt": "mine",
        "logs/mine/events.out.tfevents.1": "mine",
        "model.tflite": "mine",
        "report.html": "<p>mine",
    }
    for name, text in others.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    run_folder.clear(folder, everything=True)
    left = {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}
    assert left == others


@pytest.mark.parametrize("name", ["logs", "logs/train", "checkpoint"])
@pytest.mark.parametrize("resume", [False, True])
def test_a_run_writes_through_no_link_in_its_folder(run, tmp_path, name, resume):
    folder, elsewhere = tmp_path / "run", tmp_path / "elsewhere"
    shutil.copytree(run, folder)
    (folder / name).rename(elsewhere)
    (folder / name).symlink_to(elsewhere)
    before = {path: path.stat().st_mtime_ns for path in elsewhere.rglob("*")}
    with pytest.raises(InputError, match=f"{name} is a link"):
        training.train(SETTINGS, folder, resume=resume, verbose=0)
    with pytest.raises(InputError, match=f"{name} is a link"):
        run_folder.clear(folder, everything=True)
    assert before and {path: path.stat().st_mtime_ns for path in elsewhere.rglob("*")} == before


@pytest.mark.parametrize(
    "name", ["logs", "logs/train", "checkpoint", "model.keras", "history.csv", "results.json"]
)
def test_a_run_whose_files_and_folders_are_of_the_other_kind_loses_nothing(folder, tmp_path, name):
    place = folder / name
    place.rename(tmp_path / "away")
    place.mkdir() if (tmp_path / "away").is_file() else place.write_text("mine")
    before = {path: path.stat().st_ino for path in folder.rglob("*")}
    for resume in (False, True):
        with pytest.raises(InputError, match=f"{name}, if anything"):
            training.train(SETTINGS, folder, resume=resume, verbose=0)
    assert {path: path.stat().st_ino for path in folder.rglob("*")} == before


@pytest.mark.parametrize("leads_to", ["ours", "nowhere", "itself"])
@pytest.mark.parametrize("name", ["net.tflite", "net.json", "page.html", "report.json", "chart.png"])
def test_no_link_is_replaced(run, tmp_path, name, leads_to):
    link = tmp_path / name
    if leads_to == "ours":
        export.convert(small(), tmp_path / "ours.tflite", verify_on=False)
        (tmp_path / "ours.html").write_text(_files.REPORT_MARK)
        (tmp_path / "ours.png").write_text("")
    link.symlink_to({"ours": f"ours{link.suffix}", "itself": name}.get(leads_to, leads_to))
    before = {path: (path.is_symlink(), path.lstat().st_ino) for path in tmp_path.iterdir()}
    with pytest.raises(InputError, match=f"{name} is a link"):
        if name.startswith("net"):
            export.convert(small(), tmp_path / "net.tflite", verify_on=False)
        elif name == "page.html":
            _report.write(run, link)
        else:
            device.Report().save(tmp_path)
    assert {path: (path.is_symlink(), path.lstat().st_ino) for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("name", ["trial_0", "workers"])
def test_a_sweep_follows_no_link_in_its_folder(tmp_path, name):
    from larq_equalbits.tuning import folder

    described = {"kind": "x", "version": "1", "objective": {"name": "loss"}}
    folder.claim(tmp_path / "sweep", described, overwrite=False)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "sweep" / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match=f"{name} is a link"):
        folder.claim(tmp_path / "sweep", described, overwrite=True)


def test_a_new_run_removes_the_file_and_the_page_of_the_former_one(folder):
    export.convert(training.Run.load(folder).load_model(), folder / "model.tflite", strict=False)
    _report.write(folder)
    run_folder.clear(folder, everything=True)
    assert not [path for path in folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize("name", ["..", ".", "", "a/b", "a\\b", "../x", "a\nb", " a", "x" * 300, "c:"])
@pytest.mark.parametrize("command", ["train", "sweep"])
def test_a_name_is_that_of_a_folder(command, name):
    done = CliRunner().invoke(program, [command, "--name", name])
    assert isinstance(done.exception, InputError), done.output
    assert "--name" in str(done.exception)


@pytest.mark.parametrize(
    ("name", "beside", "content"),
    [
        ("net.keras", None, None),
        ("settings.tflite", "settings.json", '{"model": "conv2"}'),
        ("model.tflite", "model.json", '{"class_name": "Functional"}'),
        ("model.tflite", "model.json", "not JSON"),
        ("MODEL.KERAS", "model.keras", "mine"),
        ("MODEL.H5", "model.h5", "mine"),
    ],
)
def test_a_conversion_replaces_no_other_file(tmp_path, name, beside, content):
    target = tmp_path / name
    if beside is None:
        target.write_bytes(b"PK\3\4 a model of mine")
    else:
        (tmp_path / beside).write_text(content)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(InputError, match="path must"):
        export.convert(small(), target, verify_on=False)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_conversion_leaves_a_pair_which_it_may_replace(tmp_path):
    target = tmp_path / "model.tflite"
    for _ in range(2):
        report = export.convert(small(), target, verify_on=False)
        described = json.loads((tmp_path / "model.json").read_text())
        assert described["report"]["layers"][0]["name"] == report.layers[0].name


@pytest.mark.parametrize(
    "field", ["layers.name", "layers.reason", "layers.bytes", "verification.images", "tflite_bytes"]
)
def test_a_description_of_wrong_types_is_not_believed(folder, field):
    export.convert(training.Run.load(folder).load_model(), folder / "model.tflite", strict=False)
    plain = json.loads(export.audit(folder / "model.tflite").to_json())
    content = json.loads((folder / "model.json").read_text())
    holder, _, name = field.rpartition(".")
    part = content["report"][holder] if holder else content["report"]
    (part[0] if isinstance(part, list) else part)[name] = []
    (folder / "model.json").write_text(json.dumps(content))
    # The file itself still tells its layers.
    assert len(json.loads(export.audit(folder / "model.tflite").to_json())["layers"]) == len(plain["layers"])
    for command in (["inspect", str(folder / "model.tflite")], ["report", str(folder)]):
        done = CliRunner().invoke(program, command)
        assert done.exception is None or isinstance(done.exception, InputError), repr(done.exception)


def test_readers_tell_that_a_pair_does_not_belong_together(folder):
    export.convert(training.Run.load(folder).load_model(), folder / "model.tflite", strict=False)
    _report.render(folder)
    other = export.convert(small(), verify_on=False).tflite
    # What a kill between the two writes leaves.
    (folder / "model.tflite").write_bytes(other)
    with pytest.raises(InputError, match="another file"):
        _report.render(folder)
    for command in ("device", "verify"):
        done = CliRunner().invoke(program, [command, str(folder)])
        assert isinstance(done.exception, InputError) and "another file" in str(done.exception)


def test_a_report_replaces_no_other_file(run, tmp_path):
    mine = tmp_path / "notes.html"
    mine.write_text("<p>mine")
    with pytest.raises(InputError, match="out must be"):
        _report.write(run, mine)
    assert mine.read_text() == "<p>mine"
    for _ in range(2):
        _report.write(run, tmp_path / "new.html")


@pytest.mark.parametrize("name", ["report.json", "report.csv", "chart.png"])
def test_a_measurement_replaces_no_other_file(tmp_path, tflite, name):
    (tmp_path / name).write_text("{}")
    with pytest.raises(InputError, match="out must be"):
        device.Report().save(tmp_path)
    (tmp_path / "net.tflite").write_bytes(tflite)
    np.save(tmp_path / "x.npy", np.zeros((1, 6, 6, 32), "float32"))
    options = ["--inputs", str(tmp_path / "x.npy"), "--repeats", "1", "--out", str(tmp_path)]
    done = CliRunner().invoke(program, ["device", str(tmp_path / "net.tflite"), *options])
    assert isinstance(done.exception, InputError) and name in str(done.exception)
    assert (tmp_path / name).read_text() == "{}"
    for _ in range(2):
        device.Report().save(tmp_path / "new")


HOLD = """
import sys, time
from pathlib import Path
from larq_equalbits import _files
with _files.locked(Path(sys.argv[1]), "trains"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_process_is_refused_until_the_first_one_is_dead(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", HOLD, tmp_path], stdout=subprocess.PIPE)
    try:
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(InputError, match="another process"), _files.locked(tmp_path, "trains"):
            pass
    finally:
        process.kill()
        process.wait()
    with _files.locked(tmp_path, "trains"):
        pass


def test_the_next_write_removes_what_a_killed_one_left(tmp_path):
    code = (
        "import os, sys; from larq_equalbits import _files\n"
        "with _files.replacing(sys.argv[1]) as path:\n    path.write_text('half'); os._exit(1)"
    )
    # A name that would be a pattern.
    target = tmp_path / "[a]*.txt"
    subprocess.run([sys.executable, "-c", code, target], check=False)
    assert len(list(tmp_path.iterdir())) == 1
    _files.write_text(target, "whole")
    assert [path.name for path in tmp_path.iterdir()] == [target.name]


# A stranger's file runs no code.


def touching(path):
    """A model whose Lambda layer makes the file `path` when it is loaded or called."""

    path = str(path)

    def act(x):
        tf.io.write_file(path, "run")
        return x

    return tf.keras.Sequential([tf.keras.Input((2,)), tf.keras.layers.Lambda(act)])


@pytest.mark.parametrize("name", ["net.h5", "net.keras", "disguised.keras", "folder"])
def test_a_model_with_a_lambda_layer_needs_trust(tmp_path, name):
    place, made = tmp_path / name, tmp_path / "made"
    model = touching(made)
    if name == "disguised.keras":
        model.save(tmp_path / "net.h5")
        (tmp_path / "net.h5").rename(place)
    else:
        model.save(place)
    made.unlink(missing_ok=True)
    with pytest.raises(InputError, match="trust=True"):
        load_model(place)
    done = CliRunner().invoke(program, ["convert", str(place)])
    assert isinstance(done.exception, InputError) and "--trust" in str(done.exception)
    assert not made.exists()
    assert load_model(place, trust=True).count_params() == 0


@pytest.mark.parametrize(
    "danger",
    [
        {"module": "os", "class_name": "function", "config": "system", "registered_name": "function"},
        {"module": "builtins", "class_name": "function", "config": "exec", "registered_name": "function"},
        {"module": "subprocess", "class_name": "Popen", "config": {"args": "true"}, "registered_name": None},
        {"class_name": "__lambda__", "config": {"value": "eA=="}},
        {"module": "tf_keras.layers", "class_name": "TFOpLambda", "config": {"function": "io.write_file"}},
        {
            "module": "tf_keras.layers",
            "class_name": "TFOpLambda",
            "config": {"function": "compat.v1.write_file"},
        },
        # What a module of Keras' imported for itself, and a file of the user's that a layer would read.
        {"module": "tf_keras.src.backend", "class_name": "function", "config": "os.system"},
        {
            "module": "tf_keras.src.backend",
            "class_name": "__typespec__",
            "spec_name": "os.system",
            "config": ["x"],
        },
        {"module": "keras.layers", "class_name": "StringLookup", "config": {"vocabulary": "/etc/passwd"}},
        {
            "module": "keras.layers",
            "class_name": "TextVectorization",
            "config": {"vocabulary": "/etc/passwd"},
        },
        # Names that are registered, lent to a module that Keras would import.
        {"module": "antigravity", "class_name": "function", "config": "f", "registered_name": "bi_half"},
        {"module": "antigravity", "class_name": "bi_half", "config": {}, "registered_name": None},
        {
            "module": "tf_keras.src.layers.rnn.cell_wrappers",
            "class_name": "ResidualWrapper",
            "config": {"residual_fn": ["eA==", None, None], "residual_fn_type": "lambda"},
            "registered_name": None,
        },
    ],
)
def test_a_configuration_that_names_what_is_not_keras_needs_trust(tmp_path, danger):
    model = tf.keras.Sequential([tf.keras.Input((2,)), tf.keras.layers.Dense(2)])
    model.save(tmp_path / "good.keras")
    load_model(tmp_path / "good.keras")
    with (
        zipfile.ZipFile(tmp_path / "good.keras") as good,
        zipfile.ZipFile(tmp_path / "bad.keras", "w") as bad,
    ):
        for name in good.namelist():
            content = good.read(name)
            if name == "config.json":
                config = json.loads(content)
                config["config"]["layers"][1]["config"]["activation"] = danger
                content = json.dumps(config).encode()
            bad.writestr(name, content)
    with pytest.raises(InputError, match="trust=True"):
        load_model(tmp_path / "bad.keras")


def with_last_layer(path, kind, config):
    """An HDF5 file of a dense layer, and after it a layer of the class `kind`."""
    import h5py

    inputs = tf.keras.Input((2,), name="in")
    tf.keras.Model(inputs, tf.keras.layers.Dense(2, name="dense")(inputs)).save(path)
    with h5py.File(path, "r+") as file:
        model = json.loads(file.attrs["model_config"])
        model["config"]["layers"].append(
            {"class_name": kind, "config": config, "name": "last", "inbound_nodes": [[["dense", 0, 0, {}]]]}
        )
        model["config"]["output_layers"] = [["last", 0, 0]]
        file.attrs["model_config"] = json.dumps(model)
    return path


@pytest.mark.parametrize("module", ["keras.utils", "larq_equalbits._files", "tf_keras.src.utils.data_utils"])
def test_a_function_of_keras_or_ours_that_is_none_of_tensors_needs_trust(tmp_path, module):
    name = "shutil" if module.startswith("larq") else "get_file"
    config = {"module": module, "class_name": "function", "config": name, "registered_name": name}
    with zipfile.ZipFile(tmp_path / "net.keras", "w") as archive:
        archive.writestr("config.json", json.dumps(config))
        archive.writestr("metadata.json", "{}")
    with pytest.raises(InputError, match="trust"):
        load_model(tmp_path / "net.keras")


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
def test_weights_are_not_read_from_other_files(tmp_path, suffix):
    import h5py

    mine, net = tmp_path / "mine", tmp_path / f"net{suffix}"
    mine.write_bytes(bytes(1000))
    small().save(net)
    path = net
    if suffix == ".keras":
        path = tmp_path / "model.weights.h5"
        with zipfile.ZipFile(net) as archive:
            files = {name: archive.read(name) for name in archive.namelist()}
        path.write_bytes(files["model.weights.h5"])
    with h5py.File(path, "r+") as file:
        file.create_dataset("stolen", (10,), "float32", external=[(str(mine), 0, 40)])
    if suffix == ".keras":
        with zipfile.ZipFile(net, "w") as archive:
            for name, content in {**files, path.name: path.read_bytes()}.items():
                archive.writestr(name, content)
    loads = [load_model] if suffix == ".h5" else [load_model, lambda path: load_weights(small(), path)]
    for load in loads:
        with pytest.raises(InputError, match="stolen in it is read from another file"):
            load(net)


def test_an_operator_that_writes_a_file_needs_trust(tmp_path):
    from tensorflow.core.framework.node_def_pb2 import NodeDef

    node = NodeDef(name="last", op="DebugIdentity", input=["x"])
    node.attr["T"].type = 1
    node.attr["tensor_name"].s = b"p:0"
    node.attr["debug_urls"].list.s.append(f"file://{tmp_path}/dump".encode())
    config = {"name": "last", "node_def": node.SerializeToString().decode(), "constants": {}}
    path = with_last_layer(tmp_path / "net.h5", "TensorFlowOpLayer", config)
    with pytest.raises(InputError, match="trust=True"):
        load_model(path)
    # It is a danger: with trust it writes.
    load_model(path, trust=True).predict(np.ones((1, 2), "float32"), verbose=0)
    assert (tmp_path / "dump").exists()


def test_a_function_inside_a_recurrent_cell_needs_trust(tmp_path):
    path, made = tmp_path / "net.h5", tmp_path / "made"
    text = str(made)

    def act(inputs, outputs):
        tf.io.write_file(text, "run")
        return outputs

    cell = tf.nn.RNNCellResidualWrapper(tf.keras.layers.SimpleRNNCell(4), residual_fn=lambda i, o: act(i, o))
    assert cell.get_config()["residual_fn_type"] == "lambda"
    tf.keras.Sequential([tf.keras.Input((3, 4)), tf.keras.layers.RNN(cell)]).save(path)
    made.unlink(missing_ok=True)
    with pytest.raises(InputError, match="trust=True"):
        load_model(path)
    assert not made.exists()


def test_a_saved_model_that_takes_assets_from_elsewhere_needs_trust(tmp_path):
    from tensorflow.core.protobuf import saved_model_pb2

    (tmp_path / "words").write_text("a\nb\n")
    lookup = tf.keras.layers.StringLookup(vocabulary=str(tmp_path / "words"))
    tf.keras.Sequential([tf.keras.Input((1,), dtype="string"), lookup]).save(tmp_path / "net")
    path, model = tmp_path / "net" / "saved_model.pb", saved_model_pb2.SavedModel()
    model.ParseFromString(path.read_bytes())
    model.meta_graphs[0].asset_file_def[0].filename = "../../words"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(InputError, match=r"the file \.\./\.\./words, which could .* read your files"):
        load_model(tmp_path / "net")


def test_layers_inside_saved_model_pb_need_trust(tmp_path):
    from tensorflow.core.protobuf import saved_model_pb2
    from tf_keras.protobuf import saved_metadata_pb2

    def double(x):
        return 2 * x

    tf.keras.Sequential([tf.keras.Input((2,)), tf.keras.layers.Lambda(double)]).save(tmp_path / "net")
    metadata, model = saved_metadata_pb2.SavedMetadata(), saved_model_pb2.SavedModel()
    metadata.ParseFromString((tmp_path / "net" / "keras_metadata.pb").read_bytes())
    model.ParseFromString((tmp_path / "net" / "saved_model.pb").read_bytes())
    for node in metadata.nodes:
        model.meta_graphs[0].object_graph_def.nodes[node.node_id].user_object.metadata = node.metadata
    (tmp_path / "net" / "saved_model.pb").write_bytes(model.SerializeToString())
    # Keras reads an older SavedModel so.
    (tmp_path / "net" / "keras_metadata.pb").unlink()
    with pytest.raises(InputError, match="trust=True"):
        load_model(tmp_path / "net")


@tf.keras.utils.register_keras_serializable("mine")
class Own(tf.keras.layers.Layer):
    def call(self, inputs):
        return 2 * inputs


@pytest.mark.parametrize("suffix", [".keras", ".h5", ""])
def test_models_of_layers_that_the_user_registered_load(tmp_path, suffix):
    inputs = tf.keras.Input((4,))
    binary = lq.layers.QuantDense(3, kernel_quantizer="siman")(inputs)
    # HDF5 and SavedModel know classes of one's own by registration alone.
    outputs = Own()(binary) if suffix == ".keras" else tf.nn.relu(binary) + 1.0
    model = tf.keras.Model(inputs, outputs)
    model.save(tmp_path / f"net{suffix}")
    x = np.ones((2, 4), "float32")
    np.testing.assert_allclose(
        load_model(tmp_path / f"net{suffix}").predict(x, verbose=0), model.predict(x, verbose=0)
    )


class OwnRegularizer(tf.keras.regularizers.Regularizer):
    @tf.autograph.experimental.do_not_convert
    def __call__(self, x):
        return tf.reduce_sum(x)

    def get_config(self):
        return {}


def own(x):
    return 3 * x


@pytest.mark.parametrize("suffix", [".keras", ".h5", ""])
def test_whatever_only_computes_needs_no_trust(tmp_path, suffix):
    inputs = tf.keras.Input((4, 4, 2))
    x = tf.pad(tf.transpose(inputs, (0, 2, 1, 3)), [[0, 0], [1, 0], [0, 0], [0, 0]])
    x = tf.gather(tf.squeeze(x[:, :1], 1) // 2, [0, 1], axis=1) + tf.random.uniform((2, 2)) * 0
    x = tf.reshape(tf.quantization.fake_quant_with_min_max_args(x), (tf.shape(x)[0], 4))
    x = tf.debugging.check_numerics(tf.dtypes.saturate_cast(tf.linalg.norm(x, axis=1), "float32"), "x")
    initializer = tf.random_normal_initializer(seed=1)
    dense = tf.keras.layers.Dense(
        2, "relu", kernel_initializer=initializer, kernel_regularizer=OwnRegularizer()
    )
    x = dense(tf.expand_dims(x, 1))
    model = tf.keras.Model(inputs, tf.keras.layers.Activation(own)(x))
    model.save(tmp_path / f"net{suffix}")
    images = np.ones((2, 4, 4, 2), "float32")
    with tf.keras.utils.custom_object_scope({"own": own, "OwnRegularizer": OwnRegularizer}):
        loaded = load_model(tmp_path / f"net{suffix}")
    np.testing.assert_allclose(loaded.predict(images, verbose=0), model.predict(images, verbose=0))


@pytest.mark.parametrize("name", ["[/x]", "[link=https://example.org]here[/link]", "\x1b[31mred", "a\u202eb"])
def test_names_in_files_are_shown_and_not_obeyed(name):
    layer = export.LayerReport(name, "CONV_2D", False, 1, "float32", name, "", False)
    content = export.convert(small(), verify_on=False).tflite
    text = str(export.ConversionReport(content, [layer], None))
    assert "\x1b" not in text and "\u202e" not in text
    assert visible(name)[:4] in text


def test_a_metric_of_a_sweep_is_shown_and_not_obeyed(tmp_path, capsys):
    name = "[/x]\x1b[31m"
    trial = trials.Trial("0", tmp_path, "COMPLETED", {"positive_ratio": 0.5}, {name: 0.5}, 0.5, 1.0, None)
    text = render(presentation.table([trial], [name]))
    progress.Progress(1, 0, 1, name).ended_one({name: name}, 0.5, None, 1.0)
    text += capsys.readouterr().err
    assert "\x1b" not in text and text.count(r"[/x]\x1b[31m") == 4


def test_what_is_waited_for_is_shown_and_not_obeyed(tmp_path):
    ours, theirs = os.openpty()
    code = (
        "import sys, time; from pathlib import Path; from larq_equalbits._quiet import waiting\n"
        "from larq_equalbits.data.folders import _images\n"
        "with waiting(sys.argv[1]): time.sleep(0.5)\n"
        "_images([Path(sys.argv[0])] * 9, 8, sys.argv[1])"
    )
    command = [sys.executable, "-c", code, "[/x]\x1b[44m"]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "80"}
    subprocess.run(command, stderr=theirs, check=True, env=environment, timeout=60)
    said = os.read(ours, 10**6)
    os.close(ours)
    os.close(theirs)
    assert b"\x1b[44m" not in said and rb"[/x]\x1b[44m" in said


def test_what_the_doctor_found_is_shown_and_not_obeyed(capsys):
    found = {"quantizer": {"works": False, "detail": "[/x]\x1b[31m"}}
    doctor._print(dict.fromkeys(doctor._PACKAGES), found, [])
    assert r"quantizer: fails, [/x]\x1b[31m" in capsys.readouterr().out


def test_classes_are_called_what_their_folders_are_and_shown_so(tmp_path):
    names = ["\x1b[31mred", "[bold]", "a\nb", "a\u202eb"]
    for shade, name in enumerate(names):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for index in range(2):
            Image.new("RGB", (8, 8), (shade, index, 0)).save(tmp_path / "photos" / name / f"{index}.png")
    assert sorted(data.from_folder(tmp_path / "photos", image_size=8, batch_size=2).labels) == sorted(names)
    for name in names:
        (tmp_path / "photos" / name / "1.png").write_bytes(b"")
        with pytest.raises(InputError) as refused:
            data.from_folder(tmp_path / "photos", image_size=8, batch_size=2)
        assert str(refused.value).isprintable()
        Image.new("RGB", (8, 8)).save(tmp_path / "photos" / name / "1.png")


@pytest.mark.parametrize("arguments", [["train", "a\u202eb"], ["report", "a\u202eb"]])
def test_what_the_command_line_says_shows_what_was_given(arguments, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["larq-equalbits", *arguments])
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)
    with pytest.raises(SystemExit) as end:
        main()
    said = capsys.readouterr().err + warnings.formatwarning("a\u202eb", UserWarning, "", 0)
    assert end.value.code == 2 and "\u202e" not in said and said.count("a\\u202eb") == 2


def test_csv_cells_are_no_formulas():
    assert [csv_cell(value) for value in ("=1+1", "@x", "loss", 0.5, "-1")] == [
        "'=1+1",
        "'@x",
        "loss",
        0.5,
        "'-1",
    ]
    measured = device.Report([device.Result("=1+1", "local", 1, 10, failure="@x")])
    assert "local,'=1+1,1" in measured.to_csv() and measured.to_csv().endswith(",'@x\n")


def test_a_float_convolution_under_lces_name_is_neither_believed_nor_run():
    inputs = tf.keras.Input((6, 6, 4))
    model = tf.keras.Model(inputs, tf.keras.layers.Conv2D(4, 3)(inputs))
    binary = export.convert(small(), verify_on=False)
    forged = _renamed(export.convert(model, verify_on=False).tflite, "LceBconv2d")
    (layer,) = export.audit(forged).layers
    assert not layer.binary and "LceBconv2d has" in layer.reason
    for runtime in ("lce", "litert"):
        with pytest.raises(InputError, match="is not run"):
            export.verify(model, forged, np.zeros((2, 6, 6, 4), "float32"), runtime=runtime)
    assert export.audit(binary.tflite).layers[0].binary


def _renamed(tflite, name):
    """The file with its first operator's kind changed to the custom operator `name`."""
    import flatbuffers
    from tensorflow.lite.python import schema_py_generated as schema

    tree = schema.ModelT.InitFromObj(schema.Model.GetRootAs(tflite, 0))
    code = tree.operatorCodes[tree.subgraphs[0].operators[0].opcodeIndex]
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
    code.customCode = name.encode()
    builder = flatbuffers.Builder()
    builder.Finish(tree.Pack(builder), b"TFL3")
    return bytes(builder.Output())


# Damage is answered in one line.


@pytest.mark.parametrize(
    "name", ["settings.json", "model.keras", "results.json", "checkpoint/state.npz", "history.csv"]
)
@pytest.mark.parametrize("damage", ["empty", "cut", "flipped", "nested", "binary"])
def test_a_damaged_file_of_a_run_is_bad_input(folder, name, damage):
    content = (folder / name).read_bytes()
    middle = len(content) // 2
    changed = {
        "empty": b"",
        "cut": content[:middle],
        "flipped": content[:middle] + bytes([content[middle] ^ 0x80]) + content[middle + 1 :],
        "nested": b"[" * 100_000,
        "binary": os.urandom(200),
    }
    (folder / name).write_bytes(changed[damage])
    for command in ("report", "convert"):
        done = CliRunner().invoke(
            program, [command, str(folder), *(["--no-verify"] if command == "convert" else [])]
        )
        assert done.exception is None or isinstance(done.exception, InputError | SystemExit), repr(
            done.exception
        )


@pytest.mark.parametrize(
    "changes",
    [
        {"dataset": {}},
        {"model": ["conv2"]},
        {"epochs": "3"},
        {"batch_size": 1.5},
        {"deterministic": 1},
        {"model_options": []},
        {"milestones": 3},
        {"milestones": ["a"]},
        {"data_dir": 7},
        {"momentum": None, "learning_rate": True},
        None,
    ],
)
def test_settings_of_a_wrong_type_are_named_by_every_command(folder, run, changes):
    (folder / "model.tflite").write_bytes(b"\0\0\0\0TFL3")
    known = json.loads((run / "settings.json").read_text())
    (folder / "settings.json").write_text(json.dumps({} if changes is None else {**known, **changes}))
    commands = (["train", "--resume", "--out"], ["convert"], ["verify"], ["device"])
    for command in commands:
        done = CliRunner().invoke(program, [*command, str(folder)])
        assert isinstance(done.exception, InputError), repr(done.exception)
        assert all(name in str(done.exception) for name in [*(changes or [])][-1:]), done.exception
        assert "settings.json" in str(done.exception)


def test_json_that_is_nested_deeply_is_refused(tmp_path):
    path = tmp_path / "a.json"
    for depth, fits in ((90, True), (500, False), (100_000, False)):
        path.write_text('{"a":' + "[" * depth + "]" * depth + "}")
        if fits:
            _files.read_json(path)
        else:
            with pytest.raises(InputError, match="must be JSON"):
                _files.read_json(path)


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("settings.json", {"dataset": "tfds:/etc"}, "must hold /etc prepared by tensorflow-datasets"),
        ("settings.json", {"dataset": "x" * 10**7}, "File name too long"),
        ("settings.json", {"model": "y" * 10**7}, "model must be one of"),
        ("history.csv", ",a/bit_entropy", "holds no a/bit_flips"),
    ],
)
def test_a_forged_field_is_answered_in_a_line_of_ordinary_length(folder, command, name, change, words):
    text = (folder / name).read_text()
    if name == "history.csv":
        header, row = text.splitlines()
        (folder / name).write_text(f"{header}{change}\n{row},1\n")
    else:
        (folder / name).write_text(json.dumps(json.loads(text) | change))
    done = command(*(["report"] if name == "history.csv" else ["train", "--resume", "--out"]), folder)
    assert done.returncode == 2 and words in done.stderr
    assert len(done.stderr.splitlines()) == 1 and len(done.stderr) < 6000


@pytest.mark.parametrize(
    "read",
    [
        device.Report.from_json,
        lambda text: export.ConversionReport.from_json(text, b""),
        BinarizationReport.from_json,
    ],
)
def test_a_report_that_is_nested_deeply_is_refused(read):
    with pytest.raises(InputError, match="text must be"):
        read("[" * 100_000)


@pytest.mark.parametrize("fraction", [0.1, 0.0])
def test_a_training_that_diverges_in_its_last_step_says_so(tmp_path, fraction):
    settings = SETTINGS.replace(batch_size=None, learning_rate=1e38, validation_fraction=fraction)
    with pytest.raises(WorkError, match=r"diverged.*learning_rate"):
        training.train(settings, tmp_path / "run", verbose=0)


@pytest.mark.parametrize("damage", ["callbacks", "best", "epoch", "dtype", "missing row"])
def test_a_damaged_state_is_named(folder, damage):
    with np.load(folder / "checkpoint" / "state.npz") as archive:
        arrays = dict(archive)
    meta = json.loads(arrays["state.json"].tobytes())
    if damage == "dtype":
        arrays["00000"] = arrays["00000"].astype(str)
    elif damage == "missing row":
        (folder / "history.csv").write_text("epoch,loss\n")
    else:
        meta["state"][damage] = {"callbacks": [{"steps": [], "records": 3}], "best": ["x", []], "epoch": -1}[
            damage
        ]
    arrays["state.json"] = np.frombuffer(json.dumps(meta).encode(), np.uint8)
    np.savez(folder / "checkpoint" / "state.npz", **arrays)
    with pytest.raises(InputError, match="history.csv" if damage == "missing row" else "state.npz"):
        training.train(SETTINGS, folder, resume=True, verbose=0)


def test_history_is_appended_exactly_and_repaired(tmp_path):
    from larq_equalbits.training import history

    rows = [{"loss": 1 / 3, "=a/flips": 0.1}, {"loss": 1e-300, "=a/flips": 0.2}]
    written = history.History(tmp_path)
    for row in rows:
        written.append(row)
    first = written.path.stat().st_ino
    rows.append({"loss": float("inf")})
    written.append(rows[-1])
    # Appended: a file that is written again is another one.
    assert written.path.stat().st_ino == first
    assert history.columns(history.read(written.path, 2)) == history.columns(rows[:2])
    whole = written.path.read_text()
    with written.path.open("a") as file:
        file.write("3,0.123")
    assert len(history.read(written.path, 3)) == 3
    # As a process that goes on does, after a kill within a row or after a row without its checkpoint.
    again = history.History(tmp_path)
    again.restore(written.path, 2)
    again.append(rows[2])
    assert again.path.read_text() == whole
    again.append({"loss": 1.0, "new": 2.0})
    assert again.path.read_text().splitlines()[0] == "epoch,loss,'=a/flips,new"
    again.path.unlink()
    again.append({"loss": 1.0})
    assert len(history.read(again.path, 5)) == 5


def test_control_c_ends_a_training_with_130_and_says_how_to_go_on(tmp_path):
    command = Path(sys.executable).parent / "larq-equalbits"
    options = ["--epochs", "500", "--model-option", "width=0.1", "--out", tmp_path / "run"]
    process = subprocess.Popen(
        [command, "train", *options],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        # A shell lets what it starts in the background ignore Ctrl-C, these tests among it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    history = tmp_path / "run" / "history.csv"
    end = time.monotonic() + 240
    while not history.exists() and time.monotonic() < end:
        time.sleep(0.2)
    for _ in range(10):
        # Python drops an interrupt that falls into a finalizer; whoever pressed Ctrl-C presses it again.
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(20)
            break
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 130, errors
    assert b"--resume" in errors and b"Traceback" not in errors


NUMBERS = [1e308, 1e-320, 10**400, math.nan, math.inf, -1, "a", None, True]


@pytest.mark.parametrize(
    ("make", "fine"),
    [
        (lambda value: quantizers.BiHalf(positive_ratio=value), [1e-320]),
        (lambda value: quantizers.BiHalf(scale=value), [None]),
        (lambda value: quantizers.IRNet(t=value), []),
        (lambda value: quantizers.IRNet(t=1.0, k=value), [None]),
        (lambda value: callbacks.ErrorDecay(value, 10.0), []),
        (lambda value: callbacks.ErrorDecay(rotate_every=value), [10**400]),
        (lambda value: callbacks.ErrorDecay(epochs=value), [10**400, None]),
        (lambda value: callbacks.PercentileDecay(value), [1e-320]),
        (lambda value: callbacks.BitLogger(every=value), [10**400]),
        (lambda value: callbacks.BitLogger(histogram_freq=value), [10**400]),
        (lambda value: pruning.Polynomial(0, 10, power=value), []),
        (lambda value: pruning.Polynomial(0, value), []),
        (lambda value: pruning.prune(small(), value), [1e-320]),
        (lambda value: optimizers.SGD(0.1, l2=value), [1e-320]),
        (lambda value: optimizers.StepDecay(value, [1]), [1e-320]),
        (lambda value: optimizers.StepDecay(0.1, [5, value]), []),
        (lambda value: optimizers.StepDecay(0.1, [1], value), []),
        (lambda value: optimizers.CosineDecay(0.1, value), [1e-320]),
        (lambda value: tuning.objective({"a": value, "loss": 1.0}, "min"), []),
        (lambda value: _choices.check_ratios([value]), [1e-320, True]),
        (lambda value: theory.angle_bounds(value, 0), []),
        (lambda value: constraints.EqualBits(value), [1e-320]),
        (lambda value: constraints.MagnitudeClip(value), [1e-320]),
        (lambda value: device.Settings(repeats=value), []),
        (lambda value: device.Settings(timeout=value), [1e-320]),
        (lambda value: gate.check(value, None), [1e-320]),
        (lambda value: tuning.RandomSearch(out="unused", max_trials=value), []),
    ],
)
def test_a_number_that_none_can_use_is_refused_by_whatever_takes_it(make, fine):
    taken = []
    for value in NUMBERS:
        with contextlib.suppress(InputError):
            make(value)
            taken.append(value)
    assert taken == fine


@pytest.mark.parametrize("option", ["--tolerance", "--bound"])
def test_a_comparison_allows_a_number(run, tmp_path, option):
    (tmp_path / "net.tflite").write_bytes(b"")
    options = ["--tflite", str(tmp_path / "net.tflite"), option, "nan"]
    done = CliRunner().invoke(program, ["verify", str(run), *options])
    assert isinstance(done.exception, InputError) and option[2:] in str(done.exception)


@pytest.mark.parametrize("port", ["99999", "0", "-1", "http"])
def test_a_port_is_one(monkeypatch, port):
    from larq_equalbits.tuning import distributed

    for name, value in (
        (distributed.TUNER, "chief"),
        (distributed.ADDRESS, "127.0.0.1"),
        (distributed.PORT, port),
    ):
        monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match=distributed.PORT):
        distributed.role()


@pytest.mark.parametrize(
    ("host", "open_to_others"), [("127.0.0.1", False), ("localhost", False), ("0.0.0.0", True)]
)
def test_a_chief_that_others_reach_warns(host, open_to_others, recwarn):
    from larq_equalbits.tuning import distributed, oracles

    oracle = oracles.Resilient(objective="val_accuracy", max_trials=1)
    with distributed.served(oracle, f"{host}:0"):
        pass
    said = [str(each.message) for each in recwarn if "ssh -L" in str(each.message)]
    assert len(said) == open_to_others


def test_a_cluster_listens_on_every_interface_as_the_guide_says():
    (port,) = forking.free_ports(1)
    server = tf.distribute.Server({"worker": [f"127.0.0.1:{port}"]}, job_name="worker", task_index=0)
    rows = [line.split() for line in Path("/proc/net/tcp6").read_text().splitlines()]
    listening = [row[1] for row in rows if row[3] == "0A"]
    # An address of zeros is every one.
    assert f"{'0' * 32}:{port:04X}" in listening, server.target
    guide = (Path(__file__).parent.parent / "docs/guides/training.md").read_text(encoding="utf-8")
    assert "TensorFlow listens to the port of `TF_CONFIG` on every interface" in guide


@pytest.mark.slow
def test_a_sweep_keeps_less_than_a_megabyte_of_a_trial(run_python):
    program = Path(__file__).parent.parent / "scripts/benchmarks/scale.py"
    done = run_python(program, "--epochs", 2, "--trials", 12, timeout=900)
    assert float(done.stdout.split("memory: ")[1].split()[0]) < 1, done.stdout


@pytest.fixture(scope="module")
def tflite():
    return export.convert(small(), verify_on=False).tflite


@pytest.mark.parametrize("alias", ["bi_half", "siman", "ir_net", "rbnn"])
@pytest.mark.parametrize("kind", ["int32", "uint8", "bool"])
def test_a_kernel_of_integers_has_no_codes(alias, kind):
    kernel = tf.cast([[0, 1], [1, 0], [1, 1]], kind)
    with pytest.raises(InputError, match="kernel must be of a floating type"):
        lq.quantizers.get(alias)(kernel)


@pytest.mark.parametrize("model", [None, 3, "conv2", np.zeros(3), [tf.keras.layers.Dense(2)]])
def test_what_is_no_model_is_neither_pruned_nor_stripped(model):
    for function in (pruning.prune, pruning.strip, pruning.link):
        with pytest.raises(InputError, match="model must be a Keras 2 model"):
            function(model)


@pytest.mark.parametrize(
    "labels",
    [[0, np.nan], [0, 3], [-1, 0], [0.5, 1], ["a", "b"], [[0, 0, np.nan], [1, 0, 0]]],
)
def test_labels_are_classes(tflite, labels):
    images = np.zeros((2, 6, 6, 32), "float32")
    with pytest.raises(InputError, match="labels must be"):
        export.verify(small(), tflite, images, np.array(labels))


@pytest.mark.parametrize(
    "layer",
    [
        tf.keras.layers.Discretization([0.0, 1.0], output_mode="multi_hot"),
        tf.keras.layers.CategoryEncoding(5, output_mode="count"),
    ],
)
def test_a_layer_that_crashes_the_converter_is_refused(layer):
    with pytest.raises(InputError, match="crashes LCE's converter"):
        export.convert(tf.keras.Sequential([tf.keras.Input((4,)), layer]))


@pytest.mark.parametrize("part", ["latency", "operators", "agreements", "result"])
def test_a_figure_of_a_device_is_a_number(part):
    result = device.Result(
        "net", "local", 1, 10, device.Latency(1, 1, 0, 1, 2, 3, rounds_ms=(1, 2)), accuracy=0.5
    )
    result.operators = [device.Operator("CONV_2D", "a", 1.0, 100.0)]
    result.agreements = [device.Agreement("keras", 1, 1.0, 0.0, True)]
    content = json.loads(device.Report([result]).to_json())
    assert device.Report.from_json(json.dumps(content)).to_json()
    entry = content["results"][0]
    changed = {"latency": "min_ms", "operators": "ms", "agreements": "argmax", "result": "accuracy_images"}[
        part
    ]
    inner = entry if part == "result" else entry[part]
    (inner[0] if isinstance(inner, list) else inner)[changed] = None
    with pytest.raises(InputError, match=changed):
        device.Report.from_json(json.dumps(content))


def test_a_damaged_archive_of_arrays_is_bad_input(tmp_path, tflite):
    (tmp_path / "net.tflite").write_bytes(tflite)
    np.savez(tmp_path / "x.npz", a=np.zeros((2, 6, 6, 32), "float32"))
    content = bytearray((tmp_path / "x.npz").read_bytes())
    content[len(content) // 2] ^= 0xFF
    headless = io.BytesIO()
    with zipfile.ZipFile(headless, "w") as archive:
        archive.writestr("a.npy", b"no array")
    for damaged in (content, content[: len(content) // 2], headless.getvalue()):
        (tmp_path / "x.npz").write_bytes(damaged)
        options = ["--on", "local", "--inputs", str(tmp_path / "x.npz")]
        done = CliRunner().invoke(program, ["device", str(tmp_path / "net.tflite"), *options])
        assert isinstance(done.exception, InputError) and "--inputs" in str(done.exception)


def test_a_model_beyond_the_memory_is_work_that_failed(tmp_path):
    options = ["--model", "conv2", "--dataset", "digits", "--model-option", "width=1e9"]
    done = CliRunner().invoke(program, ["train", *options, "--out", str(tmp_path / "run")])
    assert isinstance(done.exception, WorkError) and "memory" in str(done.exception)


@pytest.mark.parametrize("name", ["model.keras", "best.keras"])
def test_a_run_that_goes_on_takes_weights_alone(run, tmp_path, name):
    made, folder = tmp_path / "made", tmp_path / "run"
    shutil.copytree(run, folder)
    touching(made).save(folder / name)
    made.unlink(missing_ok=True)
    if name == "best.keras":
        # Tested at the end where another epoch than the last was the best.
        with np.load(folder / "checkpoint" / "state.npz") as archive:
            arrays = dict(archive)
        meta = json.loads(arrays["state.json"].tobytes())
        meta["state"]["best"] = [1.0, 5]
        arrays["state.json"] = np.frombuffer(json.dumps(meta).encode(), np.uint8)
        np.savez(folder / "checkpoint" / "state.npz", **arrays)
    with pytest.raises(InputError, match=name):
        training.train(SETTINGS, folder, resume=True, verbose=0)
    assert not made.exists()
