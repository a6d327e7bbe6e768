"""Two dozen shapes of network, made binary, converted and compared with Keras."""

import numpy as np
import pytest
import tensorflow as tf
from stacks import as_if_trained, stack

import larq_equalbits as lqe
from larq_equalbits import export
from larq_equalbits.export.interpreter import load

layers = tf.keras.layers
IMAGE = (8, 8, 3)


def conv(filters=8, size=3, name=None, **options):
    return layers.Conv2D(filters, size, padding="same", use_bias=False, name=name, **options)


def block(x, name, filters=8):
    return layers.ReLU()(layers.BatchNormalization()(conv(filters, name=name)(x)))


def trunk(image, name="body"):
    return layers.BatchNormalization()(conv(name=name)(block(image, f"{name}_stem")))


def one_output():
    image = tf.keras.Input(IMAGE)
    x = layers.GlobalAveragePooling2D()(trunk(image))
    return tf.keras.Model(image, layers.Dense(1, "sigmoid", name="head")(x))


def two_heads():
    image = tf.keras.Input(IMAGE)
    x = layers.Flatten()(trunk(image))
    boxes = layers.Dense(4, name="boxes")(layers.BatchNormalization()(layers.Dense(8, name="hidden")(x)))
    return tf.keras.Model(image, {"boxes": boxes, "label": layers.Dense(3, name="label")(x)})


def mask():
    image = tf.keras.Input(IMAGE)
    return tf.keras.Model(image, layers.Conv2D(2, 1, name="pixels")(trunk(image)))


def u_net():
    image = tf.keras.Input(IMAGE)
    upper = block(image, "stem")
    x = layers.BatchNormalization()(conv(name="down")(layers.MaxPooling2D()(upper)))
    x = layers.Concatenate()([layers.UpSampling2D()(x), upper])
    x = layers.BatchNormalization()(conv(name="up")(x))
    return tf.keras.Model(image, layers.Conv2D(1, 1, activation="sigmoid", name="pixels")(x))


def recurrent(layer):
    x = frames = tf.keras.Input((3, *IMAGE))
    for name in ("stem", "body"):
        frame = tf.keras.Input(x.shape[2:])
        inner = tf.keras.Model(frame, layers.BatchNormalization()(conv(4, name=name)(frame)))
        x = layers.TimeDistributed(inner, name=f"each_{name}")(x)
    x = layers.TimeDistributed(layers.GlobalAveragePooling2D())(x)
    return tf.keras.Model(frames, layers.Dense(2, name="head")(layer(x)))


def siamese():
    image = tf.keras.Input(IMAGE)
    twin = tf.keras.Model(image, layers.GlobalAveragePooling2D()(trunk(image)), name="twin")
    pair = [tf.keras.Input(IMAGE, name=name) for name in ("left", "right")]
    difference = layers.Subtract()([twin(one) for one in pair])
    return tf.keras.Model(pair, layers.Dense(1, "sigmoid", name="same")(difference))


def frozen_base():
    image = tf.keras.Input(IMAGE)
    base = tf.keras.Model(image, trunk(image), name="base")
    base.trainable = False
    x = layers.BatchNormalization()(conv(name="added")(base(image)))
    return tf.keras.Model(image, layers.Dense(2, name="head")(layers.GlobalAveragePooling2D()(x)))


def shared_layers():
    image = tf.keras.Input(IMAGE)
    x = block(image, "stem")
    shared = conv(name="shared")
    for _ in range(3):
        x = layers.BatchNormalization()(shared(x))
    return tf.keras.Model(image, layers.Dense(2, name="head")(layers.Flatten()(x)))


def augmentation_first():
    return stack(
        layers.RandomFlip("horizontal"),
        layers.RandomRotation(0.1),
        layers.Rescaling(0.5),
        conv(name="stem"),
        layers.BatchNormalization(),
        conv(name="body"),
        layers.BatchNormalization(),
        layers.Dropout(0.3),
        layers.GlobalMaxPooling2D(),
        layers.Dense(3, "softmax", name="head"),
        shape=IMAGE,
    )


class Subclassed(tf.keras.Model):
    """With a head for training alone, and a loop in its code."""

    def __init__(self):
        super().__init__(name="subclassed")
        self.auxiliary = layers.Dense(3, name="auxiliary")
        self.head = layers.Dense(2, name="head")
        self.blocks = [conv(name=f"block{index}") for index in range(2)]
        self.norms = [layers.BatchNormalization(name=f"norm{index}") for index in range(2)]
        self.stem = conv(name="stem")

    def get_config(self):
        return {}

    def call(self, x, training=False):
        x = self.stem(x)
        for each, norm in zip(self.blocks, self.norms, strict=True):
            x = x + norm(each(x), training=training)
        x = tf.reduce_mean(x, [1, 2])
        return (self.head(x), self.auxiliary(x)) if training else self.head(x)


