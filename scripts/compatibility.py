"""A short test of one TensorFlow version: train with bi_half, save, load in all formats, convert, verify.

On Python 3.13, for which LCE has no wheel, the conversion has to say so.
"""

import sys
import tempfile
from pathlib import Path

import larq_equalbits  # isort: skip (selects Keras 2 before Larq loads TensorFlow)

import larq
import numpy as np
import tensorflow as tf

from larq_equalbits import export
from larq_equalbits.callbacks import BitLogger


def main() -> None:
    """Raises where anything does not work."""
    generator = np.random.default_rng(0)
    images = generator.normal(size=(64, 8, 8, 32)).astype("float32")
    labels = generator.integers(3, size=64)
    convolution = larq.layers.QuantConv2D(
        8,
        3,
        input_quantizer="ste_sign",
        kernel_quantizer="bi_half",
        padding="same",
        pad_values=1,
        name="binary",
    )
    model = tf.keras.Sequential(
        [
            tf.keras.Input((8, 8, 32)),
            convolution,
            tf.keras.layers.BatchNormalization(),
            tf.keras.layers.GlobalAveragePooling2D(),
            tf.keras.layers.Dense(3),
        ]
    )
    loss = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss, metrics=["accuracy"])
    history = model.fit(images, labels, epochs=2, verbose=0, callbacks=[BitLogger()])
    assert history.history["binary/bit_entropy"] == [1.0, 1.0], history.history

    with tempfile.TemporaryDirectory() as folder:
        for name in ("model.h5", "model.keras", "saved_model"):
            model.save(Path(folder) / name)
            loaded = tf.keras.models.load_model(Path(folder) / name)
            np.testing.assert_array_equal(loaded.predict(images, verbose=0), model.predict(images, verbose=0))

    version = f"larq_equalbits {larq_equalbits.__version__}, TensorFlow {tf.__version__}"
    try:
        report = export.convert(model, verify_on=images)
    except ImportError as error:
        assert sys.version_info >= (3, 13) and "has no wheel for Python 3.13" in str(error), error
        print(f"{version}: all but conversion")
        return
    operators = {layer.name: layer.operator for layer in report.layers}
    assert operators["binary"] == "LceBconv2d", operators
    print(f"{version}: {operators}")


if __name__ == "__main__":
    main()
