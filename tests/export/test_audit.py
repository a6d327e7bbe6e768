import copy
import functools
import json
import weakref

import larq
import larq_compute_engine
import numpy as np
import pytest
import tensorflow as tf
from stacks import convolution, network_on, quant, rows, stack
from tensorflow.lite.python import schema_py_generated as schema

from larq_equalbits import export, zoo
from larq_equalbits._errors import InputError
from larq_equalbits.export import constants, flatbuffer, interpreter, kernels, writing


@pytest.fixture(scope="module")
def report():
    return export.convert(zoo.conv2(input_shape=(8, 8, 1), num_classes=10, width=0.5), verify_on=False)


@pytest.fixture(scope="module")
def tflite(report):
    return report.tflite


def test_a_layer_is_found_where_the_converter_cuts_names(report):
    assert list(rows(report)) == ["conv1_1", "conv1_2", "dense1", "dense2", "classifier"]


def test_an_audit_tells_the_operators_and_why_a_layer_is_float(tflite, tmp_path):
    (tmp_path / "model.tflite").write_bytes(tflite)
    audit = export.audit(tmp_path / "model.tflite")
    assert audit == export.audit(tflite)
    assert audit.bytes == len(tflite)
    assert audit.operators["LceBconv2d"] == 3
    assert [layer.binary for layer in audit.layers] == [False, True, True, True, False]
    assert all(layer.reason for layer in audit.layers if not layer.binary)
    assert "LceBconv2d" in str(audit)
    assert '"operators"' in audit.to_json()


def test_names_are_in_the_json_beside_the_file(tmp_path, tflite):
    model = zoo.resnet20(input_shape=(16, 16, 3), num_classes=4, width=0.25)
    path = tmp_path / "model.tflite"
    report = export.convert(model, path, verify_on=False)
    kept = export.convert(model, keep_names=True, verify_on=False)
    assert len(report.tflite) < 0.93 * len(kept.tflite)
    rows = export.audit(path).layers
    assert rows == report.layers
    images = np.random.default_rng(0).normal(size=(3, 16, 16, 3)).astype("float32")
    runners = [interpreter.load(content) for content in (report.tflite, kept.tflite)]
    few, all_ = (runner.predict({runner.inputs[0].key: images}) for runner in runners)
    assert few.keys() == all_.keys()
    np.testing.assert_array_equal(*(next(iter(found.values())) for found in (few, all_)))
    # A model.json of another file names nothing.
    path.write_bytes(tflite)
    assert {row.name for row in export.audit(path).layers}.isdisjoint(row.name for row in report.layers)


def test_names_that_are_none_beside_a_file_are_left_alone(tmp_path):
    path = tmp_path / "model.tflite"
    export.convert(stack(tf.keras.layers.Dense(8, name="named"), shape=(4,)), path)
    beside = path.with_suffix(".json")
    content = json.loads(beside.read_text())
    for owners in (None, [1, 2, 3], "stem"):
        content["report"]["owners"] = owners
        beside.write_text(json.dumps(content))
        assert all(row.name != "named" for row in export.audit(path).layers)


def test_an_audit_lists_every_tensor(tflite):
    audit = export.audit(tflite)
    tensors = {tensor["name"]: tensor for tensor in audit.tensors}
    assert len(audit.tensors) > sum(audit.operators.values())
    (given,) = audit.inputs
    assert tensors[given["name"]] == given | {"bytes": 0}
    assert given["shape"] == [1, 8, 8, 1]
    dense = max(audit.tensors, key=lambda tensor: tensor["bytes"])
    assert dense["dtype"] == "int32" and dense["bytes"] == 4 * np.prod(dense["shape"])
    assert 0.9 * audit.bytes < sum(tensor["bytes"] for tensor in audit.tensors) + 10_000
    assert json.loads(audit.to_json())["tensors"] == audit.tensors
    assert f"{len(audit.tensors)} tensors" in str(audit)