class Compiled(Subclassed):
    """Calls its layers inside a function of its own."""

    @tf.function
    def features(self, x):
        return self.norms[0](self.blocks[0](self.stem(x)))

    def call(self, x, training=False):
        return self.head(tf.reduce_mean(self.features(x), [1, 2]))


def called(kind):
    model = kind()
    model(np.zeros((1, *IMAGE), "float32"), training=kind is Subclassed)
    model(np.zeros((1, *IMAGE), "float32"))
    return model


def nested():
    image, features = tf.keras.Input(IMAGE), tf.keras.Input((8, 8, 8))
    inner = tf.keras.Model(
        features, layers.BatchNormalization()(conv(name="inner")(features)), name="inner_model"
    )
    outer = tf.keras.Sequential([inner, conv(name="outer"), layers.BatchNormalization()], name="outer_model")
    x = outer(block(image, "stem"))
    return tf.keras.Model(image, layers.Dense(2, name="head")(layers.Flatten()(x)))


def residual_without_a_head():
    x = image = tf.keras.Input(IMAGE)
    for index in range(4):
        x = layers.Add()([x, layers.BatchNormalization()(conv(3, name=f"conv{index}")(x))])
    return tf.keras.Model(image, x)


def dense_connections():
    image = tf.keras.Input(IMAGE)
    x = block(image, "stem")
    for index in range(2):
        x = layers.Concatenate()([x, conv(4, name=f"grow{index}")(layers.BatchNormalization()(x))])
    return tf.keras.Model(image, layers.Dense(2, name="head")(layers.GlobalAveragePooling2D()(x)))


def gated():
    image = tf.keras.Input(IMAGE)
    x = trunk(image)
    gate = layers.Dense(4, "relu", name="squeeze")(layers.GlobalAveragePooling2D(keepdims=True)(x))
    gate = layers.Dense(8, "sigmoid", name="excite")(gate)
    x = layers.BatchNormalization()(conv(name="after")(layers.Multiply()([x, gate])))
    return tf.keras.Model(image, layers.Dense(2, name="head")(layers.Flatten()(x)))


def depthwise():
    image = tf.keras.Input(IMAGE)
    x = layers.DepthwiseConv2D(3, padding="same", name="depthwise")(block(image, "stem"))
    x = layers.BatchNormalization()(conv(size=1, name="pointwise")(layers.BatchNormalization()(x)))
    return tf.keras.Model(image, layers.Dense(2, name="head")(layers.GlobalAveragePooling2D()(x)))


def separable():
    image = tf.keras.Input(IMAGE)
    x = layers.SeparableConv2D(8, 3, padding="same", use_bias=False, name="body")(block(image, "stem"))
    x = layers.GlobalAveragePooling2D()(layers.BatchNormalization()(x))
    return tf.keras.Model(image, layers.Dense(2, name="head")(x))


def sequence(padding="same"):
    words = tf.keras.Input((12, 4))
    x = layers.BatchNormalization()(layers.Conv1D(8, 3, padding=padding, name="stem")(words))
    x = layers.BatchNormalization()(layers.Conv1D(8, 3, padding=padding, use_bias=False, name="body")(x))
    return tf.keras.Model(words, layers.Dense(2, name="head")(layers.GlobalAveragePooling1D()(x)))


def two_kinds_of_input():
    image, extra = tf.keras.Input(IMAGE, name="image"), tf.keras.Input((3,), name="extra")
    x = layers.GlobalAveragePooling2D()(trunk(image))
    x = layers.Concatenate()([x, layers.Dense(4, name="of_extra")(extra)])
    x = layers.BatchNormalization()(layers.Dense(8, name="joined")(x))
    return tf.keras.Model([image, extra], layers.Dense(2, name="head")(x))


def words():
    given = tf.keras.Input((6,), dtype="int32")
    x = layers.Embedding(10, 8, name="embedding")(given)
    x = layers.BatchNormalization()(layers.Conv1D(8, 3, padding="same", use_bias=False, name="body")(x))
    return tf.keras.Model(given, layers.Dense(2, name="head")(layers.GlobalMaxPooling1D()(x)))


