import base64
import html.parser
import json
import math
import re
import shutil

import larq as lq
import numpy as np
import pytest
import tensorflow as tf

from larq_equalbits import _report as run_page
from larq_equalbits import device, plots, pruning
from larq_equalbits._errors import InputError
from larq_equalbits._report.run import read
from larq_equalbits._text import render
from larq_equalbits.binarization import BinarizationReport, LayerChange
from larq_equalbits.callbacks import BitLogger
from larq_equalbits.tuning import presentation, trials

REPORT = {
    "verification": {"keras_accuracy": 0.9722, "argmax_agreement": 0.99996},
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

SEARCH = {"kind": "RandomSearch", "objective": {"name": "instructions", "direction": "min"}}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    conv = lq.layers.QuantConv2D(4, 3, kernel_quantizer="bi_half", input_shape=(4, 4, 2), name="conv")
    head = tf.keras.layers.Dense(2, name="head")
    model = tf.keras.Sequential([conv, tf.keras.layers.Flatten(), head])
    model.compile("sgd", "mse")
    loggers = [BitLogger(), tf.keras.callbacks.CSVLogger(folder / "history.csv")]
    model.fit(np.ones((4, 4, 4, 2)), np.ones((4, 2)), epochs=2, verbose=0, callbacks=loggers)
    model.save(folder / "model.keras")
    (folder / "settings.json").write_text(json.dumps({"quantizer": "bi_half", "epochs": 2, "note": "<b>"}))
    (folder / "model.json").write_text(json.dumps({"report": REPORT}))
    (folder / "results.json").write_text(json.dumps({"test_accuracy": 0.9611}))
    latency = device.Latency(1.25, 1.3, 0.1, 1.2, 1.5, 10)
    measured = device.Result("conv", "ssh:pi@berry", 1, 123456, latency, accuracy=0.9583, accuracy_images=8)
    device.Report([measured]).save(folder / "device")
    return folder


@pytest.fixture
def run(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "run")


def cells(page, layer):
    row = re.search(rf"<tr class=\"\w*\"><td>{layer}</td>(.*?)</tr>", page)
    return re.findall(r"<td[^>]*>(.*?)</td>", row[1])


def test_the_page_holds_layers_plots_and_settings(run):
    page = run_page.write(run).read_text()
    assert cells(page, "conv")[:5] == ["LceBconv2d", "64", "1.0000", "1.0000", "0.5000"]
    assert cells(page, "head")[-1] == "&lt;last&gt; layer"
    for figure in ("0.9722", "0.9611", "1.250 (ssh:pi@berry, threads: 1)", "0.9583", "99.99%"):
        assert figure in page
    assert cells(page, "ssh:pi@berry")[0] == "conv"
    assert "&lt;b&gt;" in page
    assert "Not in this run" not in page
    pictures = re.findall(r'src="data:image/svg\+xml;base64,([^"]+)"', page)
    assert len(pictures) == 4
    assert all(b"<svg" in base64.b64decode(picture) for picture in pictures)


def test_settings_that_say_nothing_have_no_row(run):
    settings = {"quantizer": "bi_half", "model_options": {}, "augment": None}
    (run / "settings.json").write_text(json.dumps(settings))
    page = run_page.render(run)
    assert "<td>quantizer</td><td>bi_half</td>" in page
    assert "model_options" not in page
    assert "augment" not in page


def test_what_the_last_epoch_did_not_measure_is_of_the_epoch_that_did(run):
    rows = ["epoch,loss,val_loss,val_accuracy", "0,2.0,NA,NA", "1,1.5,1.2,0.75", "2,1.0,NA,NA"]
    (run / "history.csv").write_text("\n".join(rows) + "\n")
    page = run_page.render(run)
    assert "<dd>0.7500 (epoch 2)</dd>" in page and ">nan<" not in page


def result(model, name="local", threads=1, ms=9.0, size=123456):
    latency = None if ms is None else device.Latency(ms, ms, 0.1, ms, ms, 10)
    return device.Result(model, name, threads, size, latency, failure="" if ms else "no answer")


@pytest.mark.parametrize("other", [99, 123456])
def test_what_was_measured_of_another_run_is_not_of_this_one(run, other):
    device.Report([result("a", ms=None), result("b", size=other)]).save(run / "device")
    content = read(run, False)
    assert content.times == {} and "device_ms" not in content.facts
    assert cells(run_page.render(run), "local")[0] == "a"


def test_figures_of_another_file_are_marked(run):
    device.Report([result("conv", size=99)]).save(run / "device")
    page = run_page.render(run)
    assert "another size" in page and "9.000 (local" not in page


def test_times_are_compared_on_the_same_device_and_threads(run, trained, tmp_path, monkeypatch):
    points, pages, draw = [], [], plots.tradeoff
    monkeypatch.setattr(plots, "tradeoff", lambda given: points.append(given) or draw(given))
    other = shutil.copytree(trained, tmp_path / "other")
    device.Report([result("a", ms=9.0), result("a", "ssh:pi", 4, 100.0)]).save(run / "device")
    for threads in (2, 4):
        device.Report([result("b", "ssh:pi", threads, 80.0)]).save(other / "device")
        pages.append(run_page.render([run, other]))
    assert [[point.ms for point in each.values()] for each in points] == [[None, None], [100.0, 80.0]]
    assert ["time of an image on ssh:pi, threads: 4" in page for page in pages] == [False, True]


@pytest.mark.parametrize("kernel_quantizer", ["bi_half", "rbnn"])
def test_the_float_size_is_of_the_weights_alone(run, kernel_quantizer):
    layer = lq.layers.QuantConv2D(4, 3, kernel_quantizer=kernel_quantizer, name="conv")
    model = tf.keras.Sequential([tf.keras.Input((4, 4, 2)), layer, tf.keras.layers.BatchNormalization()])
    for network in (model, pruning.prune(model, 0.5), pruning.prune(model, 0.5, "score")):
        network.save(run / "model.keras")
        assert read(run, False).facts["float_bytes"] == 4 * (3 * 3 * 2 * 4 + 4 + 4 * 4)


def test_a_run_of_a_float_network(run):
    tf.keras.Sequential([tf.keras.Input((4,)), tf.keras.layers.Dense(2)]).save(run / "model.keras")
    page = run_page.render(run)
    assert page.count("data:image/svg+xml") == 2 and "bytes of its weights in float32" in page


def test_two_runs_beside_each_other(run, trained, tmp_path):
    other = shutil.copytree(trained, tmp_path / "<other>")
    (other / "settings.json").write_text(json.dumps({"quantizer": "ste_sign", "epochs": 2, "note": "<b>"}))
    (other / "results.json").write_text(json.dumps({"test_accuracy": 0.5}))
    page = run_page.write([run, other], tmp_path / "both.html").read_text()
    assert cells(page, "test accuracy") == ["0.9611", "0.5000"]
    assert cells(page, "quantizer") == ["bi_half", "ste_sign"]
    assert "<td>epochs</td>" not in page
    assert "<other>" not in page
    assert "entropy per filter: &lt;other&gt;" in page
    assert run_page.write([run, other]).parent == tmp_path
    with pytest.raises(InputError, match="different run folders"):
        run_page.render([run, run])


def test_what_one_of_two_runs_lacks_is_said(run, trained, tmp_path):
    other = shutil.copytree(trained, tmp_path / "other")
    (other / "history.csv").unlink()
    page = run_page.render([run, other])
    assert cells(page, "entropy per filter \\(bits\\)") == ["1.0000", "-"]
    assert "<td></td>" not in page
    assert re.search(r"(?s)Not in these runs.*<b>other</b>: no history.csv, loss", page)


def test_a_sweep(run, tmp_path):
    sweep = tmp_path / "ratios"
    trial = shutil.copytree(run, sweep / "trial_0")
    first, second = ({"positive_ratio": ratio, "seed": 1234567} for ratio in (0.3, 0.9))
    metrics = {"test_accuracy": 0.75, "instructions": 2_150_000.0, "tflite_bytes": 64_992.0}
    done = trials.Trial("0", trial, "COMPLETED", first, metrics, 0.75, math.nan, None)
    failed = trials.Trial("1", sweep / "trial_1", "FAILED", second, {}, None, math.nan, "no <memory>")
    (sweep / "sweep.json").write_text(json.dumps(SEARCH))
    with pytest.raises(InputError, match="a finished trial"):
        run_page.render(sweep)
    trials.write(sweep, [done, failed], {})
    for name in ("ratios.png", "front.png"):
        (sweep / name).write_bytes(b"png")
    page = run_page.write(sweep).read_text()
    assert cells(page, "0.3")[:2] == ["1", "-"]
    assert cells(page, "trial_0")[:5] == ["0.3", "1234567", "0.7500", "2,150,000", "64,992"]
    assert "2,150,000" in render(presentation.table([done], ["instructions"]))
    assert "best trial" not in page
    (sweep / "best").symlink_to("trial_0")
    assert "<dt>best trial</dt><dd>trial_0</dd>" in run_page.render(sweep)
    assert cells(page, "trial_1")[-1] == "no &lt;memory&gt;"
    assert page.count("data:image/png;base64,") == 2
    with pytest.raises(InputError, match="is a sweep"):
        run_page.render([sweep, run])


def test_the_page_needs_nothing_from_outside(run):
    page = run_page.render(run)
    assert not re.findall(r"(?:src|href)=[\"'](?!data:)", page)
    assert "@import" not in page
    assert "<script" not in page
    assert '<meta name="viewport"' in page


EVIL = "<script>alert(1)<\\script>\"'><img src=x onerror=alert(1)>$a_$\x1b[31m\u202e{{ 7 * 7 }}"


class Tags(html.parser.HTMLParser):
    """The tags of a page with their attributes."""

    def __init__(self, page):
        super().__init__()
        self.found = []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))


