"""A stranger's file runs no code, reads no other file and writes none, unless the user trusts it."""

import contextlib
import json
import zipfile

import h5py
import larq as lq
import numpy as np
import pytest
import tensorflow as tf
from flatbuffers import flexbuffers
from small import SETTINGS, change_state, small
from tensorflow.core.framework.node_def_pb2 import NodeDef
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow.lite.python.schema_py_generated import BuiltinOperator
from tf_keras.protobuf import saved_metadata_pb2

from larq_equalbits import export, training
from larq_equalbits._errors import InputError
from larq_equalbits._keras.loading import load_model, load_weights
from larq_equalbits.export import interpreter, writing


def touching(path):
    """A model whose Lambda layer makes the file `path` when it is loaded or called."""

    path = str(path)

    def act(x):
        tf.io.write_file(path, "run")
        return x

    return tf.keras.Sequential([tf.keras.Input((2,)), tf.keras.layers.Lambda(act)])


@pytest.mark.parametrize("name", ["net.h5", "net.keras", "disguised.keras", "folder"])
def test_a_model_with_a_lambda_layer_needs_trust(refused, tmp_path, name):
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
    assert "--trust" in refused("convert", place)
    assert not made.exists()
    assert load_model(place, trust=True).count_params() == 0


def rewritten(path, change):
    """The zip archive `path` with what `change` makes of its members in place of them."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def named(module, kind, config, **more):
    return {"module": module, "class_name": kind, "config": config, **more}


@pytest.mark.parametrize(
    "danger",
    [
        named("os", "function", "system", registered_name="function"),
        named("builtins", "function", "exec", registered_name="function"),
        named("subprocess", "Popen", {"args": "true"}, registered_name=None),
        {"class_name": "__lambda__", "config": {"value": "eA=="}},
        named("tf_keras.layers", "TFOpLambda", {"function": "io.write_file"}),
        named("tf_keras.layers", "TFOpLambda", {"function": "compat.v1.write_file"}),
        # What a module of Keras' imported for itself, and a file of the user's that a layer would read.
        named("tf_keras.src.backend", "function", "os.system"),
        named("tf_keras.src.backend", "__typespec__", ["x"], spec_name="os.system"),
        named("keras.layers", "StringLookup", {"vocabulary": "/etc/passwd"}),
        named("keras.layers", "TextVectorization", {"vocabulary": "/etc/passwd"}),
        # Names that are registered, lent to a module that Keras would import.
        named("antigravity", "function", "f", registered_name="bi_half"),
        named("antigravity", "bi_half", {}, registered_name=None),
        # Functions of Keras' and ours that are none of tensors.
        named("keras.utils", "function", "get_file", registered_name="get_file"),
        named("tf_keras.src.utils.data_utils", "function", "get_file", registered_name="get_file"),
        named("larq_equalbits._files", "function", "shutil", registered_name="shutil"),
    ],
)
def test_a_configuration_that_names_what_is_not_keras_needs_trust(tmp_path, danger):
    def lend(members):
        config = json.loads(members["config.json"])
        config["config"]["layers"][1]["config"]["activation"] = danger
        members["config.json"] = json.dumps(config)

    def replace(members):
        members["config.json"] = json.dumps(danger)

    tf.keras.Sequential([tf.keras.Input((2,)), tf.keras.layers.Dense(2)]).save(tmp_path / "net.keras")
    load_model(tmp_path / "net.keras")
    for change in (lend, replace):
        with pytest.raises(InputError, match="trust=True"):
            load_model(rewritten(tmp_path / "net.keras", change))


def steal(path, mine):
    with h5py.File(path, "r+") as file:
        file.create_dataset("stolen", (10,), "float32", external=[(str(mine), 0, 40)])


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
def test_weights_are_not_read_from_other_files(tmp_path, suffix):
    def steal_inside(members):
        (tmp_path / "weights").write_bytes(members["model.weights.h5"])
        steal(tmp_path / "weights", mine)
        members["model.weights.h5"] = (tmp_path / "weights").read_bytes()

    mine, net = tmp_path / "mine", tmp_path / f"net{suffix}"
    mine.write_bytes(bytes(1000))
    small().save(net)
    loads = [load_model]
    if suffix == ".h5":
        steal(net, mine)
    else:
        rewritten(net, steal_inside)
        loads.append(lambda path: load_weights(small(), path))
    for load in loads:
        with pytest.raises(InputError, match="stolen in it is read from another file"):
            load(net)


def test_an_operator_that_writes_a_file_needs_trust(tmp_path):
    node = NodeDef(name="last", op="DebugIdentity", input=["x"])
    node.attr["T"].type = 1
    node.attr["tensor_name"].s = b"p:0"
    node.attr["debug_urls"].list.s.append(f"file://{tmp_path}/dump".encode())
    config = {"name": "last", "node_def": node.SerializeToString().decode(), "constants": {}}
    path, inputs = tmp_path / "net.h5", tf.keras.Input((2,), name="in")
    tf.keras.Model(inputs, tf.keras.layers.Dense(2, name="dense")(inputs)).save(path)
    last = {"class_name": "TensorFlowOpLayer", "config": config, "name": "last"}
    with h5py.File(path, "r+") as file:
        model = json.loads(file.attrs["model_config"])
        model["config"]["layers"].append({**last, "inbound_nodes": [[["dense", 0, 0, {}]]]})
        model["config"]["output_layers"] = [["last", 0, 0]]
        file.attrs["model_config"] = json.dumps(model)
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


def parsed(message, path):
    message.ParseFromString(path.read_bytes())
    return message


def test_a_saved_model_that_takes_assets_from_elsewhere_needs_trust(tmp_path):
    (tmp_path / "words").write_text("a\nb\n")
    lookup = tf.keras.layers.StringLookup(vocabulary=str(tmp_path / "words"))
    tf.keras.Sequential([tf.keras.Input((1,), dtype="string"), lookup]).save(tmp_path / "net")
    path = tmp_path / "net" / "saved_model.pb"
    model = parsed(saved_model_pb2.SavedModel(), path)
    model.meta_graphs[0].asset_file_def[0].filename = "../../words"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(InputError, match=r"the file \.\./\.\./words, which could .* read your files"):
        load_model(tmp_path / "net")


def test_layers_inside_saved_model_pb_need_trust(tmp_path):
    def double(x):
        return 2 * x

    tf.keras.Sequential([tf.keras.Input((2,)), tf.keras.layers.Lambda(double)]).save(tmp_path / "net")
    metadata = parsed(saved_metadata_pb2.SavedMetadata(), tmp_path / "net" / "keras_metadata.pb")
    model = parsed(saved_model_pb2.SavedModel(), tmp_path / "net" / "saved_model.pb")
    for node in metadata.nodes:
        model.meta_graphs[0].object_graph_def.nodes[node.node_id].user_object.metadata = node.metadata
    (tmp_path / "net" / "saved_model.pb").write_bytes(model.SerializeToString())
    # Keras reads an older SavedModel so.
    (tmp_path / "net" / "keras_metadata.pb").unlink()
    with pytest.raises(InputError, match="trust=True"):
        load_model(tmp_path / "net")


@pytest.mark.parametrize("name", ["model.keras", "best.keras"])
def test_a_run_that_goes_on_takes_weights_alone(folder, tmp_path, name):
    made = tmp_path / "made"
    touching(made).save(folder / name)
    made.unlink(missing_ok=True)
    if name == "best.keras":
        # Tested at the end where another epoch than the last was the best.
        change_state(folder, lambda _, state: state.update(best=[1.0, 5]))
    with pytest.raises(InputError, match=name):
        training.train(SETTINGS, folder, resume=True, verbose=0)
    assert not made.exists()


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
    loaded = load_model(tmp_path / f"net{suffix}")
    np.testing.assert_allclose(loaded.predict(x, verbose=0), model.predict(x, verbose=0))


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
    own_kernel = {"kernel_initializer": initializer, "kernel_regularizer": OwnRegularizer()}
    x = tf.keras.layers.Dense(2, "relu", **own_kernel)(tf.expand_dims(x, 1))
    model = tf.keras.Model(inputs, tf.keras.layers.Activation(own)(x))
    model.save(tmp_path / f"net{suffix}")
    images = np.ones((2, 4, 4, 2), "float32")
    with tf.keras.utils.custom_object_scope({"own": own, "OwnRegularizer": OwnRegularizer}):
        loaded = load_model(tmp_path / f"net{suffix}")
    np.testing.assert_allclose(loaded.predict(images, verbose=0), model.predict(images, verbose=0))


def test_a_float_convolution_under_lces_name_is_neither_believed_nor_run():
    inputs = tf.keras.Input((6, 6, 4))
    model = tf.keras.Model(inputs, tf.keras.layers.Conv2D(4, 3)(inputs))
    file = writing.opened(export.convert(model, verify_on=False).tflite)
    code = file.operatorCodes[file.subgraphs[0].operators[0].opcodeIndex]
    code.builtinCode = code.deprecatedBuiltinCode = BuiltinOperator.CUSTOM
    code.customCode = b"LceBconv2d"
    forged = writing.to_bytes(file)
    (layer,) = export.audit(forged).layers
    assert not layer.binary and "LceBconv2d has" in layer.reason
    for runtime in ("lce", "litert"):
        with pytest.raises(InputError, match="is not run"):
            export.verify(model, forged, np.zeros((2, 6, 6, 4), "float32"), runtime=runtime)


ODD_ATTRIBUTES = [
    *({"channels_in": number} for number in (0, -1, 2**40, 65)),
    *({"dilation_width_factor": number} for number in (0, 2**31)),
    *({name: 7} for name in ("padding", "pad_values", "fused_activation_function")),
    {"stride_height": 0},
    {"stride_height": "1"},
    None,
]


@contextlib.contextmanager
def refused_with_changes(content):
    """Gives the binary operator of a file and its tensors to be changed; the file with the changes is not run."""
    file = writing.opened(content)
    graph = file.subgraphs[0]
    (operator,) = (one for one in graph.operators if len(one.inputs) == 5)
    yield operator, [graph.tensors[index] for index in operator.inputs]
    changed = writing.to_bytes(file)
    with pytest.raises(InputError, match="is not run: LceBconv2d"):
        interpreter.load(changed)
    assert not export.audit(changed).layers[0].binary


# LCE's interpreter ends the process with a signal, or computes nonsense, on these.
def test_no_binary_operator_with_odd_attributes_or_without_its_values_is_run():
    content = export.convert(small(), verify_on=False).tflite
    assert export.audit(content).layers[0].binary
    for odd in ODD_ATTRIBUTES:
        with refused_with_changes(content) as (operator, _):
            known = flexbuffers.Loads(bytes(operator.customOptions))
            octets = b"" if odd is None else bytes(flexbuffers.Dumps(known | odd))
            operator.customOptions = np.frombuffer(octets, np.uint8)
    for place in (2, 3):
        with refused_with_changes(content) as (operator, _):
            operator.inputs = np.where(np.arange(5) == place, -1, operator.inputs)
        with refused_with_changes(content) as (_, tensors):
            tensors[place].shape = [1]
