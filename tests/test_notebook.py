"""The notebook's cells run in their order, in a process and a folder of their own."""

import json
import sys
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).parent.parent / "notebooks" / "first_steps.ipynb"
CELLS = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
CHECKS = """
assert float_accuracy > 0.9
assert binary_accuracy > 0.8
assert history.history["filter_entropy"][-1] == 1
assert [row.name for row in report.layers if row.binary] == ["body", "top"]
assert len(report.tflite) < size / 3
assert np.mean([labels[number] == answer for answer, number in zip(answers, truth)]) > 0.8
assert twin.binarization._repr_html_() and report._repr_html_()
"""


def test_the_notebook_is_stored_without_outputs():
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in CELLS)


def test_without_the_runtime_the_command_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "larq_equalbits_runtime", None)
    with pytest.raises(ImportError, match="run %pip install"):
        exec("".join(CELLS[-1]["source"]), {})


@pytest.mark.slow
def test_the_notebook_runs(run_script, tmp_path):
    pytest.importorskip("larq_equalbits_runtime")
    code = "\n\n".join("".join(cell["source"]) for cell in CELLS if cell["cell_type"] == "code")
    run_script(code + CHECKS, cwd=tmp_path, timeout=900)
