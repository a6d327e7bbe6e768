import base64
import json
import re

import larq as lq
import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner

from larq_equalbits._errors import InputError
from larq_equalbits.callbacks import BitLogger
from larq_equalbits.cli import program
from larq_equalbits.training import page as run_page

REPORT = {
    "verification": {"keras_accuracy": 0.9722},
    "tflite_bytes": 123456,
    "layers": [
        {"name": "conv", "operator": "LceBconv2d", "binary": True, "bytes": 64, "reason": ""},
        {
            "name": "head",
            "operator": "FULLY_CONNECTED",
            "binary": False,
            "bytes": 7,
            "reason": "<last> layer",
        },
    ],
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    model = tf.keras.Sequential(
        [
            lq.layers.QuantConv2D(4, 3, kernel_quantizer="bi_half", input_shape=(4, 4, 2), name="conv"),
            tf.keras.layers.Flatten(),
            tf.keras.layers.Dense(2, name="head"),
        ]
    )
    model.compile("sgd", "mse")
    model.fit(
        np.ones((4, 4, 4, 2)),
        np.ones((4, 2)),
        epochs=2,
        verbose=0,
        callbacks=[BitLogger(), tf.keras.callbacks.CSVLogger(folder / "history.csv")],
    )
    model.save(folder / "model.keras")
    (folder / "settings.json").write_text(json.dumps({"quantizer": "bi_half", "epochs": 2, "note": "<b>"}))
    (folder / "model.json").write_text(json.dumps({"report": REPORT}))
    return folder


@pytest.fixture
def run(trained, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    for path in trained.glob("*.*"):
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


def cells(page, layer):
    row = re.search(rf"<tr class=\"\w*\"><td>{layer}</td>(.*?)</tr>", page)
    return re.findall(r"<td[^>]*>(.*?)</td>", row[1])


def test_the_page_holds_layers_plots_and_settings(run):
    page = run_page.write(run).read_text()
    assert cells(page, "conv")[:5] == ["LceBconv2d", "64", "1.0000", "1.0000", "0.5000"]
    assert cells(page, "head")[-1] == "&lt;last&gt; layer"
    assert "0.9722" in page
    assert "&lt;b&gt;" in page
    assert "Not in this run" not in page
    pictures = re.findall(r'src="data:image/svg\+xml;base64,([^"]+)"', page)
    assert len(pictures) == 4
    assert all(b"<svg" in base64.b64decode(picture) for picture in pictures)


def test_the_page_needs_nothing_from_outside(run):
    page = run_page.render(run)
    assert not re.findall(r"(?:src|href)=[\"'](?!data:)", page)
    assert "@import" not in page
    assert "<script" not in page
    assert '<meta name="viewport"' in page


@pytest.mark.parametrize("missing", ["settings.json", "history.csv", "model.keras", "model.json"])
def test_what_is_missing_is_said(run, missing):
    (run / missing).unlink()
    page = run_page.render(run)
    assert re.search(rf"Not in this run.*<b>{missing}</b>", page)


def test_nothing_to_report(tmp_path):
    with pytest.raises(InputError, match="nothing to report"):
        run_page.render(tmp_path)
    with pytest.raises(InputError, match="a run folder"):
        run_page.render(tmp_path / "absent")


def test_a_damaged_file(run):
    (run / "settings.json").write_text("{")
    with pytest.raises(InputError, match=r"settings\.json must be JSON"):
        run_page.write(run)
    assert not (run / "report.html").exists()


def test_a_json_file_of_another_kind(run):
    (run / "model.json").write_text("{}")
    with pytest.raises(InputError, match=r"model\.json must be what `convert` wrote"):
        run_page.render(run)


def test_command(run, tmp_path):
    finished = CliRunner().invoke(program, ["report", str(run), "--json"], catch_exceptions=False)
    assert json.loads(finished.stdout) == {"report": str(run / "report.html")}
    assert (run / "report.html").exists()
    finished = CliRunner().invoke(program, ["report", str(tmp_path / "absent")])
    assert isinstance(finished.exception, InputError)
