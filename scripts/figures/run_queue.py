"""Trains the runs of `plan.py` one after the other and writes each that is finished to docs/data/ as a CSV.

A run that has its CSV is done. One that was broken off goes on after its last saved epoch, so a lost machine costs
no more than the epoch at hand. Several queues may work on one plan: a run that another process trains is passed over.
(This program is not called queue.py, because Python's own module of that name would then be hidden from TensorFlow.)
"""

import contextlib
import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import plan

from larq_equalbits import _files
from larq_equalbits._errors import WorkError, invalid
from larq_equalbits._text import csv_table
from larq_equalbits.cli import run_command

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "docs" / "data"
# What a run's history holds for the whole network; the single layers' would take hundreds of columns.
HISTORY = ("loss", "accuracy", "bit_entropy", "positive_ratio", "bit_flips")
COLUMNS = ("group", "variant", "seed", "epoch", *HISTORY, "test_loss", "test_accuracy")


def result_file(run: plan.PlannedRun, data: Path = DATA) -> Path:
    """The CSV of a finished run."""
    return data / f"{run.name}.csv"


def open_runs(groups: tuple[str, ...] = (), data: Path = DATA) -> list[plan.PlannedRun]:
    """The runs of `groups` (of all without any) that have no result yet, in the order of the plan.

    Raises:
        InputError: an unknown group.
    """
    known = [group.name for group in plan.GROUPS]
    for group in groups:
        if group not in known:
            raise invalid("group", group, f"one of {', '.join(known)}")
    return [
        run
        for run in plan.runs()
        if (not groups or run.group in groups) and not result_file(run, data).is_file()
    ]


def write_result(run: plan.PlannedRun, trained: Any, data: Path = DATA) -> None:
    """Writes the history of a finished run, a line an epoch; the last line has the accuracy on all test images."""
    data.mkdir(parents=True, exist_ok=True)
    epochs = len(trained.history["loss"])
    identity = {"group": run.group, "variant": run.variant, "seed": run.seed}
    rows = [
        {
            **identity,
            "epoch": epoch + 1,
            **{key: f"{trained.history[key][epoch]:.7g}" for key in HISTORY if key in trained.history},
        }
        for epoch in range(epochs)
    ]
    rows[-1] |= {key: f"{trained.results[key]:.7g}" for key in ("test_loss", "test_accuracy")}
    _files.write_text(result_file(run, data), csv_table(rows, COLUMNS))


def train(run: plan.PlannedRun, runs: Path, data_dir: Path | None) -> Any:
    """The finished run, trained in its folder under `runs` from where it was broken off."""
    from larq_equalbits import pruning, training, zoo
    from larq_equalbits.training import recipes
    from larq_equalbits.tuning import ratios

    settings = training.Settings(**run.fields, data_dir=None if data_dir is None else str(data_dir))
    build = None
    if run.pruning is not None or run.layers is not None:

        def build(**arguments: Any) -> Any:
            model = zoo.get(settings.model)(**{**recipes.model_options(settings.recipe), **arguments})
            if run.layers is not None:
                kernels = ratios.tunable(model)
                ratios.apply(
                    model, {each.name: ratio for each, ratio in zip(kernels, run.layers, strict=True)}
                )
            if run.pruning is not None:
                criterion, sparsity = run.pruning
                model = pruning.prune(model, sparsity, criterion)
            return model

    folder = runs / run.name
    resume = (folder / "settings.json").is_file()
    return training.train(settings, folder, resume=resume, verbose=0, build=build)


@contextlib.contextmanager
def claimed(run: plan.PlannedRun, runs: Path) -> Iterator[bool]:
    """Whether this process may train `run`: no other one does, until it ends or is killed."""
    runs.mkdir(parents=True, exist_ok=True)
    with (runs / f"{run.name}.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def _work(groups: tuple[str, ...], runs: Path, data_dir: Path | None, data: Path, limit: int | None) -> None:
    """Trains what is open, in this process, on one thread."""
    import tensorflow as tf

    from larq_equalbits._keras import memory

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    finished = 0
    for run in open_runs(groups, data):
        if limit is not None and finished >= limit:
            return
        with claimed(run, runs) as mine:
            # Another process may have finished it since the list was made.
            if not mine or result_file(run, data).is_file():
                continue
            start = time.perf_counter()
            click.echo(f"training {run.name}")
            with memory.given_back():
                trained = train(run, runs, data_dir)
            write_result(run, trained, data)
            finished += 1
            accuracy = trained.results["test_accuracy"]
            click.echo(f"finished {run.name}: {accuracy:.2%} after {time.perf_counter() - start:.0f} s")


@click.command(context_settings={"show_default": True})
@click.option(
    "--data-dir", type=click.Path(path_type=Path), default=None, help="The tfds folder of the data."
)
@click.option(
    "--runs",
    type=click.Path(path_type=Path, file_okay=False),
    default=ROOT / "runs" / "queue",
    help="Where runs are trained.",
)
@click.option(
    "--results",
    type=click.Path(path_type=Path, file_okay=False),
    default=DATA,
    help="Where the CSV of each finished run goes.",
)
@click.option("--group", "groups", multiple=True, help="Only this group; may be given several times.")
@click.option(
    "--core",
    "cores",
    multiple=True,
    type=click.IntRange(0),
    help="A process on this core; may be given several times. Without any, one process on any core.",
)
@click.option("--limit", type=click.IntRange(1), default=None, help="Runs to train in each process.")
@click.option("--list", "only_list", is_flag=True, help="Print what is open, and train nothing.")
def main(
    data_dir: Path | None,
    runs: Path,
    results: Path,
    groups: tuple[str, ...],
    cores: tuple[int, ...],
    limit: int | None,
    only_list: bool,
) -> None:
    """Train what is open of the plan, one process a core with one thread each."""
    waiting = open_runs(groups, results)
    if only_list:
        for run in waiting:
            click.echo(run.name)
        return
    if len(cores) < 2:
        _pin(cores)
        _work(groups, runs, data_dir, results, limit)
        return
    shared = ["--runs", runs, "--results", results]
    for option, values in (("--data-dir", [data_dir]), ("--limit", [limit]), ("--group", groups)):
        for value in values:
            shared += [option, value] if value is not None else []
    command = [sys.executable, __file__, *map(str, shared)]
    workers = [subprocess.Popen([*command, "--core", str(core)]) for core in cores]
    statuses = [worker.wait() for worker in workers]
    if any(statuses):
        raise WorkError("a process of the queue failed; its message is above.")


def _pin(cores: tuple[int, ...]) -> None:
    if not cores:
        return
    if not set(cores) <= os.sched_getaffinity(0):
        raise invalid("core", cores[0], f"among {sorted(os.sched_getaffinity(0))}")
    os.sched_setaffinity(0, cores)


if __name__ == "__main__":
    run_command(main)
