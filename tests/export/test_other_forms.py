"""Networks of the forms that others build: made binary, trained with a BitLogger, converted, verified and read back."""

import json

import larq
import numpy as np
import pytest
import tensorflow as tf
from small import precision, slow_but
from stacks import IMAGE, as_if_trained, conv, head, inputs_of, network_on, normalized, quant, rows, stack

import larq_equalbits as lqe
from larq_equalbits import callbacks, export

layers = tf.keras.layers
on_image = network_on(*IMAGE)
SIGN = larq.quantizers.SteSign


def binary(**options):
    clipped = {"kernel_quantizer": "ste_sign", "kernel_constraint": "weight_clip"}
    return quant("Conv2D", 8, 3, **{"padding": "same", **clipped, **options})


def stem(image):
    return normalized(conv(name="stem"), image)


@on_image
def prelu_before_signs(image):
    x = stem(image)
    for index in range(2):
        x = layers.Add()([x, normalized(binary(name=f"body{index}"), x)])
        x = layers.PReLU(tf.keras.initializers.Constant(0.3), shared_axes=[1, 2])(x)
    return head(x)


@on_image
def shared_normalization(image):
    x, norm = stem(image), layers.BatchNormalization(name="shared")
    for index in range(3):
        x = norm(binary(name=f"body{index}", pad_values=index % 2)(x))
    return head(x)


def mappings():
    given = {"left": tf.keras.Input(IMAGE, name="left"), "right": tf.keras.Input((5,), name="right")}
    x = layers.GlobalAveragePooling2D()(normalized(conv(name="body"), stem(given["left"])))
    y = layers.Dense(16, name="of_right")(given["right"])
    x = normalized(layers.Dense(16, name="joined"), layers.Concatenate()([x, y]))
    outputs = {"z": layers.Dense(3, name="z")(x), "a": layers.Dense(1, "sigmoid", name="a")(x)}
    return tf.keras.Model(given, outputs)


@on_image
def separable_after_a_sign(image):
    options = {"kernel_quantizer": "ste_sign", "input_quantizer": None, "padding": "same"}
    return head(normalized(quant("SeparableConv2D", 8, 3, name="body", **options), SIGN()(stem(image))))


@on_image
def sums_and_rows_of_signs(image):
    x = stem(image)
    signs = [SIGN()(x), SIGN()(normalized(binary(name="body"), x))]
    added = binary(input_quantizer=None, name="of_sums")(layers.Add()(signs))
    joined = binary(input_quantizer=None, name="of_rows")(layers.Concatenate()(signs))
    return head(normalized(layers.Concatenate(), [added, joined]))


@on_image
def dilated_on_small_images(image):
    x = layers.MaxPooling2D()(stem(image))
    for dilation in (2, 3):
        x = normalized(binary(dilation_rate=dilation, name=f"dilated{dilation}"), x)
    return head(x)


@network_on(32, 2)
def one_dimension(x):
    for index, padding in enumerate(("same", "causal", "same")):
        options = {"strides": 2, "padding": padding, "use_bias": False}
        x = normalized(layers.Conv1D(8, 5, name=f"conv{index}", **options), x)
    return layers.Dense(3, name="head")(layers.GlobalMaxPooling1D()(x))


@on_image
def transformer(image):
    x = layers.Reshape((16, 16))(layers.Conv2D(16, 2, strides=2, name="patches")(image))
    x = layers.LayerNormalization()(x + layers.MultiHeadAttention(2, 8, name="attention")(x, x))
    more = layers.Dense(16, name="contract")(layers.Dense(32, "swish", name="expand")(x))
    x = layers.GlobalAveragePooling1D()(layers.LayerNormalization()(x + more))
    return layers.Dense(3, name="head")(x)


@network_on(6, 4)
def masked_steps(steps):
    x = layers.Bidirectional(layers.LSTM(4, return_sequences=True))(layers.Masking()(steps))
    x = layers.TimeDistributed(layers.Dense(8, name="body"))(x)
    return layers.Dense(3, name="head")(layers.GRU(4)(x))


