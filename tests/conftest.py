import gc
import os
import shutil
import subprocess
import sys
from pathlib import Path

import forking
import numpy as np
import pytest

# Selects Keras 2 before any test imports TensorFlow.
from larq_equalbits import cli

ROOT = Path(__file__).parent.parent
# Registered for the test programs that start other Python processes, whatever folder those run in.
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))


# First, as pytest-xdist reads the groups in this hook too.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """A file's tests run in one process: what its fixtures train and convert is made once."""
    for item in items:
        if not item.get_closest_marker("xdist_group"):
            item.add_marker(pytest.mark.xdist_group(item.path.stem))


@pytest.fixture(autouse=True)
def seed():
    """Every test starts from the same random state."""
    import tensorflow as tf

    tf.keras.utils.set_random_seed(0)


@pytest.fixture(scope="module", autouse=True)
def forgotten():
    """What the tests of the module before traced is given back, so a run of all tests does not keep all of it."""
    import tensorflow as tf

    tf.keras.backend.clear_session()
    gc.collect()
    # What is left stays, such as TensorFlow itself: a later collection passes it over.
    gc.freeze()


@pytest.fixture(scope="session")
def golden():
    """What the authors' code answered, for three kernels."""
    with np.load(Path(__file__).parent / "golden" / "official.npz") as vectors:
        return [
            {name.partition("/")[2]: vectors[name] for name in vectors if name.startswith(f"case{i}/")}
            for i in range(3)
        ]


def finished(arguments, returned, said, errors, status):
    """A finished process, whose exit status is the one expected; None expects any."""
    assert status is None or returned == status, said + errors
    return subprocess.CompletedProcess(arguments, returned, said, errors)


@pytest.fixture(scope="session")
def run_python():
    """Runs code or arguments in a Python process of their own; returns the finished process."""

    def run(*arguments, env=None, cwd=None, timeout=300, status=0):
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2", **(env or {})}
        command = [sys.executable, *map(str, arguments)]
        options = {"env": environment, "cwd": cwd, "timeout": timeout, "capture_output": True, "text": True}
        done = subprocess.run(command, **options)
        return finished(arguments, done.returncode, done.stdout, done.stderr, status)

    return run


@pytest.fixture
def run_script(tmp_path_factory):
    """Runs a file, or code, in a process of its own that has the package loaded; returns the finished process."""

    def run(script, *arguments, env=None, cwd=".", timeout=300, status=0):
        logs = tmp_path_factory.mktemp("logs")
        if isinstance(script, str):
            (logs / "script.py").write_text(script, encoding="utf-8")
            script = logs / "script.py"
        outputs = logs / "stdout", logs / "stderr"
        process = forking.start(script, *arguments, outputs=outputs, folder=cwd, **(env or {}))
        returned = forking.ended(process, timeout)
        return finished(arguments, returned, *(path.read_text(encoding="utf-8") for path in outputs), status)

    return run


@pytest.fixture
def command(monkeypatch, capsys):
    """Runs the command line in this process, as its program does; returns what a process of its own would."""

    def run(*arguments, program=None, environment=None, status=0):
        monkeypatch.setattr(sys, "argv", ["larq-equalbits", *map(str, arguments)])
        for name, value in (environment or {}).items():
            monkeypatch.setenv(name, value)
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.run_command(program or cli.program)
        return finished(arguments, ended.value.code or 0, *capsys.readouterr(), status)

    return run


@pytest.fixture
def refused(command):
    """Runs a command line that is bad input; returns with what it is refused."""

    def run(*arguments):
        said = command(*arguments, status=2).stderr
        assert "Traceback" not in said, said
        return said

    return run


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    """The folder of a quick training by the settings `small.SETTINGS`."""
    from small import SETTINGS

    from larq_equalbits import training

    return training.train(SETTINGS, tmp_path_factory.mktemp("runs") / "run", verbose=0).folder


@pytest.fixture
def folder(run, tmp_path):
    """A copy of `run`."""
    return shutil.copytree(run, tmp_path / "run")
