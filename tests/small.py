"""What several tests use: a small network, a quick training's settings, cases that are slow, a folder's contents."""

import contextlib
import json

import larq as lq
import numpy as np
import pytest
import tensorflow as tf

from larq_equalbits import training

SETTINGS = training.Settings(epochs=1, batch_size=64, train_images=128, model_options={"width": 0.1})


def small():
    return tf.keras.Sequential(
        [
            tf.keras.Input((6, 6, 32), name="images"),
            lq.layers.QuantConv2D(
                32, 3, input_quantizer="ste_sign", kernel_quantizer="bi_half", padding="same", pad_values=1
            ),
            tf.keras.layers.GlobalAveragePooling2D(),
            tf.keras.layers.Dense(3),
        ]
    )


def stack(*layers, shape=(8, 8, 3)):
    """A Sequential model of the layers, on inputs of the shape."""
    return tf.keras.Sequential([tf.keras.Input(shape), *layers])


@contextlib.contextmanager
def precision(policy):
    """Layers that are made in the block have the dtype policy of that name."""
    tf.keras.mixed_precision.set_global_policy(policy)
    try:
        yield
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")


def slow_but(quick, cases):
    """The cases as parameters of a test; those that are not among the quick ones are marked slow."""
    return [case if case in quick else pytest.param(case, marks=pytest.mark.slow) for case in cases]


def entries(folder):
    """What lies below `folder`: which of it are links, and when each was written."""
    return {
        path: (path.is_symlink(), path.lstat().st_ino, path.lstat().st_mtime_ns) for path in folder.rglob("*")
    }


def contents(folder):
    """The text of every file below `folder`."""
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def change_state(folder, change):
    """Writes the checkpoint of a run again, with what `change` makes of its arrays and of their description."""
    path = folder / "checkpoint" / "state.npz"
    with np.load(path) as archive:
        arrays = dict(archive)
    description = json.loads(arrays["state.json"].tobytes())
    change(arrays, description["state"])
    np.savez(path, **{**arrays, "state.json": np.frombuffer(json.dumps(description).encode(), np.uint8)})