@network_on(6, dtype="int32")
def masked_words(words):
    x = layers.Bidirectional(layers.GRU(4))(layers.Embedding(9, 8, mask_zero=True)(words))
    return layers.Dense(3, name="head")(normalized(layers.Dense(8, name="body"), x))


@network_on(*IMAGE, dtype="uint8")
def bytes_of_pixels(image):
    x = layers.Rescaling(1 / 127.5, -1)(tf.cast(image, "float32"))
    return head(normalized(conv(name="body"), stem(x)))


def sequentials_inside():
    def part(*inside):
        return tf.keras.Sequential(list(inside))

    inner = part(conv(name="inner"), layers.BatchNormalization(), layers.ReLU())
    outer = part(inner, conv(name="outer"), layers.BatchNormalization(), part(layers.ReLU()))
    return stack(part(conv(name="stem")), outer, layers.Flatten(), layers.Dense(3, name="head"), shape=IMAGE)


@on_image
def channels_first(image):
    x = layers.BatchNormalization(axis=1)(layers.Permute((3, 1, 2))(stem(image)))
    x = layers.Conv2D(8, 1, data_format="channels_first", name="body")(x)
    return head(layers.Permute((2, 3, 1))(x))


class Normalized(layers.Wrapper):
    """Weight normalization: direction and length of each filter apart."""

    def build(self, shape):
        super().build(shape)
        self.length = self.add_weight("length", (self.layer.kernel.shape[-1],), initializer="ones")
        self.direction = self.layer.kernel

    def call(self, x):
        axes = list(range(len(self.direction.shape) - 1))
        self.layer.kernel = self.length * tf.nn.l2_normalize(self.direction, axes)
        return self.layer(x)


@on_image
def weight_normalization(image):
    x = normalized(Normalized(conv(name="normalized")), stem(image))
    return head(normalized(conv(name="body"), x))


@on_image
def efficient(image):
    x = stem(image)
    y = layers.Activation("swish")(normalized(conv(32, 1, name="expand"), x))
    y = normalized(layers.DepthwiseConv2D(3, padding="same", use_bias=False, name="depthwise"), y)
    y = layers.Activation("swish")(y)
    gate = layers.Reshape((1, 1, 32))(layers.GlobalAveragePooling2D()(y))
    gate = conv(8, 1, activation="swish", name="squeeze")(gate)
    gate = conv(32, 1, activation="sigmoid", name="excite")(gate)
    y = normalized(conv(8, 1, name="project"), layers.Multiply()([y, gate]))
    return head(layers.Add()([x, layers.Dropout(0.2, noise_shape=(None, 1, 1, 1))(y)]))


@on_image
def plain(image):
    return head(normalized(conv(name="body"), stem(image)))


def mixed_precision():
    with precision("mixed_float16"):
        return plain()


class OwnStep(tf.keras.Model):
    """Trains by a step of its own."""

    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            loss = self.compiled_loss(y, self(x, training=True))
        self.optimizer.minimize(loss, self.trainable_variables, tape)
        return {"loss": loss}


def own_step():
    model = plain()
    return OwnStep(model.inputs, model.outputs)


@on_image
def recurrent_head(image):
    x = layers.TimeDistributed(layers.Flatten())(normalized(conv(name="body"), stem(image)))
    return head(layers.Reshape((1, 1, 4))(layers.LSTM(4)(x)))


@network_on(12, 12, 3)
def preprocessing(image):
    normalization = layers.Normalization(mean=[0.1, 0.2, 0.3], variance=[1.0, 2.0, 3.0])
    x = layers.CenterCrop(8, 8)(layers.Resizing(10, 10)(normalization(image)))
    return head(normalized(conv(name="body"), stem(x)))