def check_harmless(page, said):
    for picture in re.findall(r'src="data:image/svg\+xml;base64,([^"]+)"', page):
        page += base64.b64decode(picture).decode()
    tags = Tags(page).found
    assert not {"script", "iframe", "object", "link", "foreignobject"} & {tag for tag, _ in tags}
    assert not [name for _, attributes in tags for name in attributes if name.startswith("on")]
    assert all(each["src"].startswith("data:image/") for tag, each in tags if tag == "img")
    assert "\x1b" not in page and "\u202e" not in page and "{{ 7 * 7 }}" in page
    assert page.count("&lt;script&gt;alert(1)") >= said


def test_every_text_of_a_file_is_shown_and_not_obeyed(run, tmp_path):
    folder = run.rename(tmp_path / EVIL)
    header, *rows = (folder / "history.csv").read_text().splitlines()
    names = (name.replace("conv/", f"{EVIL}/").replace('"', '""') for name in header.split(","))
    names = ",".join(f'"{name}"' for name in names)
    (folder / "history.csv").write_text("\n".join([names, *rows]) + "\n")
    settings = {"model": EVIL, "dataset": EVIL, "quantizer": EVIL, EVIL: {EVIL: EVIL}}
    (folder / "settings.json").write_text(json.dumps(settings))
    layer = {"operator": EVIL, "bytes": EVIL, "reason": EVIL}
    layers = [{"name": f"{EVIL}{place}", **layer} for place in range(2)]
    (folder / "model.json").write_text(json.dumps({"report": {**REPORT, "layers": layers}}))
    report = device.Report([result(EVIL, EVIL), device.Result(EVIL, "b", 1, 9, failure=EVIL)])
    report.save(folder / "device")
    report.plot(tmp_path / "chart.png")
    check_harmless(run_page.render(folder), 19)
    check_harmless(run_page.render([folder, shutil.copytree(folder, tmp_path / f"{EVIL}b")]), 23)


