"""`larq-equalbits sweep`: its options, and what kills do to it."""

import csv
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from forking import free_ports
from markdown_it import MarkdownIt

from larq_equalbits._errors import InputError
from larq_equalbits.cli import program
from larq_equalbits.tuning import oracles

PROGRAM = Path(sys.executable).parent / "larq-equalbits"
SHORT = ("--epochs", "1", "--train-images", "256", "--model-option", "width=0.1", "--learning-rate", "0.01")


def sweep(*arguments):
    return CliRunner().invoke(program, ["sweep", *map(str, arguments)])


def test_a_quantizer_without_a_ratio_is_answered_before_anything_is_written(tmp_path):
    result = sweep("--quantizer", "ste_sign", "--out", tmp_path / "out")
    assert isinstance(result.exception, InputError) and "ste_sign" in str(result.exception)
    assert not list((tmp_path / "out").glob("trial_*"))


def test_a_search_of_layers_quantizers_and_zeros_by_two_goals(tmp_path):
    choices = ("--per-layer", "--ratios", "0.4,0.6", "--quantizers", "bi_half,siman", "--sparsities", "0,0.5")
    goals = ("--objective", "val_accuracy=1", "--objective", "instructions=1e-8")
    options = ("--search", "random", "--max-trials", "1", "--quiet", "--out", tmp_path / "out", *SHORT)
    result = sweep(*options, *choices, *goals)
    assert result.exit_code == 0, result.exception
    # There is no ratio of the network to show.
    assert "trials" not in result.output.partition(str(tmp_path))[0] and "no plot" not in result.output
    found = json.loads((tmp_path / "out" / "trials.json").read_text())["trials"]
    assert len(found) == 1
    for trial in found:
        assert trial["values"]["quantizer"] in ("bi_half", "siman")
        assert trial["metrics"]["instructions"] > 0
    assert (tmp_path / "out" / "front.png").is_file()


def test_a_reference_that_was_never_chosen_and_a_run_without_results_leave_the_table(tmp_path):
    out = tmp_path / "out"
    choices = ("--quantizers", "siman,ste_sign", "--ratios", "0.5", "--reference", "0.5")
    options = ("--search", "random", "--max-trials", "1", "--quiet", "--out", out, *SHORT)
    result = sweep(*options, *choices, "--json")
    assert result.exit_code == 0, result.exception
    answer = json.loads(result.stdout)
    assert answer["reference"] is None and answer["compared"] == {} and answer["best_trial"] == "trial_0"
    assert result.stderr == "no trial has the ratio 0.5, so none is compared with it\n"
    (out / "best" / "results.json").write_text("{}")
    shown = sweep("--out", out, "--report")
    assert shown.exit_code == 0 and "best: seed 0; every trial in" in shown.stdout, shown.exception
    refused = sweep("--out", out, "--report", "--reference", "0.5")
    assert "must be a ratio of the sweep" in str(refused.exception)


def test_half_of_the_environment_of_a_worker_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("KERASTUNER_ORACLE_IP", "127.0.0.1")
    assert "KERASTUNER_TUNER_ID, KERASTUNER_ORACLE_PORT" in str(sweep("--out", tmp_path).exception)
    monkeypatch.setenv("KERASTUNER_ORACLE_PORT", "1")
    monkeypatch.setenv("KERASTUNER_TUNER_ID", "worker-0")
    assert "--workers" in str(sweep("--out", tmp_path, "--workers", "2").exception)


# Trials have the same bits with one worker and with two where each takes one thread.
ENVIRONMENT = {"LARQ_EQUALBITS_PATIENCE": "10", "TF_NUM_INTRAOP_THREADS": "1"}


