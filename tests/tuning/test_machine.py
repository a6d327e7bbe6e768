"""Workers' shares of a machine: who gets which processors and GPUs, and what becomes of them."""

import os
import signal
import subprocess
import sys
import types

import pytest

from larq_equalbits.tuning import distributed, machine

GB = 1024**3


@pytest.mark.parametrize(
    ("workers", "processors"),
    [(1, [(0, 1, 2, 3, 4)]), (2, [(0, 1), (2, 3, 4)]), (5, [(0,), (1,), (2,), (3,), (4,)]), (0, [])],
)
def test_processors_are_divided_and_none_is_left_idle(workers, processors):
    here = machine.Machine((0, 1, 2, 3, 4), (), 64 * GB)
    assert [share.processors for share in here.shares(workers)] == processors


def test_more_workers_than_processors_share_them_in_turn():
    here = machine.Machine((3, 7), (), 64 * GB)
    assert [share.processors for share in here.shares(5)] == [(3,), (7,), (3,), (7,), (3,)]


def test_each_worker_has_a_gpu_of_its_own_with_memory_growth(monkeypatch):
    monkeypatch.delenv("TF_FORCE_GPU_ALLOW_GROWTH", raising=False)
    here = machine.Machine((0, 1, 2, 3), ("GPU-a", "5"), 64 * GB)
    found = [share.environment() for share in here.shares(2)]
    assert [each["CUDA_VISIBLE_DEVICES"] for each in found] == ["GPU-a", "5"]
    assert {each["TF_FORCE_GPU_ALLOW_GROWTH"] for each in found} == {"true"}


@pytest.mark.parametrize(
    ("here", "trials", "workers"),
    [
        (machine.Machine(tuple(range(8)), (), 64 * GB), None, 8),
        (machine.Machine(tuple(range(8)), (), 64 * GB), 3, 3),
        (machine.Machine(tuple(range(8)), (), 7 * GB), 9, 3),
        (machine.Machine(tuple(range(8)), (), 1 * GB), 9, 1),
        (machine.Machine(tuple(range(8)), (), 0), 9, 8),
        (machine.Machine(tuple(range(8)), ("0", "1"), 64 * GB), 9, 2),
    ],
)
def test_auto_takes_what_the_machine_has_and_the_trials_need(here, trials, workers):
    assert here.workers(trials) == workers


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity on this system")
def test_a_process_started_with_a_share_keeps_to_it_and_this_one_does_not(run_python):
    here = machine.machine()
    share = here.shares(len(here.processors))[-1]
    code = "import os; print(sorted(os.sched_getaffinity(0)), os.environ['TF_NUM_INTRAOP_THREADS'])"
    with share.taken():
        done = run_python("-c", code, env=share.environment())
    assert done.stdout.split("] ")[0] == str(list(share.processors))[:-1]
    assert os.sched_getaffinity(0) == set(here.processors)


def test_what_the_user_says_of_threads_comes_first(monkeypatch):
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "3")
    assert machine.Share((0,), None).environment()["TF_NUM_INTRAOP_THREADS"] == "3"


class Sleepers(distributed.LocalWorkers):
    """Workers that only sleep, in real processes."""

    def _start(self, name):
        self._processes[name] = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])


@pytest.mark.parametrize("memory", [True, False])
def test_fewer_workers_where_memory_ran_out_and_as_many_where_one_was_killed(memory, tmp_path, monkeypatch):
    counter = tmp_path / "vmstat"
    counter.write_text("oom_kill 4\n")
    monkeypatch.setattr(machine, "_KILLS", counter)
    buried = []
    oracle = types.SimpleNamespace(bury=lambda name, reason=None: buried.append((name, reason)))
    with Sleepers(tmp_path, [machine.Share((0,), None)] * 2, 1, None) as workers:
        first = dict(workers._processes)
        if memory:
            counter.write_text("oom_kill 5\n")
        os.kill(first["worker-0"].pid, signal.SIGKILL)
        first["worker-0"].wait()
        if memory:
            with pytest.warns(UserWarning, match="goes on with workers: 1"):
                workers.look_after(oracle)
            assert list(workers._processes) == ["worker-1"] and "memory ran out" in buried[0][1]
            counter.write_text("oom_kill 6\n")
            os.kill(first["worker-1"].pid, signal.SIGKILL)
            first["worker-1"].wait()
            workers.look_after(oracle)
        else:
            workers.look_after(oracle)
            assert buried == [("worker-0", None)] and len(workers._processes) == 2
        assert all(process.poll() is None for process in workers._processes.values())
