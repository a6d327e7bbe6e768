"""Our runtime on Debian with an emulated 64-bit ARM processor, which ssh reaches as it reaches a Raspberry Pi."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from larq_equalbits import device

RUNTIME = Path(__file__).parents[2] / "runtime"
EMULATED = RUNTIME / "tests" / "emulated.sh"
#: What is /mnt on the device.
FOLDER = RUNTIME / "build" / "device"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3000)]


@pytest.fixture
def wheel(tmp_path):
    """The runtime's wheel for ARM, compiled by Debian's compiler."""
    ignored = shutil.ignore_patterns("build", "dist", "*.so", "*.egg-info")
    source = shutil.copytree(RUNTIME, tmp_path / "runtime", ignore=ignored)
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    build += ["--config-settings=--build-option=--plat-name=linux_aarch64", "--wheel-dir", str(tmp_path)]
    subprocess.run([*build, str(source)], check=True, env={**os.environ, "CXX": "aarch64-linux-gnu-g++"})
    return next(tmp_path.glob("*_aarch64.whl"))


@pytest.fixture
def machine():
    """The emulated machine, made where it is missing."""
    for tool in ("mmdebstrap", "unshare", "qemu-aarch64-static", "aarch64-linux-gnu-g++"):
        if not shutil.which(tool):
            pytest.skip(f"needs {tool}")
    if subprocess.run(["unshare", "--user", "--map-root-user", "--mount", "true"]).returncode:
        pytest.skip("needs a kernel that allows user namespaces")
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    subprocess.run(["bash", EMULATED, FOLDER, "true"], check=True)
    yield
    shutil.rmtree(FOLDER)


@pytest.mark.parametrize(
    "ssh", [f'ForceCommand bash {EMULATED} {FOLDER} sh -c "$SSH_ORIGINAL_COMMAND"'], indirect=True
)
def test_it_is_installed_on_an_arm_machine_and_answers_all_images(machine, wheel, ssh, converted, images):
    model, tflite = converted
    target = ssh[0]
    report = device.run(
        {"small": tflite},
        inputs=images,
        labels=np.zeros(len(images), int),
        keras_model=model,
        target=target,
        settings=device.Settings(
            ssh_config=ssh[1],
            device_folder="/mnt",
            runtime_wheel=str(wheel),
            repeats=3,
            warmup=1,
            rounds=1,
            timeout=900,
        ),
    )
    assert not report.failures
    (result,) = report.results
    assert len(result.outputs[0]) == result.accuracy_images == len(images)
    assert result.agreement("keras").argmax == 1 and result.agreement("host").max_difference < 2e-5
    assert any("(neon,plain)" in note for note in result.notes)
    assert report.devices[target]["python"] == "3.11"
    assert report.devices[target]["environment"].startswith("/mnt/runtime-")
