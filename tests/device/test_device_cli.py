"""The command `larq-equalbits device`."""

import inspect
import json
import shutil
import subprocess
import sys

import click.testing
import numpy as np
import pytest

from larq_equalbits import training
from larq_equalbits._errors import InputError
from larq_equalbits.cli import device

MAIN = "import sys; sys.argv[0] = 'larq-equalbits'; from larq_equalbits_program import main; main()"
# Before 8.2 the runner mixes both streams unless it is told not to.
OLD_CLICK = "mix_stderr" in inspect.signature(click.testing.CliRunner).parameters
QUICK = ["--repeats", "3", "--warmup", "1", "--rounds", "1", "--images", "2"]


@pytest.fixture
def command(tmp_path, monkeypatch):
    """Calls the command in this process; errors come as exceptions."""
    monkeypatch.chdir(tmp_path)
    runner = click.testing.CliRunner(mix_stderr=False) if OLD_CLICK else click.testing.CliRunner()
    return lambda *arguments: runner.invoke(device.command, arguments)


@pytest.fixture
def run_folder(converted, tmp_path):
    model, tflite = converted
    folder = tmp_path / "runs" / "first"
    folder.mkdir(parents=True)
    (folder / "model.tflite").write_bytes(tflite)
    training.Settings(dataset="digits").save(folder / "settings.json")
    model.save(folder / "model.keras")
    return folder


def test_a_run_folder_needs_nothing_else(command, run_folder):
    pytest.importorskip("tensorflow_datasets")
    pytest.importorskip("sklearn")
    done = command("runs/first", "--threads", "1,2", *QUICK)
    assert done.exit_code == 0, done.stderr
    assert "first" in done.stdout and "100%" in done.stdout
    written = json.loads((run_folder / "device" / "report.json").read_text())
    assert [result["threads"] for result in written["results"]] == [1, 2]
    (keras,) = [a for a in written["results"][0]["agreements"] if a["reference"] == "keras"]
    assert keras["images"] == 2 and keras["argmax"] == 1
    assert written["results"][0]["accuracy_images"] == 2
    assert (run_folder / "device" / "report.csv").read_text().startswith("device,model,threads")


def test_a_plain_file_with_inputs_prints_json(command, run_folder, images, write_program, tmp_path):
    np.save(tmp_path / "images.npy", images)
    np.save(tmp_path / "labels.npy", np.zeros(len(images), int))
    shutil.copy(run_folder / "model.tflite", tmp_path / "plain.tflite")
    program = str(write_program())
    done = command(
        *("plain.tflite", "runs/first", "--inputs", "images.npy", "--labels", "labels.npy", "--json"),
        *("--on", "program", "--program", program, "--out", "measured", *QUICK),
    )
    assert done.exit_code == 0, done.stderr
    report = json.loads(done.stdout)
    assert [result["model"] for result in report["results"]] == ["plain", "first"]
    assert [len(result["agreements"]) for result in report["results"]] == [1, 2]
    assert (tmp_path / "measured" / "report.csv").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere"], "MODEL must be"),
        (["runs/first", "--threads", "1,x"], "--threads must be"),
        (["runs/first", "--threads", "0"], "threads must be"),
        (["runs/first", "--images", "0"], "images must be"),
        (["runs/first", "--inputs", "missing.npy"], "missing.npy"),
        (["runs/first", "--inputs", "text.npy"], "numpy.save"),
        (["plain.tflite"], "--inputs FILE.npy"),
        (
            ["runs/first", "--inputs", "images.npy", "--on", "ssh:-oProxyCommand=x", "--program", "x"],
            "no leading '-'",
        ),
        (["runs/first", "--inputs", "images.npy", "--on", "program"], "lce_benchmark_model"),
        (["runs/first", "--no-such-option"], "no-such-option"),
    ],
)
def test_bad_input_is_named(command, run_folder, images, tmp_path, arguments, words):
    np.save(tmp_path / "images.npy", images)
    (tmp_path / "text.npy").write_text("no array")
    shutil.copy(run_folder / "model.tflite", tmp_path / "plain.tflite")
    done = command(*arguments)
    if isinstance(done.exception, SystemExit):
        assert done.exit_code == 2 and words in done.stderr
    else:
        assert isinstance(done.exception, (InputError, OSError)) and words in str(done.exception)


def test_bad_input_is_one_line_and_status_2(run_python):
    done = run_python("-c", MAIN, "device", "nowhere")
    assert done.returncode == 2
    assert "MODEL must be" in done.stderr and "Traceback" not in done.stderr


def test_a_failing_program_is_status_1_and_keeps_the_report(
    command, run_folder, images, tmp_path, write_program
):
    np.save(tmp_path / "images.npy", images)
    program = write_program(before='case "$*" in *graph*) echo "ERROR: out of memory" >&2; exit 1;; esac')
    arguments = ["runs/first", "--inputs", "images.npy", "--program", str(program), *QUICK]
    done = command(*arguments, "--on", "program", "--on", "local")
    assert done.exit_code == 1
    assert "out of memory" in done.stderr
    results = json.loads((run_folder / "device" / "report.json").read_text())["results"]
    assert [bool(result["failure"]) for result in results] == [True, False]


def test_help_needs_no_tensorflow():
    code = MAIN.replace("main()", "\ntry:\n    main()\nfinally:\n    assert 'tensorflow' not in sys.modules")
    done = subprocess.run([sys.executable, "-c", code, "device", "--help"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Examples:" in done.stdout and "ssh:pi@raspberrypi.local" in done.stdout
