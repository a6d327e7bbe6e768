"""Networks of the forms that others build: made binary, trained with a BitLogger; converted, verified and read back."""

import numpy as np
import pytest
import tensorflow as tf
from forms import FLOAT, FORMS, QUICK, shared_normalization
from small import slow_but
from stacks import as_if_trained, inputs_of, rows

import larq_equalbits as lqe
from larq_equalbits import callbacks, export


def binarized(build):
    twin = lqe.binarize(build())
    changes = rows(twin.binarization)
    assert {layer for layer, row in changes.items() if row.binary} == FORMS[build]
    assert all(row.reason for row in changes.values() if row.weights and not row.binary)
    return twin


@pytest.mark.parametrize("build", slow_but({shared_normalization}, FORMS), ids=lambda build: build.__name__)
def test_a_network_of_another_form_trains(build):
    twin = binarized(build)
    inputs = inputs_of(twin)
    labels = tf.nest.map_structure(np.zeros_like, twin(inputs, training=True))
    twin.compile("adam", "mse")
    history = twin.fit(inputs, labels, epochs=2, verbose=0, callbacks=[callbacks.BitLogger()]).history
    assert history["bit_entropy"][-1] == pytest.approx(1, abs=1e-3)
    logged = {part for key in history if key.endswith("/bit_flips") for part in key.split("/")[:-1]}
    assert FORMS[build] <= logged


@pytest.mark.parametrize("build", slow_but(QUICK, FORMS), ids=lambda build: build.__name__)
def test_the_file_of_a_network_of_another_form_is_binary_and_every_layer_of_it_told(build, tmp_path):
    operators = FORMS[build] - FLOAT.get(build, set())
    twin = as_if_trained(binarized(build))
    inputs = inputs_of(twin)
    path = tmp_path / "model.tflite"
    report = export.convert(twin, path, strict=bool(operators))
    assert {layer for layer, row in rows(report).items() if row.binary} == operators
    assert all(row.reason for row in report.layers if not row.binary)
    found = export.verify(twin, path, inputs)
    assert found.within(0.0) and found.max_abs_diff <= 1e-4
    audit = export.audit(path)
    # A row for each operator there, and for each layer here.
    for row in report.layers:
        shown = [one for one in audit.layers if one.name == row.name]
        assert sum(one.bytes for one in shown) == row.bytes and shown[0].reason == row.reason
    assert sum(row.bytes for row in report.layers) + audit.structure == path.stat().st_size