@network_on(8)
def recurrent(inputs):
    x = tf.keras.layers.Embedding(50, 16, name="table")(inputs)
    both = [tf.keras.layers.LSTM(12, name="long")(x), tf.keras.layers.GRU(8, name="gated")(x)]
    return tf.keras.layers.Dense(3)(tf.keras.layers.concatenate(both))


def without_weights():
    return stack(tf.keras.layers.Rescaling([2.0, 3.0]), shape=(4, 4, 2))


@network_on(8, 8, 32)
def unfused(inputs):
    x = convolution(32, padding="same", use_bias=True)(inputs)
    x = tf.keras.layers.Add()([tf.keras.layers.PReLU(shared_axes=[1, 2])(x), inputs])
    x = tf.keras.layers.BatchNormalization()(x)
    return quant("Dense", 4, input_quantizer=None)(tf.keras.layers.Flatten()(x))


@functools.cache
def converted(build):
    return export.convert(build(), binary_weights="bits", verify_on=False)


@pytest.mark.parametrize("build", [recurrent, without_weights, unfused])
def test_every_byte_belongs_to_a_row_or_to_the_structure(build):
    report = converted(build)
    file = schema.ModelT.InitFromObj(schema.Model.GetRootAs(report.tflite, 0))
    read = {
        int(graph.tensors[index].buffer)
        for graph in file.subgraphs
        for operator in graph.operators
        for index in operator.inputs
        if index >= 0
    }
    stored = sum(len(file.buffers[index].data) for index in read if file.buffers[index].data is not None)
    for found in (export.audit(report.tflite), report):
        assert sum(row.bytes for row in found.layers) == stored > 0
        assert stored + found.structure == len(report.tflite)


def test_weights_inside_loops_and_tables_have_rows():
    found = {row.name: row for row in converted(recurrent).layers}
    assert found["table"].operator == "GATHER" and found["table"].bytes >= 4 * 50 * 16
    for cell, weights in {"long/lstm_cell": 48 * (16 + 12), "gated/gru_cell": 24 * (16 + 8)}.items():
        (row,) = [row for name, row in found.items() if name.startswith(cell)]
        assert 4 * weights <= row.bytes < 4 * weights + 400
    assert all(row.weights == "float32" and row.reason for row in found.values())


@tf.keras.utils.register_keras_serializable("tests")
class AsItIs(larq.quantizers.Quantizer):
    """Takes its input for binary."""

    precision = 1

    def call(self, inputs):
        return inputs


def _codes(kernel):
    return np.where(kernel < 0, -1.0, 1.0)


def _with_zeros(kernel):
    return _codes(kernel) * (np.abs(kernel) > 0.01)


BINARY = {"kernel_quantizer": AsItIs()}
PADDED = {**BINARY, "padding": "same"}
LEVELS = "kernel not binary: a filter has weights of more than one magnitude"


@pytest.mark.parametrize(
    ("kind", "options", "codes", "words"),
    [
        ("Conv2D", {"input_quantizer": None}, None, "no input quantizer"),
        ("Conv2D", BINARY, None, LEVELS),
        ("Conv2D", BINARY, _with_zeros, "zero in the kernel"),
        ("Conv2D", {**PADDED, "pad_values": 1.0}, _with_zeros, "zero in the kernel"),
        ("Conv2D", BINARY, lambda kernel: 1e-9 * _codes(kernel), "scale nearly zero"),
        ("Conv2D", {**BINARY, "groups": 2}, _codes, "grouped"),
        ("Conv2D", {**BINARY, "data_format": "channels_first"}, _codes, "channels_first"),
        ("Conv2D", {**PADDED, "pad_values": -1.0}, _codes, "padded with another value"),
        ("Conv2DTranspose", BINARY, _codes, "transposed"),
        ("Conv1D", BINARY, _codes, "one-dimensional"),
        ("Dense", BINARY, _codes, "dense: LCE has no binary dense operator"),
        ("Dense", BINARY, None, "kernel not binary"),
        ("DepthwiseConv2D", {}, None, "depthwise"),
    ],
)
def test_why_a_layer_is_float_stands_in_the_file(kind, options, codes, words):
    """In what LCE's own converter makes of a plain Larq model."""
    sizes = {"Dense": (8,), "DepthwiseConv2D": (3,)}.get(kind, (8, 3))
    layer = quant(kind, *sizes, **options)
    model = stack(layer, shape=(8, 32) if kind == "Conv1D" else (8, 8, 32))
    if codes is not None:
        layer.kernel.latent_variable.assign(codes(layer.kernel.latent_variable.numpy()))
    with export.freeze(model):
        tflite = larq_compute_engine.convert_keras_model(model)
    (row,) = export.audit(tflite).layers
    assert not row.binary
    assert words in row.reason


