import numpy as np
import pytest
import tensorflow as tf

from larq_equalbits import export, zoo
from larq_equalbits.errors import InputError


@pytest.fixture(scope="module")
def tflite():
    return export.convert(zoo.conv2(input_shape=(8, 8, 1), num_classes=10, width=0.5)).tflite


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


def test_a_float_file_is_read_too():
    model = tf.keras.Sequential([tf.keras.Input((8, 8, 3)), tf.keras.layers.Conv2D(4, 3)])
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


@pytest.mark.parametrize("count", [300, pytest.param(10_000, marks=pytest.mark.slow)])
def test_a_damaged_file_neither_hangs_nor_crashes(tflite, count):
    answers = [_audit_or_refuse(content) for content in _mutations(tflite, count)]
    assert len(answers) == count
    assert any(answers)
    assert not all(answers)
