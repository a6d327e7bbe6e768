"""Damage to the folder of a run is answered in one line, and a run goes on after what may happen to it."""

import contextlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from small import SETTINGS, change_state, small

from larq_equalbits import _report, device, export, training
from larq_equalbits._errors import InputError, WorkError
from larq_equalbits.binarization.changes import BinarizationReport
from larq_equalbits.training import history

REPORT, CONVERT = ["report"], ["convert", "--no-verify"]
READERS = {
    "settings.json": (REPORT, CONVERT),
    "model.keras": (REPORT, CONVERT),
    "results.json": (REPORT,),
    "checkpoint/state.npz": (REPORT, ["train", "--resume", "--quiet", "--out"]),
    "history.csv": (REPORT,),
}


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("damage", ["empty", "cut", "flipped", "nested", "binary"])
def test_a_damaged_file_of_a_run_is_bad_input(folder, command, name, damage):
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
    for line in READERS[name]:
        done = command(*line, folder, status=None)
        assert done.returncode in (0, 2) and "Traceback" not in done.stderr


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
def test_settings_of_a_wrong_type_are_named_by_every_command(folder, refused, changes):
    (folder / "model.tflite").write_bytes(b"\0\0\0\0TFL3")
    known = json.loads((folder / "settings.json").read_text())
    (folder / "settings.json").write_text(json.dumps({} if changes is None else {**known, **changes}))
    for command in (["train", "--resume", "--out"], ["convert"], ["verify"], ["device"]):
        said = refused(*command, folder)
        assert "settings.json" in said and all(name in said for name in [*(changes or [])][-1:])


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("settings.json", {"dataset": "tfds:/etc"}, "must hold /etc prepared by tensorflow-datasets"),
        ("settings.json", {"dataset": "x" * 10**7}, "File name too long"),
        ("settings.json", {"model": "y" * 10**7}, "model must be one of"),
        ("history.csv", ",a/bit_entropy", "holds no a/bit_flips"),
    ],
)
def test_a_forged_field_is_answered_in_a_line_of_ordinary_length(folder, refused, name, change, words):
    text = (folder / name).read_text()
    if name == "history.csv":
        header, row = text.splitlines()
        (folder / name).write_text(f"{header}{change}\n{row},1\n")
    else:
        (folder / name).write_text(json.dumps(json.loads(text) | change))
    said = refused(*(["report"] if name == "history.csv" else ["train", "--resume", "--out"]), folder)
    assert words in said and len(said.splitlines()) == 1 and len(said) < 6000


@pytest.fixture(scope="module")
def converted(run, tmp_path_factory):
    """A copy of `run` with its model converted."""
    folder = shutil.copytree(run, tmp_path_factory.mktemp("converted") / "run")
    export.convert(training.Run.load(folder).load_model(), folder / "model.tflite", strict=False)
    return folder


@pytest.mark.parametrize(
    "field", ["layers.name", "layers.reason", "layers.bytes", "verification.images", "tflite_bytes"]
)
def test_a_description_of_wrong_types_is_not_believed(converted, tmp_path, command, field):
    folder = shutil.copytree(converted, tmp_path / "run")
    plain = json.loads(export.audit(folder / "model.tflite").to_json())
    content = json.loads((folder / "model.json").read_text())
    holder, _, name = field.rpartition(".")
    part = content["report"][holder] if holder else content["report"]
    (part[0] if isinstance(part, list) else part)[name] = []
    (folder / "model.json").write_text(json.dumps(content))
    # The file itself still tells its layers.
    assert len(json.loads(export.audit(folder / "model.tflite").to_json())["layers"]) == len(plain["layers"])
    for line in (["inspect", folder / "model.tflite"], ["report", folder]):
        done = command(*line, status=None)
        assert done.returncode in (0, 2) and "Traceback" not in done.stderr


def test_readers_tell_that_a_pair_does_not_belong_together(converted, tmp_path, refused):
    folder = shutil.copytree(converted, tmp_path / "run")
    _report.render(folder)
    other = export.convert(small(), verify_on=False).tflite
    # What a kill between the two writes leaves.
    (folder / "model.tflite").write_bytes(other)
    with pytest.raises(InputError, match="another file"):
        _report.render(folder)
    for command in ("device", "verify"):
        assert "another file" in refused(command, folder)


@pytest.mark.parametrize("kind", [device.Report, export.ConversionReport, BinarizationReport])
def test_a_report_that_is_nested_deeply_is_refused(kind):
    file = [b""] if kind is export.ConversionReport else []
    with pytest.raises(InputError, match="text must be"):
        kind.from_json("[" * 100_000, *file)


@pytest.mark.parametrize(
    "change",
    [
        lambda arrays, state: state.update(callbacks=[{"steps": [], "records": 3}]),
        lambda arrays, state: state.update(best=["x", []]),
        lambda arrays, state: state.update(epoch=-1),
        lambda arrays, state: arrays.update({"00000": arrays["00000"].astype(str)}),
    ],
    ids=["callbacks", "best", "epoch", "dtype"],
)
def test_a_damaged_state_is_named(folder, change):
    change_state(folder, change)
    with pytest.raises(InputError, match=r"state\.npz"):
        training.train(SETTINGS, folder, resume=True, verbose=0)


def test_a_history_without_the_epochs_of_its_state_is_named(folder):
    (folder / "history.csv").write_text("epoch,loss\n")
    with pytest.raises(InputError, match=r"history\.csv"):
        training.train(SETTINGS, folder, resume=True, verbose=0)


def test_history_is_appended_exactly_and_repaired(tmp_path):
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


def test_a_damaged_archive_of_arrays_is_bad_input(refused, tmp_path):
    export.convert(small(), tmp_path / "net.tflite", verify_on=False)
    np.savez(tmp_path / "x.npz", a=np.zeros((2, 6, 6, 32), "float32"))
    content = bytearray((tmp_path / "x.npz").read_bytes())
    content[len(content) // 2] ^= 0xFF
    headless = io.BytesIO()
    with zipfile.ZipFile(headless, "w") as archive:
        archive.writestr("a.npy", b"no array")
    for damaged in (content, content[: len(content) // 2], headless.getvalue()):
        (tmp_path / "x.npz").write_bytes(damaged)
        options = ("--on", "local", "--inputs", tmp_path / "x.npz")
        assert "--inputs" in refused("device", tmp_path / "net.tflite", *options)


@pytest.mark.parametrize("option", ["--tolerance", "--bound"])
def test_a_comparison_allows_a_number(run, refused, tmp_path, option):
    (tmp_path / "net.tflite").write_bytes(b"")
    assert option[2:] in refused("verify", run, "--tflite", tmp_path / "net.tflite", option, "nan")


@pytest.mark.parametrize("fraction", [0.1, 0.0])
def test_a_training_that_diverges_in_its_last_step_says_so(tmp_path, fraction):
    settings = SETTINGS.replace(batch_size=None, learning_rate=1e38, validation_fraction=fraction)
    with pytest.raises(WorkError, match=r"diverged.*learning_rate"):
        training.train(settings, tmp_path / "run", verbose=0)


def test_a_model_beyond_the_memory_is_work_that_failed(command, tmp_path):
    options = ("--model", "conv2", "--dataset", "digits", "--model-option", "width=1e9")
    assert "memory" in command("train", *options, "--out", tmp_path / "run", status=1).stderr


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
