"""Our runtime: in this process, and installed over the real sshd on loopback."""

import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from larq_equalbits import device, export
from larq_equalbits._errors import DeviceError, InputError
from larq_equalbits.device import models, shells, wheels
from larq_equalbits.device.runtime import RuntimeBench
from larq_equalbits.device.wheels import Python

TWICE = {"rounds": 2, "images": None}
DEVICE = Python("python3", (3, 11), "aarch64", 31)


@pytest.fixture
def litert():
    return pytest.importorskip("larq_equalbits_runtime", reason="needs the runtime: pip install ./runtime")


def test_it_answers_on_local_for_all_images(measured, converted, images, litert):
    model, tflite = converted
    options = {"keras_model": model, "labels": np.zeros(len(images), int), **TWICE}
    report = measured(tflite, "local", runtime="litert", threads=(1, 2), **options)
    assert not report.failures
    for result in report.results:
        assert result.latency.count == 10 and len(result.outputs[0]) == len(images)
        assert result.agreement("keras").argmax == 1 and result.agreement("host").max_difference < 2e-5
        assert result.accuracy_images == len(images)
        assert any("larq-equalbits-runtime in Python has no profiler" in note for note in result.notes)


def test_verify_takes_it(converted, images, litert):
    found = export.verify(*converted, images, runtime="litert")
    assert found.argmax_agreement == 1 and found.max_abs_diff < 1e-4
    with pytest.raises(InputError, match='"lce" or "litert"'):
        export.verify(*converted, images, runtime="tflite")
    model, tflite = converted
    with pytest.raises(InputError, match="our runtime can run"):
        export.verify(model, tflite.replace(b"LceQuantize", b"LceQuantum1"), images, runtime="litert")


def test_without_it_the_command_that_installs_it_is_named(measured, converted, monkeypatch):
    monkeypatch.setitem(sys.modules, "larq_equalbits_runtime", None)
    with pytest.raises(ImportError, match="pip install larq-equalbits-runtime"):
        measured(converted[1], "local", runtime="litert")


class Here(RuntimeBench):
    """The runtime of this environment, over a shell of this machine."""

    def _install(self, python):
        self._python = sys.executable


def test_memory_is_that_of_the_model_however_many_images_there_are(litert):
    layers = [tf.keras.layers.Input((256, 256, 16)), tf.keras.layers.MaxPooling2D()]
    (model,) = models.load(tf.lite.TFLiteConverter.from_keras_model(tf.keras.Sequential(layers)).convert())
    found = []
    for count in (1, 5):
        samples = model.samples(np.zeros((count, 256, 256, 16), np.float32))
        result = device.Result("pooling", "here", 1, 1)
        with Here(shells.Shell("here"), device.Settings(repeats=1, rounds=1), print) as bench:
            bench.prepare([model], [samples])
            bench.measure(0, model, samples, 1, result)
        assert len(result.outputs[0]) == count
        found.append(result.memory_kib)
    # Input and output take 4096 and 1024 KiB.
    assert 5000 < found[0] < 20_000 and abs(found[1] - found[0]) < 2000


@pytest.fixture
def by_ssh(measured, converted, ssh, runtime_wheel):
    """Measures the model with our runtime on the machine that ssh reaches, in the folder of it."""
    options = {"ssh_config": ssh[1], "runtime_wheel": runtime_wheel, **TWICE}

    def run(folder, **more):
        return measured({"small": converted[1]}, ssh[0], device_folder=str(folder), **{**options, **more})

    return run


@pytest.mark.slow
@pytest.mark.parametrize("name", ["plain", 'it\'s a "folder" $HOME `id`'])
def test_ssh_installs_it_measures_all_images_and_keeps_the_environment(
    by_ssh, converted, images, ssh, folders, tmp_path, name
):
    before = folders()
    place = tmp_path / name
    place.mkdir()
    steps = []
    options = {"keras_model": converted[0], "labels": np.zeros(len(images), int), "progress": steps.append}
    report = by_ssh(place, threads=(1, 2), **options)
    assert not report.failures
    for result in report.results:
        assert result.latency.count == 10 and len(result.latency.rounds_ms) == 2
        assert result.memory_kib > 0 and result.peak_kib > 0 and result.init_ms > 0
        assert len(result.outputs[0]) == result.accuracy_images == len(images)
        assert result.agreement("keras").argmax == 1 and result.agreement("host").max_difference < 2e-5
        assert any("larq-equalbits-runtime 0" in note for note in result.notes)
    known = report.devices[ssh[0]]
    assert re.fullmatch(r"3\.1[0-3]", known["python"])
    assert Path(known["environment"]).parent == place
    assert [path.name.split("-")[0] for path in place.iterdir()] == ["runtime"]
    assert any("installing" in step for step in steps)
    steps.clear()
    again = by_ssh(place, images=2, progress=steps.append)
    assert not again.failures and len(again.results[0].outputs[0]) == 2
    assert not any("installing" in step for step in steps)
    assert folders() == before