def test_every_text_of_a_sweep_is_shown_and_not_obeyed(tmp_path):
    values = {"positive_ratio": 0.3, EVIL: EVIL}
    metrics = {"test_accuracy": 0.75, EVIL: 0.5}
    done = [
        trials.Trial("0", tmp_path / EVIL, "COMPLETED", values, metrics, 0.75, 3.0, None),
        trials.Trial("1", tmp_path / "trial_1", "FAILED", values, {}, None, math.nan, EVIL),
    ]
    (tmp_path / "sweep.json").write_text(json.dumps(SEARCH))
    trials.write(tmp_path, done, {})
    (tmp_path / "best").symlink_to(EVIL)
    check_harmless(run_page.render(tmp_path), 6)


@pytest.mark.parametrize(
    "missing",
    ["settings.json", "history.csv", "results.json", "model.keras", "model.json", "device/report.json"],
)
def test_what_is_missing_is_said(run, missing):
    (run / missing).unlink()
    page = run_page.render(run)
    assert re.search(rf"(?s)Not in this run.*<b>{missing}</b>", page)


def test_nothing_to_report(tmp_path):
    with pytest.raises(InputError, match="nothing to report"):
        run_page.render(tmp_path)
    with pytest.raises(InputError, match="a run folder"):
        run_page.render(tmp_path / "absent")


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [("settings.json", "{", "must be JSON"), ("model.json", "{}", "must be what `convert` wrote")],
)
def test_a_file_that_is_damaged_or_of_another_kind_is_named(run, name, text, words):
    (run / name).write_text(text)
    with pytest.raises(InputError, match=f"{name} {words}"):
        run_page.write(run)
    assert not (run / "report.html").exists()


def test_command(command, run):
    assert json.loads(command("report", run, "--json").stdout) == {"report": str(run / "report.html")}
    assert (run / "report.html").exists()


def test_reports_show_themselves_in_a_notebook():
    layer = LayerChange("<b>", "Dense", "QuantDense", 64, True, True)
    measured = device.Report([device.Result("<i>", "local", 1, 2048)])
    for report, text in ((BinarizationReport([layer]), "&lt;b&gt;"), (measured, "&lt;i&gt;")):
        page = report._repr_html_()
        assert page.startswith("<pre")
        assert text in page
        assert str(report).strip()
