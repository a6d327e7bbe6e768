import shlex
import sys
from pathlib import Path

import larq as lq
import numpy as np
import pytest
import tensorflow as tf

from larq_equalbits.device import shells

PROGRAM = Path(__file__).parent.parent / "programs" / "lce_benchmark_model.py"


def small_model():
    return tf.keras.Sequential(
        [
            tf.keras.layers.Input((8, 8, 1), name="image"),
            tf.keras.layers.Conv2D(32, 3),
            tf.keras.layers.BatchNormalization(),
            lq.layers.QuantConv2D(
                32, 3, input_quantizer="ste_sign", kernel_quantizer="ste_sign", use_bias=False
            ),
            tf.keras.layers.BatchNormalization(),
            tf.keras.layers.GlobalAveragePooling2D(),
            tf.keras.layers.Dense(10),
        ]
    )


@pytest.fixture(scope="session")
def converted():
    larq_compute_engine = pytest.importorskip("larq_compute_engine")
    tf.keras.utils.set_random_seed(3)
    model = small_model()
    return model, larq_compute_engine.convert_keras_model(model)


@pytest.fixture
def images():
    return np.random.default_rng(0).normal(size=(6, 8, 8, 1)).astype(np.float32)


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


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """These tests look at the folders that runs leave in /tmp, so that no two of them run at once."""
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.xdist_group("device"))
