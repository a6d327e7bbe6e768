"""Networks that larq_equalbits converts, for the runtime to answer."""

import dataclasses
import hashlib
import importlib
import importlib.util
import json
from typing import Any

import numpy as np
import pytest

_NEEDED = ("larq_equalbits", "larq_compute_engine", "ai_edge_litert", "larq_equalbits_runtime")
MISSING = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
if not MISSING:
    # Its first import chooses Keras 2 for TensorFlow.
    importlib.import_module("larq_equalbits")


def pytest_report_header():
    """Says why there are no tests of the runtime where what they need is missing."""
    return (
        f"runtime/tests are left out: they need {', '.join(MISSING)} (pip install ./runtime)"
        if MISSING
        else ""
    )


def pytest_ignore_collect():
    """Leaves all of them out then."""
    return True if MISSING else None


@dataclasses.dataclass(frozen=True)
class Network:
    """A converted network.

    Attributes:
        keras: the Keras model.
        tflite: the file.
        images: some for it.
    """

    keras: Any
    tflite: bytes
    images: np.ndarray

    def oracle(self, images=None):
        """What LCE's own interpreter answers, image by image."""
        from larq_equalbits.export import interpreter

        runner = interpreter.load(self.tflite)
        images = self.images if images is None else images
        if isinstance(images, np.ndarray):
            images = {runner.inputs[0].key: images}
        answers = runner.predict(images)
        return next(iter(answers.values())) if len(answers) == 1 else answers


def binary_layers(x, filters=32):
    import larq as lq
    import tensorflow as tf

    x = tf.keras.layers.Conv2D(32, 3)(x)
    x = tf.keras.layers.BatchNormalization()(x)
    x = lq.layers.QuantConv2D(
        filters, 3, input_quantizer="ste_sign", kernel_quantizer="bi_half", use_bias=False
    )(x)
    return tf.keras.layers.BatchNormalization()(x)


def network(outputs, inputs, images, **options):
    import tensorflow as tf

    from larq_equalbits import export

    model = tf.keras.Model(inputs, outputs)
    return Network(model, export.convert(model, strict=False, **options).tflite, images)


def random_images(count, *shape, seed=0):
    return np.random.default_rng(seed).normal(size=(count, *shape)).astype(np.float32)


@pytest.fixture(scope="session")
def build():
    """Makes a network of the zoo that is normalized as trained ones are: no numbers cancel before its signs."""
    import tensorflow as tf

    from larq_equalbits import zoo

    def make(name):
        tf.keras.utils.set_random_seed(2)
        model = zoo.get(name)(input_shape=(32, 32, 3), num_classes=10)
        random = np.random.default_rng(0)
        for layer in model.layers:
            if isinstance(layer, tf.keras.layers.BatchNormalization):
                layer.gamma.assign(random.uniform(0.5, 1.5, layer.gamma.shape))
                layer.beta.assign(random.normal(scale=0.3, size=layer.beta.shape))
        return model

    return make


@pytest.fixture(scope="session")
def small():
    """One binary convolution between float layers."""
    import tensorflow as tf

    tf.keras.utils.set_random_seed(3)
    image = tf.keras.layers.Input((8, 8, 1), name="image")
    x = tf.keras.layers.GlobalAveragePooling2D()(binary_layers(image))
    return network(tf.keras.layers.Dense(10, name="scores")(x), image, random_images(40, 8, 8, 1))


@pytest.fixture(scope="session")
def pair():
    """Two inputs and two outputs."""
    import tensorflow as tf

    tf.keras.utils.set_random_seed(4)
    inputs = [tf.keras.layers.Input((8, 8, 1), name=name) for name in ("left", "right")]
    first, second = (tf.keras.layers.GlobalAveragePooling2D()(binary_layers(x)) for x in inputs)
    outputs = [
        tf.keras.layers.Dense(4, name="few")(first),
        tf.keras.layers.Dense(7, name="many")(tf.keras.layers.Concatenate()([first, second])),
    ]
    images = {name: random_images(20, 8, 8, 1, seed=seed) for seed, name in enumerate(("left", "right"))}
    return network(outputs, inputs, images)


@pytest.fixture(scope="session")
def integers():
    """Float layers in 8-bit integers, integers in and out."""
    import tensorflow as tf

    tf.keras.utils.set_random_seed(5)
    image = tf.keras.layers.Input((8, 8, 1), name="image")
    x = tf.keras.layers.GlobalAveragePooling2D()(binary_layers(image))
    images = random_images(64, 8, 8, 1)
    options = {"float_layers": "int8", "input_type": "int8", "output_type": "int8"}
    return network(tf.keras.layers.Dense(10)(x), image, images, calibrate_on=images, **options)


@pytest.fixture(scope="session")
def unresizable():
    """A file that answers one image at a time, because a shape in it says so."""
    import tensorflow as tf

    tf.keras.utils.set_random_seed(6)
    image = tf.keras.layers.Input((8, 8, 1), batch_size=1, name="image")
    x = tf.reshape(binary_layers(image), (1, 4 * 4 * 32))
    return network(tf.keras.layers.Dense(3)(x), image, random_images(5, 8, 8, 1))


@pytest.fixture(scope="session")
def plain():
    """A file without LCE's operators."""
    import tensorflow as tf

    tf.keras.utils.set_random_seed(7)
    layers = [
        tf.keras.layers.Input((8, 8, 1)),
        tf.keras.layers.Conv2D(4, 3),
        tf.keras.layers.Flatten(),
        tf.keras.layers.Dense(3, activation="softmax"),
    ]
    model = tf.keras.Sequential(layers)
    file = tf.lite.TFLiteConverter.from_keras_model(model).convert()
    return Network(model, file, random_images(5, 8, 8, 1))


@pytest.fixture(scope="session")
def pruned():
    """A binary convolution without half of its weights, which the file holds as two kernels."""
    import tensorflow as tf

    tf.keras.utils.set_random_seed(8)
    import larq as lq

    from larq_equalbits import pruning

    options = {"padding": "same", "pad_values": 1, "use_bias": False}
    quantizers = {"input_quantizer": "ste_sign", "kernel_quantizer": "bi_half"}
    layers = [tf.keras.layers.Input((6, 5, 64)), lq.layers.QuantConv2D(32, 3, **options, **quantizers)]
    model = pruning.prune(tf.keras.Sequential(layers), sparsity=0.5)
    return network(model.outputs, model.inputs, random_images(7, 6, 5, 64))


@pytest.fixture
def deployed(small, tmp_path):
    """A folder with model.tflite, model.json and images of digits; returns it."""
    pillow = pytest.importorskip("PIL.Image", reason="needs Pillow: pip install './runtime[images]'")
    (tmp_path / "model.tflite").write_bytes(small.tflite)
    description = {
        "sha256": hashlib.sha256(small.tflite).hexdigest(),
        "dataset": "digits",
        "mean": [0.3],
        "std": [0.4],
        "labels": [f"digit {number}" for number in range(10)],
    }
    (tmp_path / "model.json").write_text(json.dumps(description))
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 256, (8, 8), np.uint8)
        pillow.fromarray(pixels).save(tmp_path / f"{number}.png")
    return tmp_path
