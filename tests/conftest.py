import gc
import os
import subprocess
import sys
from pathlib import Path

import pytest

# Selects Keras 2 before any test imports TensorFlow.
import larq_equalbits  # noqa: F401

ROOT = Path(__file__).parent.parent
# Registered for the test programs that start other Python processes, whatever folder those run in.
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))


@pytest.fixture(autouse=True)
def seed():
    """Every test starts from the same random state."""
    import tensorflow as tf

    tf.keras.utils.set_random_seed(0)


@pytest.fixture(scope="module", autouse=True)
def forgotten():
    """What a module's tests traced is given back, so a run of all tests does not keep all of it."""
    yield
    import tensorflow as tf

    tf.keras.backend.clear_session()
    gc.collect()


@pytest.fixture(scope="session")
def run_python():
    """Runs code or arguments in a Python process of their own; returns the finished process."""

    def run(*arguments, env=None, cwd=None, timeout=300):
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2", **(env or {})}
        return subprocess.run(
            [sys.executable, *map(str, arguments)],
            env=environment,
            cwd=cwd,
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    return run


@pytest.fixture(scope="session")
def command():
    """Runs the command line in a process of its own; returns the finished process."""
    program = Path(sys.executable).parent / "larq-equalbits"

    def run(*arguments, cwd=None, timeout=300, environment=None):
        return subprocess.run(
            [program, *map(str, arguments)],
            cwd=cwd,
            capture_output=True,
            text=True,
            timeout=timeout,
            env={**os.environ, **(environment or {})},
        )

    return run