@on_image
def hourglass(image):
    x = stem(image)
    y = normalized(conv(name="down", strides=2), x)
    y = normalized(layers.Conv2DTranspose(8, 3, 2, "same", use_bias=False, name="up"), y)
    return head(normalized(conv(name="joined"), layers.Add()([x, y])))


@network_on(4, 6, 6, 2)
def volumes(x):
    for index in range(2):
        x = normalized(layers.Conv3D(8, 3, padding="same", name=f"conv{index}"), x)
    return layers.Dense(3, name="head")(layers.GlobalAveragePooling3D()(x))


# Network: what becomes binary.
FORMS = {
    prelu_before_signs: {"body0", "body1"},
    shared_normalization: {"body0", "body1", "body2"},
    mappings: {"body", "joined"},
    separable_after_a_sign: {"body"},
    sums_and_rows_of_signs: {"body", "of_sums", "of_rows"},
    dilated_on_small_images: {"dilated2", "dilated3"},
    one_dimension: {"conv1", "conv2"},
    transformer: {"expand", "contract"},
    masked_steps: {"body"},
    masked_words: {"body"},
    bytes_of_pixels: {"body"},
    sequentials_inside: {"inner", "outer"},
    channels_first: {"body"},
    weight_normalization: {"body"},
    efficient: {"expand", "squeeze", "excite", "project"},
    mixed_precision: {"body"},
    own_step: {"body"},
    recurrent_head: {"body"},
    preprocessing: {"body"},
    hourglass: {"down", "up", "joined"},
    volumes: {"conv1"},
}
# What of it LCE has no binary operator for.
FLOAT = {sums_and_rows_of_signs: {"of_sums"}, channels_first: {"body"}, hourglass: {"up"}, volumes: {"conv1"}}


@pytest.mark.parametrize("build", slow_but({shared_normalization}, FORMS), ids=lambda build: build.__name__)
def test_a_network_of_another_form_is_binary_from_training_to_file(build, tmp_path):
    changed = FORMS[build]
    operators = changed - FLOAT.get(build, set())
    twin = lqe.binarize(build())
    changes = rows(twin.binarization)
    assert {layer for layer, row in changes.items() if row.binary} == changed
    assert all(row.reason for row in changes.values() if row.weights and not row.binary)
    inputs = inputs_of(twin)
    labels = tf.nest.map_structure(np.zeros_like, twin.predict(inputs, verbose=0))
    twin.compile("adam", "mse")
    history = twin.fit(inputs, labels, epochs=2, verbose=0, callbacks=[callbacks.BitLogger()]).history
    assert history["bit_entropy"][-1] == pytest.approx(1, abs=1e-3)
    logged = {part for key in history if key.endswith("/bit_flips") for part in key.split("/")[:-1]}
    assert changed <= logged
    as_if_trained(twin)
    path = tmp_path / "model.tflite"
    report = export.convert(twin, path, strict=bool(operators))
    assert {layer for layer, row in rows(report).items() if row.binary} == operators
    assert all(row.reason for row in report.layers if not row.binary)
    found = export.verify(twin, path, inputs)
    assert found.within(0.0) and found.max_abs_diff <= 1e-3
    audit = export.audit(path)
    # A row for each operator there, and for each layer here.
    for row in report.layers:
        shown = [one for one in audit.layers if one.name == row.name]
        assert sum(one.bytes for one in shown) == row.bytes and shown[0].reason == row.reason
    assert sum(row.bytes for row in report.layers) + audit.structure == path.stat().st_size


@pytest.mark.parametrize("owners", [None, [1, 2, 3], "stem"])
def test_names_that_are_none_beside_a_file_are_left_alone(owners, tmp_path):
    path = tmp_path / "model.tflite"
    export.convert(stack(layers.Dense(8, name="named"), shape=(4,)), path)
    beside = path.with_suffix(".json")
    content = json.loads(beside.read_text())
    content["report"]["owners"] = owners
    beside.write_text(json.dumps(content))
    assert all(row.name != "named" for row in export.audit(path).layers)
