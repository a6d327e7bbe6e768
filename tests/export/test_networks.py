"""Two dozen shapes of network, made binary, converted and compared with Keras."""

import numpy as np
import pytest
import tensorflow as tf
from small import slow_but
from stacks import IMAGE, as_if_trained, conv, head, inputs_of, network_on, normalized, rows, stack

import larq_equalbits as lqe
from larq_equalbits import export
from larq_equalbits.export.interpreter import load

layers = tf.keras.layers
on_image = network_on(*IMAGE)


def block(x, name):
    return layers.ReLU()(normalized(conv(name=name), x))


def trunk(image):
    return normalized(conv(name="body"), block(image, "stem"))


def flat_head(x):
    return layers.Dense(2, name="head")(layers.Flatten()(x))


@on_image
def one_output(image):
    return head(trunk(image), 1, "sigmoid")


@on_image
def two_heads(image):
    x = layers.Flatten()(trunk(image))
    boxes = layers.Dense(4, name="boxes")(normalized(layers.Dense(8, name="hidden"), x))
    return {"boxes": boxes, "label": layers.Dense(3, name="label")(x)}


@on_image
def mask(image):
    return layers.Conv2D(2, 1, name="pixels")(trunk(image))


@on_image
def u_net(image):
    upper = block(image, "stem")
    x = normalized(conv(name="down"), layers.MaxPooling2D()(upper))
    x = normalized(conv(name="up"), layers.Concatenate()([layers.UpSampling2D()(x), upper]))
    return layers.Conv2D(1, 1, activation="sigmoid", name="pixels")(x)


@network_on(3, *IMAGE)
def recurrent(x, layer):
    for name in ("stem", "body"):
        inner = network_on(*x.shape[2:])(lambda frame, name=name: normalized(conv(4, name=name), frame))()
        x = layers.TimeDistributed(inner, name=f"each_{name}")(x)
    x = layers.TimeDistributed(layers.GlobalAveragePooling2D())(x)
    return layers.Dense(2, name="head")(layer(x))


def siamese():
    image = tf.keras.Input(IMAGE)
    twin = tf.keras.Model(image, layers.GlobalAveragePooling2D()(trunk(image)), name="twin")
    pair = [tf.keras.Input(IMAGE, name=name) for name in ("left", "right")]
    difference = layers.Subtract()([twin(one) for one in pair])
    return tf.keras.Model(pair, layers.Dense(1, "sigmoid", name="same")(difference))


@on_image
def frozen_base(image):
    base = tf.keras.Model(image, trunk(image), name="base")
    base.trainable = False
    return head(normalized(conv(name="added"), base(image)))


@on_image
def shared_layers(image):
    x, shared = block(image, "stem"), conv(name="shared")
    for _ in range(3):
        x = normalized(shared, x)
    return flat_head(x)


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


@on_image
def nested(image):
    features = tf.keras.Input((8, 8, 8))
    inner = tf.keras.Model(features, normalized(conv(name="inner"), features), name="inner_model")
    outer = tf.keras.Sequential([inner, conv(name="outer"), layers.BatchNormalization()], name="outer_model")
    return flat_head(outer(block(image, "stem")))


@on_image
def residual_without_a_head(x):
    for index in range(4):
        x = layers.Add()([x, normalized(conv(3, name=f"conv{index}"), x)])
    return x


@on_image
def dense_connections(image):
    x = block(image, "stem")
    for index in range(2):
        x = layers.Concatenate()([x, conv(4, name=f"grow{index}")(layers.BatchNormalization()(x))])
    return head(x)


@on_image
def gated(image):
    x = trunk(image)
    gate = layers.Dense(4, "relu", name="squeeze")(layers.GlobalAveragePooling2D(keepdims=True)(x))
    gate = layers.Dense(8, "sigmoid", name="excite")(gate)
    return flat_head(normalized(conv(name="after"), layers.Multiply()([x, gate])))


@on_image
def depthwise(image):
    x = normalized(layers.DepthwiseConv2D(3, padding="same", name="depthwise"), block(image, "stem"))
    return head(normalized(conv(size=1, name="pointwise"), x))


@on_image
def separable(image):
    body = layers.SeparableConv2D(8, 3, padding="same", use_bias=False, name="body")
    return head(normalized(body, block(image, "stem")))


@network_on(12, 4)
def sequence(words, padding="same"):
    x = normalized(layers.Conv1D(8, 3, padding=padding, name="stem"), words)
    x = normalized(layers.Conv1D(8, 3, padding=padding, use_bias=False, name="body"), x)
    return layers.Dense(2, name="head")(layers.GlobalAveragePooling1D()(x))


def two_kinds_of_input():
    image, extra = tf.keras.Input(IMAGE, name="image"), tf.keras.Input((3,), name="extra")
    x = layers.GlobalAveragePooling2D()(trunk(image))
    x = layers.Concatenate()([x, layers.Dense(4, name="of_extra")(extra)])
    x = normalized(layers.Dense(8, name="joined"), x)
    return tf.keras.Model([image, extra], layers.Dense(2, name="head")(x))


@network_on(6, dtype="int32")
def words(given):
    x = layers.Embedding(10, 8, name="embedding")(given)
    x = normalized(layers.Conv1D(8, 3, padding="same", use_bias=False, name="body"), x)
    return layers.Dense(2, name="head")(layers.GlobalMaxPooling1D()(x))


@on_image
def input_passed_on(image):
    return [head(trunk(image)), layers.Rescaling(2.0, name="doubled")(image)]


@network_on(16)
def autoencoder(given):
    x = normalized(layers.Dense(12, name="encode"), given)
    code = layers.BatchNormalization(name="code")(layers.Dense(8, name="bottleneck")(x))
    return [layers.Dense(16, name="restored")(normalized(layers.Dense(12, name="decode"), code)), code]


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


def largest_difference(model, content, inputs):
    """Of all outputs together: each has a size of its own or else a value."""
    names = getattr(model, "input_names", None) or ["input_1"]
    expected = [np.asarray(one) for one in tf.nest.flatten(model.predict(inputs, verbose=0))]
    found = list(load(content).predict(dict(zip(names, tf.nest.flatten(inputs), strict=True))).values())
    assert sorted(one.size for one in expected) == sorted(one.size for one in found)
    return max(
        min(np.abs(one.reshape(-1) - other.reshape(-1)).max() for other in found if other.size == one.size)
        for one in expected
    )


@pytest.mark.parametrize("name", slow_but(QUICK, NETWORKS))
def test_a_network_of_keras_becomes_binary_and_converts(name):
    build, expected = NETWORKS[name]
    twin = lqe.binarize(build())
    changes = {name: row for name, row in rows(twin.binarization).items() if row.weights}
    assert {name for name, row in changes.items() if row.binary} == expected
    assert all(row.reason for row in changes.values() if not row.binary)
    report = export.convert(as_if_trained(twin))
    for layer in expected - {name for name, row in changes.items() if not row.binary_input}:
        row = rows(report)[layer]
        assert row.binary and row.weights == "1 bit" and not row.reason
    assert largest_difference(twin, report.tflite, inputs_of(twin)) <= 1e-4