def test_a_float_file_is_read_too():
    model = stack(tf.keras.layers.Conv2D(4, 3), shape=(8, 8, 3))
    audit = export.audit(tf.lite.TFLiteConverter.from_keras_model(model).convert())
    assert [layer.operator for layer in audit.layers] == ["CONV_2D"]


@pytest.mark.parametrize("content", [b"", b"short", b"x" * 100, b"\0\0\0\0TFL3"])
def test_what_is_no_tflite_is_refused(content):
    with pytest.raises(InputError, match="tflite"):
        export.audit(content)


def test_a_file_that_is_cut_short_is_refused_or_read(tflite):
    for size in range(8, len(tflite), len(tflite) // 50):
        _audit_or_refuse(tflite[:size])


def _audit_or_refuse(content):
    try:
        export.audit(content)
    except InputError:
        return False
    return True


def _mutations(tflite, count):
    generator = np.random.default_rng(0)
    for _ in range(count):
        content = np.frombuffer(tflite, np.uint8).copy()
        # The tables lie in the last part of the file; the weights before them hold no structure.
        places = generator.integers(0, len(content), generator.integers(1, 20))
        content[places] = generator.integers(0, 256, len(places))
        yield content.tobytes()


def _left_float(tflite):
    """A file whose only convolution is float and small, so its kernel's shape is hit often."""
    layer = convolution(1, 1, **BINARY)
    return export.convert(stack(layer, shape=(2, 2, 2)), strict=False, verify_on=False).tflite


@pytest.mark.parametrize("made", [bytes, _left_float])
@pytest.mark.parametrize("count", [300, pytest.param(10_000, marks=pytest.mark.slow)])
def test_a_damaged_file_neither_hangs_nor_crashes(tflite, made, count):
    answers = [_audit_or_refuse(content) for content in _mutations(made(tflite), count)]
    assert len(answers) == count
    assert any(answers)
    assert not all(answers)


def test_a_file_whose_operators_lead_to_one_vector_again_and_again_is_refused(tflite):
    file = writing.opened(tflite)
    (*_, operator) = file.subgraphs[0].operators
    operator.inputs = [0] * 10_000
    operator.Pack = functools.cache(operator.Pack)
    file.subgraphs[0].operators = [operator] * 10_000
    with pytest.raises(InputError, match=r"damaged or cut short \(its tables and vectors take more"):
        export.audit(writing.to_bytes(file))


def test_a_file_that_was_read_is_not_kept(tflite):
    model = flatbuffer.read_model(tflite)
    assert constants.find(model) is constants.find(model)
    kept = weakref.ref(model)
    del model
    assert kept() is None


def test_weights_that_many_layers_share_are_not_looked_at_for_each(monkeypatch):
    model = stack(quant("Dense", 64), shape=(64,))
    tflite = export.convert(model, strict=False, rewrites=[], binary_weights="bits", verify_on=False).tflite
    file = writing.opened(tflite)
    graph = file.subgraphs[0]
    (*_, operator) = graph.operators
    for _ in range(500):
        graph.operators.append(copy.copy(operator))
        graph.operators[-1].outputs = [len(graph.tensors)]
        graph.tensors.append(copy.copy(graph.tensors[operator.outputs[0]]))
    content = writing.to_bytes(file)
    looked_at = []
    monkeypatch.setattr(kernels, "why_not", lambda kernel: looked_at.append(kernel.size) or "")
    assert len(export.audit(content).layers) == 501
    assert 64 * 64 <= sum(looked_at) <= 16 * len(content)
