"""The figure programs: those that train nothing in full, the others on what a minute allows."""

import json
from pathlib import Path

import pytest
from test_data import REAL, needs_cifar10
from test_data_formats import Cifar100

FIGURES = Path(__file__).parent.parent / "scripts" / "figures"


def _verdicts(run_script, program, out, *options):
    run_script(FIGURES / program, "--out", out, *options, timeout=500)
    assert list(out.glob("*.csv"))
    assert list(out.glob("*.png"))
    return json.loads((out / "verdicts.json").read_text())


def test_the_toy_network_draws_exactly_the_papers_boundaries(run_script, tmp_path):
    verdicts = _verdicts(run_script, "equal_bits_fig6.py", tmp_path)
    assert [verdict["holds"] for verdict in verdicts] == [True] * 3
    assert verdicts[2]["measured"]["boundaries"] == [0, 0, 2, 14, 35, 55, 66, 59, 37, 15, 3, 0, 0]


def test_simans_theory_holds(run_script, tmp_path):
    verdicts = _verdicts(run_script, "siman_theory.py", tmp_path)
    assert [verdict["holds"] for verdict in verdicts] == [True] * 5


def test_the_forms_of_a_network_are_drawn_from_what_was_measured(run_script, tmp_path):
    run_script(FIGURES / "tradeoff.py", "--out", tmp_path / "tradeoff.png")
    assert (tmp_path / "tradeoff.png").read_bytes().startswith(b"\x89PNG")


def test_bad_options_end_with_status_2(run_script, tmp_path):
    done = run_script(FIGURES / "equal_bits_fig6.py", "--preset", "fast", "--out", tmp_path, status=2)
    assert "Traceback" not in done.stderr


CIFAR10 = ("--data-dir", REAL, "--seeds", "2")
TINY = ("--dataset", "digits", "--epochs", "1", "--train-images", "256", "--width", "0.1", "--seeds", "1")


def test_figures_share_their_runs(run_script, tmp_path):
    runs = tmp_path / "runs"
    _verdicts(run_script, "equal_bits_fig2.py", tmp_path / "first", "--runs", runs, *TINY)
    trained = {path: path.stat().st_mtime_ns for path in runs.glob("*/results.json")}
    assert len(trained) == 3
    _verdicts(run_script, "equal_bits_fig2.py", tmp_path / "second", "--runs", runs, *TINY)
    assert {path: path.stat().st_mtime_ns for path in runs.glob("*/results.json")} == trained


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options"),
    [
        *(pytest.param(f"equal_bits_fig{i}", CIFAR10, marks=needs_cifar10) for i in (1, 2, 4)),
        *((f"equal_bits_fig{i}", TINY) for i in (3, 5, 8)),
        *((f"siman_{i}", TINY) for i in ("fig2", "fig3", "table1", "table2")),
    ],
)
def test_a_program_that_trains_says_what_it_found(run_script, tmp_path, name, options):
    verdicts = _verdicts(run_script, f"{name}.py", tmp_path, *options)
    assert all(verdict["measured"] for verdict in verdicts)


@pytest.mark.slow
def test_the_quick_path_of_fig_7_on_a_small_cifar_100(run_script, tmp_path):
    """VGG-16 and InceptionV3 cannot take the 8x8 digits; one of the five networks stands for all."""
    Cifar100(data_dir=tmp_path / "tfds").download_and_prepare()
    options = ["--dataset", "cifar100", "--data-dir", str(tmp_path / "tfds"), *TINY[2:]]
    code = (
        f"import sys\nsys.path.insert(0, {str(FIGURES)!r})\n"
        f"sys.argv = ['equal_bits_fig7.py', '--out', {str(tmp_path / 'out')!r}, *{options}]\n"
        "import equal_bits_fig7\nequal_bits_fig7.ARCHITECTURES = ('resnet18',)\nequal_bits_fig7.main()"
    )
    run_script(code, timeout=500)
    verdicts = json.loads((tmp_path / "out" / "verdicts.json").read_text())
    measured = [sorted(verdict["measured"]) for verdict in verdicts]
    assert measured == [["bi_half", "gain", "ir_net", "ste_sign"]] * 2
    assert (tmp_path / "out" / "equal_bits_fig7.png").is_file()