def started(*command, session=False, **environment):
    return subprocess.Popen(
        [*map(str, command)],
        env={**os.environ, **ENVIRONMENT, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=session,
    )


def start(*arguments, **environment):
    return started(PROGRAM, "sweep", *arguments, **environment)


def ended(process, status=0):
    """What it wrote, when it ends with the exit status that is expected."""
    output, errors = process.communicate(timeout=900)
    assert process.returncode == status, errors
    return output, errors


FOUR = (*SHORT, "--ratios", "0.3,0.6", "--repeats", 2, "--out")


def service(port=None):
    """What each process of a sweep is told of its chief."""
    return {"KERASTUNER_ORACLE_IP": "127.0.0.1", "KERASTUNER_ORACLE_PORT": str(port or free_ports(1)[0])}


def set_up(monkeypatch, name, port):
    for key, value in {"KERASTUNER_TUNER_ID": name, **service(port)}.items():
        monkeypatch.setenv(key, value)


def wait_for(condition, timeout=600):
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def results(folder):
    return {path.parent.name: path for path in folder.glob("trial_*/trial_results.json")}


def rows(folder):
    with (folder / "trials.csv").open(newline="") as file:
        read = {(row["positive_ratio"], row["seed"]): row for row in csv.DictReader(file)}
    return {
        key: {name: value for name, value in row.items() if name not in ("seconds", "trial")}
        for key, row in read.items()
    }


def children(process):
    return [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    """The rows of four trials that nothing disturbed."""
    out = tmp_path_factory.mktemp("unbroken") / "out"
    output, errors = ended(start(*FOUR, out, "--json"))
    answer = json.loads(output)
    assert answer["trials"] == 4 and answer["failed"] == {}
    assert [each["ratio"] for each in answer["ratios"]] == [0.3, 0.6]
    assert "trial 4 of 4" in errors and " left" in errors
    return rows(out)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_after_kill_9_a_sweep_goes_on_and_repeats_no_finished_trial(workers, unbroken, tmp_path):
    out = tmp_path / "out"
    command = (*FOUR, out, "--workers", workers)
    process = start(*command)
    wait_for(lambda: results(out))
    started = children(process) if workers > 1 else []
    process.kill()
    process.communicate()
    # No worker may write into the folder any more.
    wait_for(lambda: not any(map(alive, started)), timeout=10)
    finished = {name: path.stat().st_mtime_ns for name, path in results(out).items()}
    assert 1 <= len(finished) < 4 and len(started) == (workers if workers > 1 else 0)
    output, errors = ended(start(*command))
    assert {name: results(out)[name].stat().st_mtime_ns for name in finished} == finished
    assert rows(out) == unbroken
    assert "trial 4 of 4" in errors and "±" in output


@pytest.mark.slow
def test_chief_and_two_workers_over_grpc_where_a_worker_dies(unbroken, tmp_path):
    out = tmp_path / "out"
    names, chief = ("chief", "worker-0", "worker-1"), service()
    processes = {name: start(*FOUR, out, KERASTUNER_TUNER_ID=name, **chief) for name in names}
    wait_for(lambda: (out / "trial_1" / "settings.json").exists())
    ongoing = json.loads((out / "oracle.json").read_text())["ongoing_trials"]
    assert set(ongoing) == {"worker-0", "worker-1"}
    processes["worker-0"].kill()
    lost = out / f"trial_{ongoing['worker-0']}"
    assert not (lost / "trial_results.json").exists()
    outputs = {name: process.communicate(timeout=900) for name, process in processes.items()}
    expected = dict.fromkeys(names, 0) | {"worker-0": -signal.SIGKILL}
    assert {name: process.returncode for name, process in processes.items()} == expected, outputs
    assert rows(out) == unbroken
    workers = [json.loads(path.read_text())["worker"] for path in results(out).values()]
    assert set(workers) == {"worker-1"}
    assert "±" in outputs["chief"][0] and outputs["worker-1"][0] == ""


@pytest.mark.slow
def test_the_guides_recipe_for_a_batch_system_survives_the_death_of_a_worker(unbroken, tmp_path):
    page = Path(__file__).parents[2] / "docs" / "guides" / "sweeping.md"
    (script,) = [each.content for each in MarkdownIt().parse(page.read_text()) if each.info == "sh"]
    (tmp_path / "sweep.sh").write_text(script)
    environment = {
        "PATH": f"{PROGRAM.parent}{os.pathsep}{os.environ['PATH']}",
        "SWEEP_FOLDER": str(tmp_path),
        "SWEEP_PORT": str(free_ports(1)[0]),
        "SWEEP_ADDRESS": "127.0.0.1",
    }
    command = ["sh", tmp_path / "sweep.sh", *SHORT, "--ratios", "0.3,0.6", "--repeats", "2"]

    def task(number):
        return started(*command, session=True, **environment, SLURM_ARRAY_TASK_ID=str(number))

    # The workers come first, and wait for the chief.
    tasks = {number: task(number) for number in (2, 1, 0)}
    out = tmp_path / "sweep"
    wait_for(lambda: (out / "trial_1" / "settings.json").exists())
    os.killpg(tasks[1].pid, signal.SIGKILL)
    tasks[1].communicate()
    tasks[1] = task(1)
    for each in tasks.values():
        ended(each)
    assert rows(out) == unbroken and not (tmp_path / "chief").exists()


@pytest.mark.slow
def test_a_local_worker_that_is_killed_is_replaced_and_its_trial_run_again(unbroken, tmp_path):
    out = tmp_path / "out"
    process = start(*FOUR, out, "--workers", 2)
    wait_for(lambda: (out / "trial_1" / "settings.json").exists())
    first = children(process)
    os.kill(first[0], signal.SIGKILL)
    wait_for(lambda: len(set(children(process)) - set(first)) == 1)
    ended(process)
    assert rows(out) == unbroken


@pytest.mark.slow
@pytest.mark.parametrize("local", [True, False])
def test_an_objective_that_is_not_logged_ends_workers_and_chief_with_status_2(local, tmp_path):
    out = tmp_path / "out"
    command = (*SHORT, "--ratios", "0.3", "--out", out, "--objective", "val_entropy")
    if local:
        processes = [start(*command, "--workers", 2)]
    else:
        chief = service()
        processes = [start(*command, KERASTUNER_TUNER_ID=name, **chief) for name in ("chief", "worker-0")]
    for process in processes:
        _, errors = ended(process, status=2)
        assert "val_entropy" in errors and "val_accuracy" in errors and "Traceback" not in errors
    assert list(out.iterdir()) == []


@pytest.mark.slow
def test_a_worker_with_other_settings_ends_alone(unbroken, tmp_path):
    out = tmp_path / "out"
    place = service()
    chief = start(*FOUR, out, KERASTUNER_TUNER_ID="chief", **place)
    other = start(*FOUR, out, "--batch-size", 64, KERASTUNER_TUNER_ID="worker-0", **place)
    _, errors = ended(other, status=2)
    assert "a worker must have the chief's settings" in errors and "batch_size" in errors
    worker = start(*FOUR, out, KERASTUNER_TUNER_ID="worker-1", **place)
    for process in (worker, chief):
        ended(process)
    assert rows(out) == unbroken


def test_a_chief_that_cannot_be_reached_is_tried_with_a_limit(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(oracles.Resilient, "patience", 0.05)
    (port,) = free_ports(1)
    set_up(monkeypatch, "worker-0", port)
    result = sweep("--out", tmp_path / "out")
    assert isinstance(result.exception, InputError)
    assert f"127.0.0.1:{port} did not answer 10 tries" in str(result.exception)
    assert "try 10 of 10" in result.output + capfd.readouterr().err


def test_a_port_that_is_taken_is_named(tmp_path, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        set_up(monkeypatch, "chief", taken.getsockname()[1])
        result = sweep("--out", tmp_path / "out")
    assert isinstance(result.exception, InputError) and "KERASTUNER_ORACLE_PORT" in str(result.exception)
