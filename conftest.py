"""Runs every code block of the README and the documentation: ```python and ```bash ones (```console shows only)."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from sybil import Example, Sybil
from sybil.evaluators.python import PythonEvaluator
from sybil.parsers.markdown import CodeBlockParser

# Selects Keras 2 before any test or any page imports TensorFlow.
import larq_equalbits  # noqa: F401

ROOT = Path(__file__).parent


def _bash(example: Example) -> None:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", example.parsed], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def documentation_folder():
    """The blocks of a page run one after the other in a folder of their own."""
    import tensorflow as tf

    # Layers without a name are numbered as in a process of the reader's own.
    tf.keras.backend.clear_session()
    # What an untrained network answers depends on rounding for an image in a thousand.
    tf.keras.utils.set_random_seed(0)
    previous = os.getcwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        yield
        os.chdir(previous)


pytest_collect_file = Sybil(
    parsers=[CodeBlockParser("python", PythonEvaluator()), CodeBlockParser("bash", _bash)],
    patterns=["README.md", "docs/**/*.md"],
    fixtures=["documentation_folder"],
    path=str(ROOT),
).pytest()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """The blocks of a page share what they write, so that they run in one process."""
    for item in items:
        if item.path.suffix == ".md":
            item.add_marker(pytest.mark.xdist_group(item.path.name))
