"""What several tests use: a small network, a quick training's settings, cases that are slow, a folder's contents."""

import contextlib
import json

import larq as lq
import numpy as np
import pytest
import tensorflow as tf

from larq_equalbits import training

SETTINGS = training.Settings(epochs=1, batch_size=64, train_images=128, model_options={"width": 0.1})

L = lq.layers


def _both(quantizer):
    return {"depthwise_quantizer": quantizer, "pointwise_quantizer": quantizer}


# A layer of each kind that has quantized kernels, made with that quantizer, and a shape that it takes.
LAYERS = {
    "dense": (lambda q: L.QuantDense(4, kernel_quantizer=q), (6,)),
    "conv1d": (lambda q: L.QuantConv1D(4, 3, kernel_quantizer=q), (8, 3)),
    "conv2d": (lambda q: L.QuantConv2D(4, 3, padding="same", pad_values=1, kernel_quantizer=q), (8, 8, 3)),
    "conv3d": (lambda q: L.QuantConv3D(4, 2, kernel_quantizer=q), (4, 4, 4, 3)),
    "depthwise": (lambda q: L.QuantDepthwiseConv2D(3, depth_multiplier=2, depthwise_quantizer=q), (8, 8, 3)),
    "separable1d": (lambda q: L.QuantSeparableConv1D(4, 3, **_both(q)), (8, 3)),
    "separable2d": (lambda q: L.QuantSeparableConv2D(4, 3, **_both(q)), (8, 8, 3)),
    "transpose2d": (lambda q: L.QuantConv2DTranspose(4, 3, kernel_quantizer=q), (8, 8, 3)),
    "transpose3d": (lambda q: L.QuantConv3DTranspose(4, 2, kernel_quantizer=q), (4, 4, 4, 3)),
    "local1d": (lambda q: L.QuantLocallyConnected1D(4, 3, kernel_quantizer=q), (8, 3)),
    "local2d": (lambda q: L.QuantLocallyConnected2D(4, 3, kernel_quantizer=q), (6, 6, 3)),
}


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
