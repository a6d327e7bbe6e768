"""The queue of runs, and the page that is made of what it wrote."""

import csv
import json
from pathlib import Path

import plan
import pytest
import results_page as page
import run_queue
from click.testing import CliRunner

from larq_equalbits import training
from larq_equalbits._errors import InputError

FIGURES = Path(__file__).resolve().parent.parent / "scripts" / "figures"
# The queue's own program on two small groups, one of which prunes and has a ratio for each layer.
DRIVER = f"""
import sys
sys.path.insert(0, {str(FIGURES)!r})
import plan
plan.COMMON.clear()
plan.COMMON.update(model="conv2", dataset="digits", train_images=256, validation_fraction=0.0)
plan.COMMON.update(model_options={{"width": 0.1}})
cut = {{"epochs": 1, "pruning": ("rank", 0.5), "layers": (0.25, 0.25, 0.25)}}
plan.GROUPS = (
    plan.Group("tiny", "Small", {{"bi_half": {{"quantizer": "bi_half", "epochs": 2}}}}, 1),
    plan.Group("cut", "Pruned", {{"rank": cut}}, 1),
)
import run_queue
run_queue.run_command(run_queue.main)
"""


def write(folder, group, variant, seed, accuracy, says=None):
    row = {"group": group, "variant": says or variant, "seed": seed, "epoch": 1, "loss": 1.5, "accuracy": 0.4}
    row |= {"bit_entropy": 1, "positive_ratio": 0.5, "bit_flips": ""}
    row |= {"test_loss": 1.6, "test_accuracy": accuracy}
    with (folder / f"{group}-{variant}-{seed}.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(row))
        writer.writeheader()
        writer.writerow(row)


def test_every_run_of_the_plan_has_a_name_of_its_own_and_settings_that_hold():
    runs = plan.runs()
    assert len({run.name for run in runs}) == len(runs)
    for run in runs:
        assert training.Settings(**run.fields).plan().epochs >= 3
    for group in plan.GROUPS:
        assert {name for claim in group.claims for name in claim[1:]} <= set(group.variants)


def test_the_seeds_of_a_group_are_finished_one_after_the_other():
    seeds = [run.seed for run in plan.runs() if run.group == "recipe"]
    assert seeds == [0] * 4 + [1] * 4 + [2] * 4 + [3] * 4


def test_a_queue_trains_what_is_open_and_nothing_twice(run_script, tmp_path):
    options = ("--runs", tmp_path / "runs", "--results", tmp_path / "data")
    run_script(DRIVER, *options, "--limit", "1")
    first = tmp_path / "data" / "tiny-bi_half-0.csv"
    assert [path.name for path in (tmp_path / "data").iterdir()] == [first.name]
    rows = list(csv.DictReader(first.open()))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    results = json.loads((tmp_path / "runs" / "tiny-bi_half-0" / "results.json").read_text())
    assert float(rows[-1]["test_accuracy"]) == pytest.approx(results["test_accuracy"], rel=1e-6)
    assert rows[0]["test_accuracy"] == ""
    assert float(rows[-1]["bit_entropy"]) == 1
    written = first.stat().st_mtime_ns
    run_script(DRIVER, *options)
    names = sorted(path.stem for path in (tmp_path / "data").iterdir())
    assert names == ["cut-rank-0", "tiny-bi_half-0"]
    assert first.stat().st_mtime_ns == written
    row = next(csv.DictReader((tmp_path / "data" / "cut-rank-0.csv").open()))
    assert float(row["positive_ratio"]) == pytest.approx(0.25, abs=0.02)
    assert run_script(DRIVER, *options, "--list").stdout == ""


def test_a_run_of_another_process_is_passed_over(tmp_path):
    run = plan.runs()[0]
    with run_queue.claimed(run, tmp_path) as first, run_queue.claimed(run, tmp_path) as second:
        assert (first, second) == (True, False)
    with run_queue.claimed(run, tmp_path) as again:
        assert again


def test_bad_groups_and_cores_are_named(run_script, tmp_path):
    with pytest.raises(InputError, match="group must be one of short"):
        run_queue.open_runs(("all",), tmp_path)
    options = ("--core", "999", "--runs", tmp_path, "--results", tmp_path)
    assert "core must be among" in run_script(FIGURES / "run_queue.py", *options, status=2).stderr


def test_the_page_says_what_ran_and_what_it_tells(tmp_path):
    for seed in range(4):
        write(tmp_path, "short", "bi_half", seed, 0.30 + seed / 1000)
        write(tmp_path, "short", "ste_sign", seed, 0.25 + seed / 1000 + (seed == 2) / 100)
    write(tmp_path, "short", "siman", 0, 0.4)
    text = tmp_path / "page.md"
    markers = "\n".join(f"<!-- runs: {g.name} -->\n<!-- end of runs: {g.name} -->" for g in plan.GROUPS)
    text.write_text(f"before\n{markers}\nafter\n")
    arguments = ["--results", str(tmp_path), "--page", str(text), "--images", str(tmp_path / "images")]
    CliRunner().invoke(page.main, arguments, catch_exceptions=False)
    made = text.read_text()
    assert "9 of 16 runs" in made
    assert "| bi_half | 4 | 30.1 (0.1) |" in made
    assert "bi_half is more accurate than sign | +4.8 | 4 | < 0.001 | holds |" in made
    claim = "SiMaN is more accurate than Equal Bits (neither paper says so)"
    assert f"{claim} | +10.0 | 1 |  | cannot be told |" in made
    assert "no run is finished yet" in made
    assert [path.name for path in (tmp_path / "images").iterdir()] == ["runs_short.png"]
    # Making it twice changes nothing.
    CliRunner().invoke(page.main, arguments, catch_exceptions=False)
    assert text.read_text() == made


def test_a_file_that_is_no_result_is_named(tmp_path):
    write(tmp_path, "short", "siman", 0, 0.4, says="bi_half")
    with pytest.raises(InputError, match=r"short-siman-0\.csv must be the result of short-siman-0"):
        page.read(plan.GROUPS[0], tmp_path)
    (tmp_path / "short-siman-0.csv").write_text("")
    with pytest.raises(InputError, match=r"short-siman-0\.csv must be the result"):
        page.read(plan.GROUPS[0], tmp_path)
    with pytest.raises(InputError, match="page must hold the markers"):
        page.written("", {"short": ""})
