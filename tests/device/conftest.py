import dataclasses
import getpass
import os
import shlex
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import larq as lq
import numpy as np
import pytest
import tensorflow as tf
from forking import free_ports

from larq_equalbits import device
from larq_equalbits.device import shells

SSHD = shutil.which("sshd", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
PROGRAM = Path(__file__).parent.parent / "programs" / "lce_benchmark_model.py"


@pytest.fixture(scope="session")
def converted():
    larq_compute_engine = pytest.importorskip("larq_compute_engine")
    tf.keras.utils.set_random_seed(3)
    quantizers = {"input_quantizer": "ste_sign", "kernel_quantizer": "ste_sign"}
    layers = [
        tf.keras.Input((8, 8, 1), name="image"),
        tf.keras.layers.Conv2D(32, 3),
        tf.keras.layers.BatchNormalization(),
        lq.layers.QuantConv2D(32, 3, use_bias=False, **quantizers),
        tf.keras.layers.BatchNormalization(),
        tf.keras.layers.GlobalAveragePooling2D(),
        tf.keras.layers.Dense(10),
    ]
    model = tf.keras.Sequential(layers)
    return model, larq_compute_engine.convert_keras_model(model)


@pytest.fixture
def images():
    return np.random.default_rng(0).normal(size=(6, 8, 8, 1)).astype(np.float32)


@pytest.fixture
def measured(images):
    """Measures models quickly on the images, unless others are given: arguments of `device.run` and of its settings."""
    known = {field.name for field in dataclasses.fields(device.Settings)}

    def run(models, target, inputs=images, **options):
        chosen = {name: options.pop(name) for name in known & options.keys()}
        settings = device.Settings(**{"repeats": 5, "warmup": 1, "rounds": 1, "images": 2, **chosen})
        return device.run(models, target, inputs, settings, **options)

    return run


@pytest.fixture
def write_program(tmp_path):
    def write(style="new", before="", name="lce benchmark'model"):
        path = tmp_path / name
        command = shlex.join([sys.executable, str(PROGRAM), f"--style={style}"])
        path.write_text(f'#!/bin/sh\n{before}\nexec {command} "$@"\n')
        path.chmod(0o755)
        return path

    return write


@pytest.fixture
def folders():
    """The folders of runs on this machine that exist now."""
    return lambda root="/tmp": set(Path(root).glob(shells.FOLDER_PREFIX + "*"))


def wait_for(port):
    for _ in range(100):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    pytest.fail("sshd did not start")


@pytest.fixture
def ssh(tmp_path, request):
    """A throw-away sshd; what `device.run` needs to reach it, and its process."""
    if not (SSHD and shutil.which("ssh") and shutil.which("ssh-keygen")):
        pytest.skip("needs OpenSSH's server and client: apt-get install openssh-server openssh-client")
    folder = tmp_path / "ssh"
    folder.mkdir(mode=0o700)
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    (port,) = free_ports(1)
    (folder / "authorized").write_text((folder / "user.pub").read_text())
    (folder / "known").write_text(f"[127.0.0.1]:{port} {(folder / 'host.pub').read_text()}")
    (folder / "sshd_config").write_text(
        f"ListenAddress 127.0.0.1:{port}\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/authorized\n"
        f"PidFile {folder}/pid\nStrictModes no\nPasswordAuthentication no\nPermitRootLogin yes\n"
        f"{getattr(request, 'param', '')}\n"
    )
    (folder / "config").write_text(
        f"Host *\n  IdentityFile {folder}/user\n  IdentitiesOnly yes\n  UserKnownHostsFile {folder}/known\n"
    )
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    server = subprocess.Popen([SSHD, "-f", folder / "sshd_config", "-D"], stderr=subprocess.DEVNULL)
    try:
        wait_for(port)
        yield f"ssh:{getpass.getuser()}@127.0.0.1:{port}", str(folder / "config"), server
    finally:
        server.terminate()
        server.wait(10)


@pytest.fixture(scope="session")
def build_wheel(tmp_path_factory):
    """Builds the runtime's wheel as pip does, with more options and variables where given; returns its path."""

    def run(*options, **environment):
        folder = tmp_path_factory.mktemp("wheel")
        ignored = shutil.ignore_patterns("build", "dist", "*.so", "*.egg-info")
        source = shutil.copytree(Path(__file__).parents[2] / "runtime", folder / "runtime", ignore=ignored)
        build = [
            sys.executable,
            "-m",
            "pip",
            "wheel",
            "--quiet",
            "--no-deps",
            "--no-build-isolation",
            *options,
        ]
        build += ["--wheel-dir", folder, source]
        subprocess.run(build, check=True, env={**os.environ, **environment})
        return next(folder.glob("*.whl"))

    return run


@pytest.fixture(scope="session")
def runtime_wheel(build_wheel):
    """The runtime's wheel for this machine."""
    if not (shutil.which("g++") or shutil.which("clang++")):
        pytest.skip("needs a compiler: apt-get install g++")
    return build_wheel()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """These tests look at the folders that runs leave in /tmp, so no two of them run at once."""
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.xdist_group("device"))
