"""Hundreds of damaged folders and odd command lines: no traceback, no hang, nothing of a user's changed."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from larq_equalbits import _report, device, export, training, tuning

PROGRAM = Path(__file__).with_name("fuzzing.py")
CASES = int(os.environ.get("LARQ_EQUALBITS_FUZZ", "500"))
SEED = os.environ.get("LARQ_EQUALBITS_FUZZ_SEED", "0")
SETTINGS = training.Settings(epochs=1, batch_size=32, train_images=64, model_options={"width": 0.1})


def make_run(folder):
    """A run with everything that commands leave in its folder."""
    run = training.train(SETTINGS, folder, verbose=0)
    report = export.convert(run.load_model(), folder / "model.tflite", strict=False, source="model.keras")
    images = np.zeros((1, *run.load_model().input_shape[1:]), "float32")
    device.run(report.tflite, "local", images, device.Settings(repeats=1, rounds=1)).save(folder / "device")
    _report.write(folder)


@pytest.mark.slow
@pytest.mark.timeout(3 * 3600)
@pytest.mark.parametrize(("kind", "cases"), [("folders", CASES), ("sweeps", CASES // 5), ("lines", CASES)])
def test_damage_and_odd_options_are_answered(kind, cases, tmp_path, run_python):
    if kind == "sweeps":
        tuning.BitRatioSweep("conv2", [0.4, 0.5], out=tmp_path / "sweep", settings=SETTINGS).search(verbose=0)
    else:
        make_run(tmp_path / "run")
    log, first = tmp_path / f"{kind}.jsonl", 0
    faults = []
    while first < cases:
        done = run_python(PROGRAM, kind, SEED, first, cases, tmp_path, timeout=3 * 3600, status=None)
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        last = lines[-1]
        if done.returncode == 0:
            break
        # The case in which the process died is a fault; the next one goes on in a process of its own.
        assert "begun" in last, done.stderr
        faults.append(
            {"case": last["begun"], "fault": f"died with {done.returncode}", "said": done.stderr[-800:]}
        )
        first = last["begun"] + 1
    results = [line for line in lines if "case" in line]
    faults += [line for line in results if line["fault"]]
    assert len(results) + sum("died" in each["fault"] for each in faults) == cases
    # Some are harmless, most are not: the test would tell nothing else.
    assert {line["status"] for line in results} >= {0, 2}
    assert not faults, json.dumps(faults, indent=1)
