"""Nothing of a user's is overwritten or deleted unasked."""

import json

import numpy as np
import pytest
from small import SETTINGS, contents, entries, small

from larq_equalbits import _files, _report, device, export, training
from larq_equalbits._errors import InputError
from larq_equalbits.training import run_folder


@pytest.mark.parametrize(
    "name", ["model.keras", "history.csv", "model.json", "logs/notes.txt", "settings.json"]
)
def test_a_folder_of_other_things_is_refused_and_stays(tmp_path, name):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("{}")
    with pytest.raises(InputError, match="out must be a new folder"):
        training.train(SETTINGS, tmp_path, verbose=0)
    assert contents(tmp_path) == {name: "{}"}


def test_files_of_a_runs_names_are_no_run_without_its_settings(folder):
    (folder / "settings.json").unlink()
    before = entries(folder)
    with pytest.raises(InputError, match="out must be a new folder"):
        training.train(SETTINGS, folder, verbose=0)
    assert entries(folder) == before


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
    assert contents(folder) == others


def test_a_new_run_removes_the_file_and_the_page_of_the_former_one(folder):
    export.convert(training.Run.load(folder).load_model(), folder / "model.tflite", strict=False)
    _report.write(folder)
    run_folder.clear(folder, everything=True)
    assert contents(folder) == {}


@pytest.mark.parametrize("name", ["logs", "logs/train", "checkpoint"])
@pytest.mark.parametrize("resume", [False, True])
def test_a_run_writes_through_no_link_in_its_folder(folder, tmp_path, name, resume):
    elsewhere = tmp_path / "elsewhere"
    (folder / name).rename(elsewhere)
    (folder / name).symlink_to(elsewhere)
    before = entries(elsewhere)
    with pytest.raises(InputError, match=f"{name} is a link"):
        training.train(SETTINGS, folder, resume=resume, verbose=0)
    with pytest.raises(InputError, match=f"{name} is a link"):
        run_folder.clear(folder, everything=True)
    assert before and entries(elsewhere) == before


@pytest.mark.parametrize(
    "name", ["logs", "logs/train", "checkpoint", "model.keras", "history.csv", "results.json"]
)
def test_a_run_whose_files_and_folders_are_of_the_other_kind_loses_nothing(folder, tmp_path, name):
    place = folder / name
    place.rename(tmp_path / "away")
    place.mkdir() if (tmp_path / "away").is_file() else place.write_text("mine")
    before = entries(folder)
    for resume in (False, True):
        with pytest.raises(InputError, match=f"{name}, if anything"):
            training.train(SETTINGS, folder, resume=resume, verbose=0)
    assert entries(folder) == before


@pytest.mark.parametrize("leads_to", ["ours", "nowhere", "itself"])
@pytest.mark.parametrize("name", ["net.tflite", "net.json", "page.html", "report.json", "chart.png"])
def test_no_link_is_replaced(run, tmp_path, name, leads_to):
    link = tmp_path / name
    if leads_to == "ours":
        export.convert(small(), tmp_path / "ours.tflite", verify_on=False)
        (tmp_path / "ours.html").write_text(_files.REPORT_MARK)
        (tmp_path / "ours.png").write_text("")
    link.symlink_to({"ours": f"ours{link.suffix}", "itself": name}.get(leads_to, leads_to))
    before = entries(tmp_path)
    with pytest.raises(InputError, match=f"{name} is a link"):
        if name.startswith("net"):
            export.convert(small(), tmp_path / "net.tflite", verify_on=False)
        elif name == "page.html":
            _report.write(run, link)
        else:
            device.Report().save(tmp_path)
    assert entries(tmp_path) == before


@pytest.mark.parametrize("name", ["..", ".", "", "a/b", "a\\b", "../x", "a\nb", " a", "x" * 300, "c:"])
@pytest.mark.parametrize("trains", ["train", "sweep"])
def test_a_name_is_that_of_a_folder(refused, trains, name):
    assert "--name" in refused(trains, "--name", name)


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
    before = entries(tmp_path)
    with pytest.raises(InputError, match="path must"):
        export.convert(small(), target, verify_on=False)
    assert entries(tmp_path) == before


def test_a_conversion_leaves_a_pair_which_it_may_replace(tmp_path):
    target = tmp_path / "model.tflite"
    for _ in range(2):
        report = export.convert(small(), target, verify_on=False)
        described = json.loads((tmp_path / "model.json").read_text())
        assert described["report"]["layers"][0]["name"] == report.layers[0].name


def test_a_report_replaces_no_other_file(run, tmp_path):
    mine = tmp_path / "notes.html"
    mine.write_text("<p>mine")
    with pytest.raises(InputError, match="out must be"):
        _report.write(run, mine)
    assert mine.read_text() == "<p>mine"
    for _ in range(2):
        _report.write(run, tmp_path / "new.html")


@pytest.mark.parametrize("name", ["report.json", "report.csv", "chart.png"])
def test_a_measurement_replaces_no_other_file(refused, tmp_path, name):
    (tmp_path / name).write_text("{}")
    with pytest.raises(InputError, match="out must be"):
        device.Report().save(tmp_path)
    export.convert(small(), tmp_path / "net.tflite", verify_on=False)
    np.save(tmp_path / "x.npy", np.zeros((1, 6, 6, 32), "float32"))
    options = ("--inputs", tmp_path / "x.npy", "--repeats", "1", "--out", tmp_path)
    assert name in refused("device", tmp_path / "net.tflite", *options)
    assert (tmp_path / name).read_text() == "{}"
    for _ in range(2):
        device.Report().save(tmp_path / "new")
