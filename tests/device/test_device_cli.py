"""The command `larq-equalbits device`."""

import functools
import json
import shutil

import numpy as np
import pytest

from larq_equalbits import training

QUICK = ["--repeats", "3", "--warmup", "1", "--rounds", "1", "--images", "2"]


@pytest.fixture
def device(command, tmp_path, monkeypatch):
    """Calls the command in `tmp_path`."""
    monkeypatch.chdir(tmp_path)
    return functools.partial(command, "device")


@pytest.fixture
def run_folder(converted, tmp_path):
    model, tflite = converted
    folder = tmp_path / "runs" / "first"
    folder.mkdir(parents=True)
    (folder / "model.tflite").write_bytes(tflite)
    training.Settings(dataset="digits").save(folder / "settings.json")
    model.save(folder / "model.keras")
    return folder


def test_a_run_folder_needs_nothing_else(device, run_folder):
    pytest.importorskip("tensorflow_datasets")
    pytest.importorskip("sklearn")
    done = device("runs/first", "--threads", "1,2", *QUICK)
    assert "first" in done.stdout and "100%" in done.stdout
    written = json.loads((run_folder / "device" / "report.json").read_text())
    assert [result["threads"] for result in written["results"]] == [1, 2]
    (keras,) = [a for a in written["results"][0]["agreements"] if a["reference"] == "keras"]
    assert keras["images"] == 2 and keras["argmax"] == 1
    assert written["results"][0]["accuracy_images"] == 2
    assert (run_folder / "device" / "report.csv").read_text().startswith("device,model,threads")


def test_a_plain_file_with_inputs_prints_json(device, run_folder, images, write_program, tmp_path):
    np.save(tmp_path / "images.npy", images)
    np.save(tmp_path / "labels.npy", np.zeros(len(images), int))
    shutil.copy(run_folder / "model.tflite", tmp_path / "plain.tflite")
    program = str(write_program())
    done = device(
        *("plain.tflite", "runs/first", "--inputs", "images.npy", "--labels", "labels.npy", "--json"),
        *("--on", "program", "--program", program, "--out", "measured", *QUICK),
    )
    report = json.loads(done.stdout)
    assert [result["model"] for result in report["results"]] == ["plain", "first"]
    assert [len(result["agreements"]) for result in report["results"]] == [1, 2]
    assert (tmp_path / "measured" / "report.csv").exists()


def test_a_failing_program_is_status_1_and_keeps_the_report(
    device, run_folder, images, tmp_path, write_program
):
    np.save(tmp_path / "images.npy", images)
    program = write_program(before='case "$*" in *graph*) echo "ERROR: out of memory" >&2; exit 1;; esac')
    arguments = ["runs/first", "--inputs", "images.npy", "--program", str(program), *QUICK]
    done = device(*arguments, "--on", "program", "--on", "local", status=1)
    assert "out of memory" in done.stderr
    results = json.loads((run_folder / "device" / "report.json").read_text())["results"]
    assert [bool(result["failure"]) for result in results] == [True, False]
