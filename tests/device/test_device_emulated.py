"""Our runtime on Debian with an emulated 64-bit ARM processor, which ssh reaches as it reaches a Raspberry Pi."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from larq_equalbits import data, export, zoo
from larq_equalbits.device import wheels

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "guides" / "deploy-raspberry-pi.md"
RUNTIME = ROOT / "runtime"
EMULATED = RUNTIME / "tests" / "emulated.sh"
#: What is /mnt on the device.
FOLDER = RUNTIME / "build" / "device"
#: Each session, a copy of files included, is on the device.
COMMAND = f'ForceCommand bash {EMULATED} {FOLDER} sh -c "$SSH_ORIGINAL_COMMAND"'

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3000)]


@pytest.fixture
def wheel(build_wheel):
    """The runtime's wheel for ARM, compiled by Debian's compiler."""
    platform = "--config-settings=--build-option=--plat-name=linux_aarch64"
    return build_wheel(platform, CXX="aarch64-linux-gnu-g++")


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


@pytest.mark.parametrize("ssh", [COMMAND], indirect=True)
def test_it_is_installed_on_an_arm_machine_and_answers_all_images(
    machine, wheel, ssh, measured, converted, images
):
    model, tflite = converted
    target = ssh[0]
    place = {"ssh_config": ssh[1], "device_folder": "/mnt", "runtime_wheel": str(wheel), "timeout": 900}
    options = {"keras_model": model, "labels": np.zeros(len(images), int), "images": None}
    report = measured({"small": tflite}, target, **options, **place)
    assert not report.failures
    (result,) = report.results
    assert len(result.outputs[0]) == result.accuracy_images == len(images)
    assert result.agreement("keras").argmax == 1 and result.agreement("host").max_difference < 2e-5
    assert any("(neon,plain)" in note for note in result.notes)
    assert report.devices[target]["python"] == "3.11"
    assert report.devices[target]["environment"].startswith("/mnt/runtime-")


@pytest.mark.parametrize("ssh", [f"Subsystem sftp /usr/lib/openssh/sftp-server\n{COMMAND}"], indirect=True)
def test_the_commands_of_the_guide_bring_a_label(machine, wheel, ssh, tmp_path):
    pillow = pytest.importorskip("PIL.Image")
    pytest.importorskip("sklearn")
    python = wheels.Python("python3", (3, 11), "aarch64", 36)
    assert not wheels.dependencies(f"{wheel}[images]", python, FOLDER / "wheels", 600)
    target, config, _ = ssh
    user, port = re.fullmatch(r"ssh:(.*)@127.0.0.1:(.*)", target).groups()
    reached = f"\nHost raspberrypi.local\n  HostName 127.0.0.1\n  Port {port}\n"
    Path(config).write_text(Path(config).read_text() + reached)

    digits = data.load("digits")
    model = zoo.conv2(input_shape=digits.input_shape, num_classes=digits.num_classes, width=0.25)
    run = tmp_path / "runs" / "first"
    run.mkdir(parents=True)
    export.convert(model, run / "model.tflite", images=digits, verify_on=False)
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8), np.uint8)
    for folder in (tmp_path, FOLDER):
        pillow.fromarray(pixels).save(folder / "photo.png")

    def check(command):
        done = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    commands = re.findall(r"^\$ (.*)$", GUIDE.read_text().split("## A camera")[0], re.M)
    copying = [command for command in commands if command.startswith(("ssh ", "scp "))]
    on_the_pi = commands[commands.index(copying[-1]) + 1 :]
    for command in copying:
        program, rest = command.replace("pi@", f"{user}@").split(maxsplit=1)
        check(f"{program} -F {config} {rest}")
    # Nothing but the package index is another: the machine has no network.
    for command in on_the_pi:
        there = f"PIP_NO_INDEX=1 PIP_FIND_LINKS=wheels {command}"
        found = check(shlex.join(["ssh", "-F", config, f"{user}@raspberrypi.local", there]))
    here = Path(sys.executable).with_name("larq-equalbits-run")
    (expected,) = json.loads(check(f"{here} runs/first/model.tflite photo.png --json"))["images"]
    assert found.startswith(f"photo.png: {expected['classes'][0]['label']} ")