def input_passed_on():
    image = tf.keras.Input(IMAGE, name="image")
    x = layers.GlobalAveragePooling2D()(trunk(image))
    return tf.keras.Model(
        image, [layers.Dense(2, name="head")(x), layers.Rescaling(2.0, name="doubled")(image)]
    )


def autoencoder():
    given = tf.keras.Input((16,))
    x = layers.BatchNormalization()(layers.Dense(12, name="encode")(given))
    code = layers.BatchNormalization(name="code")(layers.Dense(8, name="bottleneck")(x))
    x = layers.BatchNormalization()(layers.Dense(12, name="decode")(code))
    return tf.keras.Model(given, [layers.Dense(16, name="restored")(x), code])


# name: (a network of Keras' layers, those that become binary)
NETWORKS = {
    "one output": (one_output, {"body"}),
    "two heads": (two_heads, {"body", "hidden"}),
    "mask": (mask, {"body"}),
    "U-Net": (u_net, {"down", "up"}),
    "LSTM": (lambda: recurrent(layers.LSTM(4)), {"body"}),
    "GRU both ways": (lambda: recurrent(layers.Bidirectional(layers.GRU(4))), {"body"}),
    "siamese": (siamese, {"body"}),
    "frozen base": (frozen_base, {"added"}),
    "shared layers": (shared_layers, {"shared"}),
    "augmentation first": (augmentation_first, {"body"}),
    "subclassed with an auxiliary head": (lambda: called(Subclassed), {"block0", "block1"}),
    "subclassed with a function of its own": (lambda: called(Compiled), {"block0"}),
    "nested": (nested, {"inner", "outer"}),
    "residual without a head": (residual_without_a_head, {"conv1", "conv2"}),
    "dense connections": (dense_connections, {"grow0", "grow1"}),
    "gated": (gated, {"body", "squeeze", "excite", "after"}),
    "depthwise": (depthwise, {"pointwise"}),
    "separable": (separable, {"body"}),
    "sequence": (sequence, {"body"}),
    "causal sequence": (lambda: sequence("causal"), {"body"}),
    "two kinds of input": (two_kinds_of_input, {"body", "joined"}),
    "words": (words, {"body"}),
    "input passed on": (input_passed_on, {"body"}),
    "autoencoder": (autoencoder, {"decode"}),
}
# The rest takes longer together than a default run should.
QUICK = {"one output", "two heads", "U-Net", "siamese", "frozen base", "causal sequence", "input passed on"}
QUICK |= {"subclassed with an auxiliary head", "augmentation first"}


def examples(model):
    generator = np.random.default_rng(1)
    shapes = {spec.name: spec for spec in tf.nest.flatten(model.save_spec()[0])}
    names = getattr(model, "input_names", None) or ["input_1"]
    return {
        name: generator.integers(0, 9, (12, *spec.shape[1:])).astype("int32")
        if spec.dtype == tf.int32
        else generator.normal(size=(12, *spec.shape[1:])).astype("float32")
        for name, spec in zip(names, shapes.values(), strict=True)
    }


def largest_difference(model, content, inputs):
    """Of all outputs together: each has a size of its own or else a value."""
    given = inputs if len(inputs) > 1 else next(iter(inputs.values()))
    expected = [np.asarray(one) for one in tf.nest.flatten(model.predict(given, verbose=0))]
    found = list(load(content).predict(inputs).values())
    assert sorted(one.size for one in expected) == sorted(one.size for one in found)
    return max(
        min(np.abs(one.reshape(-1) - other.reshape(-1)).max() for other in found if other.size == one.size)
        for one in expected
    )


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in NETWORKS]
)
def test_a_network_of_keras_becomes_binary_and_converts(name):
    tf.keras.utils.set_random_seed(0)
    build, expected = NETWORKS[name]
    model = build()
    twin = lqe.binarize(model)
    changes = {row.name.split("/")[-1]: row for row in twin.binarization.layers if row.weights}
    assert {name for name, row in changes.items() if row.binary} == expected
    assert all(row.reason for row in changes.values() if not row.binary)
    as_if_trained(twin)
    report = export.convert(twin)
    rows = {row.name.split("/")[-1]: row for row in report.layers}
    for layer in expected - {name for name, row in changes.items() if not row.binary_input}:
        assert rows[layer].binary and rows[layer].weights == "1 bit" and not rows[layer].reason
    assert largest_difference(twin, report.tflite, examples(twin)) <= 1e-4