@pytest.fixture
def without_packages(monkeypatch, tmp_path):
    """On this machine pip finds no packages; on the one that ssh reaches it does."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "none"))


@pytest.mark.slow
def test_the_devices_pip_fetches_packages_where_this_machine_cannot(by_ssh, without_packages, tmp_path):
    report = by_ssh(tmp_path, images=2)
    assert not report.failures and len(report.results[0].outputs[0]) == 2


@pytest.mark.slow
@pytest.mark.parametrize("ssh", ["SetEnv PIP_NO_INDEX=1"], indirect=True)
def test_where_neither_fetches_packages_both_complaints_are_told(by_ssh, without_packages, tmp_path):
    with pytest.raises(DeviceError, match=r"could not be installed: .*; on this machine pip said: .*ai-edge"):
        by_ssh(tmp_path, images=2)


@pytest.fixture
def few_tools(tmp_path):
    """A folder with the programs of a small system, without a Python."""
    folder = tmp_path / "bin"
    folder.mkdir()
    posix = ("sh", "mktemp", "uname", "rm", "kill", "cat", "df", "sed", "getconf", "tr", "test")
    for name in (*posix, "nproc", "tar"):
        found = shutil.which(name)
        if found:
            (folder / name).symlink_to(found)
    return folder


class Without(shells.Shell):
    """A shell on this machine that finds programs in one folder only."""

    def __init__(self, folder, root):
        super().__init__("small system", str(root))
        self._path = folder

    def run(self, script, timeout=60, stdin=None):
        return super().run(f"PATH={self._path}; export PATH\n{script}", timeout, stdin)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (None, "has no python3, but"),
        ('[[3, 9], "aarch64", 31, 64]', r"has Python 3\.9, but"),
        ('[[3, 11], "armv7l", 31, 32]', "a 32-bit Python on armv7l"),
        ('[[3, 11], "aarch64", 0, 64]', "has no glibc"),
    ],
)
def test_a_system_that_cannot_run_it_is_told(few_tools, tmp_path, answer, words):
    if answer:
        (few_tools / "python3").write_text(f"#!/bin/sh\necho '{answer}'\n")
        (few_tools / "python3").chmod(0o755)
    settings = device.Settings(repeats=1, warmup=0, rounds=1)
    bench = RuntimeBench(Without(few_tools, tmp_path), settings, print)
    with bench, pytest.raises(DeviceError, match=words):
        bench.prepare([], [])


def _wheel(folder, platform):
    path = folder / f"larq_equalbits_runtime-0.1.0-py3-none-{platform}.whl"
    path.write_bytes(b"")
    return path


def test_the_wheel_for_the_device_is_found(tmp_path):
    right = _wheel(tmp_path, "manylinux_2_17_aarch64")
    _wheel(tmp_path, "manylinux_2_17_x86_64")
    _wheel(tmp_path, "manylinux_2_39_aarch64")
    for given in (tmp_path, right):
        assert wheels.runtime(str(given), DEVICE, tmp_path, 60) == right


@pytest.mark.parametrize("given", ["none", "empty", "larq_equalbits_runtime-0.1.0-py3-none-linux_x86_64.whl"])
def test_a_wheel_for_another_device_is_refused(tmp_path, given):
    (tmp_path / "empty").mkdir()
    _wheel(tmp_path, "linux_x86_64")
    words = "runtime_wheel must be a wheel of larq-equalbits-runtime for aarch64"
    with pytest.raises(InputError, match=words):
        wheels.runtime(str(tmp_path / given), DEVICE, tmp_path, 60)


def test_platforms_of_a_device():
    names = DEVICE.platforms
    assert names[0] == "manylinux_2_31_aarch64" and "manylinux2014_aarch64" in names
    assert names.index("manylinux_2_27_aarch64") < names.index("manylinux_2_17_aarch64")
