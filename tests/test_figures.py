"""The figure programs: those that train nothing in full, the others on what a minute allows."""

import json
from pathlib import Path

import pytest

FIGURES = Path(__file__).parent.parent / "scripts" / "figures"


def _verdicts(run_python, program, out, *options):
    done = run_python(FIGURES / program, "--out", out, *options, timeout=500)
    assert done.returncode == 0, done.stderr
    assert list(out.glob("*.csv"))
    assert list(out.glob("*.png"))
    return json.loads((out / "verdicts.json").read_text())


def test_the_toy_network_draws_exactly_the_papers_boundaries(run_python, tmp_path):
    verdicts = _verdicts(run_python, "equal_bits_fig6.py", tmp_path)
    assert [verdict["holds"] for verdict in verdicts] == [True] * 3
    assert verdicts[2]["measured"]["boundaries"] == [0, 0, 2, 14, 35, 55, 66, 59, 37, 15, 3, 0, 0]


def test_simans_theory_holds(run_python, tmp_path):
    verdicts = _verdicts(run_python, "siman_theory.py", tmp_path)
    assert [verdict["holds"] for verdict in verdicts] == [True] * 5


@pytest.mark.slow
@pytest.mark.parametrize("program", ["equal_bits_fig1.py", "equal_bits_fig2.py", "equal_bits_fig4.py"])
def test_a_program_that_trains_says_what_it_found(run_python, tmp_path, program):
    from test_data import REAL, needs_cifar10

    if needs_cifar10.args[0]:
        pytest.skip(needs_cifar10.kwargs["reason"])
    verdicts = _verdicts(run_python, program, tmp_path, "--data-dir", REAL, "--seeds", "2")
    assert all(verdict["measured"] for verdict in verdicts)


def test_bad_options_end_with_status_2(run_python, tmp_path):
    done = run_python(FIGURES / "equal_bits_fig6.py", "--preset", "fast", "--out", tmp_path)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
