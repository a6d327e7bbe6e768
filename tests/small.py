"""A small network, the settings of a quick training, and what a folder holds: several tests use them."""

import json

import larq as lq
import numpy as np
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
