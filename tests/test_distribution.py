import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import forking
import numpy as np
import pytest
import tensorflow as tf
from programs.train_small import settings, train

from larq_equalbits import training
from larq_equalbits._errors import InputError
from larq_equalbits.training import checkpoint, distribution

ROOT = Path(__file__).resolve().parents[1]
PROGRAM = ROOT / "tests" / "programs" / "train_small.py"


def cluster(workers, index):
    return json.dumps({"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}})


def start_worker(folder, workers, index, *arguments):
    log = folder.parent / f"worker{index}.log"
    options = ("--strategy", "multiworker", "--no-dropout", *arguments)
    return forking.start(PROGRAM, folder, *options, outputs=(log, log), TF_CONFIG=cluster(workers, index))


def logs(folder):
    return "\n".join(path.read_text()[-3000:] for path in sorted(folder.parent.glob("worker*.log")))


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone")
    return train(folder, settings(model_options={"dropout": 0.0}))


def assert_close(one, other):
    mine, others = (run.load_model().get_weights() for run in (one, other))
    for value, its in zip(mine, others, strict=True):
        np.testing.assert_allclose(value, its, rtol=1e-4, atol=1e-5)


def test_two_workers_train_to_the_weights_of_one_process(alone, tmp_path):
    folder = tmp_path / "run"
    workers = [f"127.0.0.1:{port}" for port in forking.free_ports(2)]
    processes = [start_worker(folder, workers, index) for index in range(2)]
    assert [forking.ended(process) for process in processes] == [0, 0], logs(folder)
    assert_close(training.Run.load(folder), alone)


@pytest.mark.parametrize(
    ("name", "environment", "words"),
    [
        ("many", {}, "strategy must be one of mirrored, multiworker"),
        ("multiworker", {}, "TF_CONFIG must be the cluster"),
        ("multiworker", {"TF_CONFIG": "{"}, "TF_CONFIG must be"),
        ("multiworker", {"TF_CONFIG": cluster(["a:1"], 1)}, "TF_CONFIG must be"),
        ("multiworker", {"TF_CONFIG": cluster("host:1", 0)}, "TF_CONFIG must be"),
    ],
)
def test_a_bad_cluster_is_named(monkeypatch, name, environment, words):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    for key, value in environment.items():
        monkeypatch.setenv(key, value)
    with pytest.raises(InputError, match=words):
        distribution.strategy(name)


# Two replicas on one processor, without a random choice of their own.
MIRRORED = ("--replicas", 2, "--no-dropout")


def test_two_mirrored_replicas_train_to_the_weights_of_one(alone, tmp_path, run_script):
    run_script(PROGRAM, tmp_path / "run", *MIRRORED)
    assert_close(training.Run.load(tmp_path / "run"), alone)


def test_a_batch_that_the_replicas_cannot_share_is_refused(tmp_path, run_script):
    done = run_script(PROGRAM, tmp_path / "run", *MIRRORED, "--batch-size", 127, status=1)
    assert "InputError: batch_size must be a multiple of the 2 replicas, but got 127." in done.stderr
    assert not (tmp_path / "run").exists()


def test_the_command_line_joins_a_cluster(tmp_path, run_script):
    (port,) = forking.free_ports(1)
    options = ["--quantizer", "ste_sign", "--model-option", "width=0.05", "--epochs", "1", "--quiet"]
    options += ["--strategy", "multiworker", "--out", tmp_path / "run"]
    program = "from larq_equalbits_program import main\nmain()"
    run_script(program, "train", *options, env={"TF_CONFIG": cluster([f"127.0.0.1:{port}"], 0)})
    assert "test_accuracy" in training.Run.load(tmp_path / "run").results


@pytest.mark.slow
def test_a_worker_that_dies_and_comes_back_resumes(tmp_path):
    folder = tmp_path / "run"
    workers = [f"127.0.0.1:{port}" for port in forking.free_ports(2)]
    options = ["--quantizer", "ste_sign", "--model-option", "width=0.05", "--epochs", "40", "--quiet"]

    def start(index, *more):
        program = Path(sys.executable).parent / "larq-equalbits"
        with (tmp_path / f"worker{index}.log").open("a") as log:
            return subprocess.Popen(
                [program, "train", "--strategy", "multiworker", "--out", folder, *options, *more],
                env={**os.environ, "TF_CONFIG": cluster(workers, index)},
                stdout=log,
                stderr=log,
            )

    processes = [start(0), start(1)]
    try:
        deadline = time.monotonic() + 200
        while saved_epochs(folder) < 2 and time.monotonic() < deadline:
            assert [process.poll() for process in processes] == [None, None], logs(folder)
            time.sleep(0.2)
        processes[1].send_signal(signal.SIGKILL)
        processes[1].wait()
        at_death = saved_epochs(folder)
        assert 2 <= at_death < 40, logs(folder)
        time.sleep(2)
        processes[1] = start(1, "--resume")
        codes = [process.wait(timeout=300) for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert codes == [0, 0], logs(folder)
    assert "another worker was lost" in (tmp_path / "worker0.log").read_text()
    run = training.Run.load(folder)
    assert len(run.history["loss"]) == 40
    assert "test_accuracy" in run.results


def saved_epochs(folder):
    path = folder / "checkpoint" / "state.npz"
    return checkpoint.read_state(path).epoch if path.exists() else 0


def test_a_cluster_listens_on_every_interface_as_the_guide_says():
    (port,) = forking.free_ports(1)
    server = tf.distribute.Server({"worker": [f"127.0.0.1:{port}"]}, job_name="worker", task_index=0)
    rows = [line.split() for line in Path("/proc/net/tcp6").read_text().splitlines()]
    listening = [row[1] for row in rows if row[3] == "0A"]
    # An address of zeros is every one.
    assert f"{'0' * 32}:{port:04X}" in listening, server.target
    guide = (ROOT / "docs/guides/training.md").read_text(encoding="utf-8")
    assert "TensorFlow listens to the port of `TF_CONFIG` on every interface" in guide
