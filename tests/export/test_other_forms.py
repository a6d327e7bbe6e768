"""Networks of the forms that others build: made binary, trained with a BitLogger, converted, verified and read back."""

import json

import larq
import numpy as np
import pytest
import tensorflow as tf
from stacks import as_if_trained, stack

import larq_equalbits as lqe
from larq_equalbits import callbacks, export
from larq_equalbits._errors import InputError

layers = tf.keras.layers
IMAGE = (8, 8, 3)
SIGN = larq.quantizers.SteSign


def conv(filters=16, size=3, **options):
    return layers.Conv2D(filters, size, **{"padding": "same", "use_bias": False, **options})


def binary(filters=16, size=3, **options):
    chosen = {
        "input_quantizer": "ste_sign",
        "kernel_quantizer": "ste_sign",
        "kernel_constraint": "weight_clip",
    }
    return larq.layers.QuantConv2D(
        filters, size, **{"padding": "same", "use_bias": False, **chosen, **options}
    )


def stem(image):
    return layers.BatchNormalization()(conv(name="stem")(image))


def head(x, units=3):
    return layers.Dense(units, name="head")(layers.GlobalAveragePooling2D()(x))


def of_image(body, shape=IMAGE):
    image = tf.keras.Input(shape)
    return tf.keras.Model(image, head(body(stem(image))))


def prelu_before_signs(x):
    for index in range(2):
        other = layers.BatchNormalization()(binary(name=f"body{index}")(x))
        x = layers.PReLU(tf.keras.initializers.Constant(0.3), shared_axes=[1, 2])(layers.Add()([x, other]))
    return x


def shared_normalization(x):
    norm = layers.BatchNormalization(name="shared")
    for index in range(3):
        x = norm(binary(name=f"body{index}", pad_values=index % 2)(x))
    return x


def mappings():
    given = {"left": tf.keras.Input(IMAGE, name="left"), "right": tf.keras.Input((5,), name="right")}
    x = layers.GlobalAveragePooling2D()(layers.BatchNormalization()(conv(name="body")(stem(given["left"]))))
    y = layers.Dense(16, name="of_right")(given["right"])
    x = layers.BatchNormalization()(layers.Dense(16, name="joined")(layers.Concatenate()([x, y])))
    outputs = {"z": layers.Dense(3, name="z")(x), "a": layers.Dense(1, "sigmoid", name="a")(x)}
    return tf.keras.Model(given, outputs)


def separable_after_a_sign(x):
    options = {"depthwise_quantizer": "ste_sign", "pointwise_quantizer": "ste_sign", "use_bias": False}
    x = larq.layers.QuantSeparableConv2D(8, 3, padding="same", name="body", **options)(SIGN()(x))
    return layers.BatchNormalization()(x)


def sums_and_rows_of_signs(x):
    one, other = SIGN()(x), SIGN()(layers.BatchNormalization()(binary(name="body")(x)))
    added = binary(input_quantizer=None, name="of_sums")(layers.Add()([one, other]))
    joined = binary(input_quantizer=None, name="of_rows")(layers.Concatenate()([one, other]))
    return layers.BatchNormalization()(layers.Concatenate()([added, joined]))


def dilated_on_small_images(x):
    x = layers.MaxPooling2D()(x)
    for dilation in (2, 3):
        x = layers.BatchNormalization()(binary(dilation_rate=dilation, name=f"dilated{dilation}")(x))
    return x


def one_dimension():
    x = wave = tf.keras.Input((32, 2))
    for index in range(3):
        options = {"strides": 2, "padding": "causal" if index == 1 else "same", "use_bias": False}
        x = layers.BatchNormalization()(layers.Conv1D(8, 5, name=f"conv{index}", **options)(x))
    return tf.keras.Model(wave, layers.Dense(3, name="head")(layers.GlobalMaxPooling1D()(x)))


def transformer():
    image = tf.keras.Input(IMAGE)
    x = layers.Reshape((16, 16))(layers.Conv2D(16, 2, strides=2, name="patches")(image))
    x = layers.LayerNormalization()(x + layers.MultiHeadAttention(2, 8, name="attention")(x, x))
    more = layers.Dense(16, name="contract")(layers.Dense(32, "swish", name="expand")(x))
    x = layers.GlobalAveragePooling1D()(layers.LayerNormalization()(x + more))
    return tf.keras.Model(image, layers.Dense(3, name="head")(x))


def masked_steps():
    steps = tf.keras.Input((6, 4))
    x = layers.Bidirectional(layers.LSTM(4, return_sequences=True))(layers.Masking()(steps))
    x = layers.TimeDistributed(layers.Dense(8, name="body"))(x)
    return tf.keras.Model(steps, layers.Dense(3, name="head")(layers.GRU(4)(x)))


def masked_words():
    words = tf.keras.Input((6,), dtype="int32")
    x = layers.Bidirectional(layers.GRU(4))(layers.Embedding(9, 8, mask_zero=True)(words))
    x = layers.BatchNormalization()(layers.Dense(8, name="body")(x))
    return tf.keras.Model(words, layers.Dense(3, name="head")(x))


def bytes_of_pixels():
    image = tf.keras.Input(IMAGE, dtype="uint8")
    x = layers.Rescaling(1 / 127.5, -1)(tf.cast(image, "float32"))
    return tf.keras.Model(image, head(layers.BatchNormalization()(conv(name="body")(stem(x)))))


def sequentials_inside():
    def part(*inside):
        return tf.keras.Sequential(list(inside))

    inner = part(conv(name="inner"), layers.BatchNormalization(), layers.ReLU())
    outer = part(inner, conv(name="outer"), layers.BatchNormalization(), part(layers.ReLU()))
    return stack(part(conv(name="stem")), outer, layers.Flatten(), layers.Dense(3, name="head"), shape=IMAGE)


def channels_first():
    image = tf.keras.Input(IMAGE)
    x = layers.BatchNormalization(axis=1)(layers.Permute((3, 1, 2))(stem(image)))
    return tf.keras.Model(
        image,
        head(layers.Permute((2, 3, 1))(layers.Conv2D(8, 1, data_format="channels_first", name="body")(x))),
    )


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


def weight_normalization(x):
    x = layers.BatchNormalization()(Normalized(conv(name="normalized"))(x))
    return layers.BatchNormalization()(conv(name="body")(x))


def efficient(x):
    y = layers.Activation("swish")(layers.BatchNormalization()(conv(32, 1, name="expand")(x)))
    y = layers.DepthwiseConv2D(3, padding="same", use_bias=False, name="depthwise")(y)
    y = layers.Activation("swish")(layers.BatchNormalization()(y))
    gate = layers.Reshape((1, 1, 32))(layers.GlobalAveragePooling2D()(y))
    gate = conv(32, 1, activation="sigmoid", name="excite")(
        conv(8, 1, activation="swish", name="squeeze")(gate)
    )
    y = layers.BatchNormalization()(conv(16, 1, name="project")(layers.Multiply()([y, gate])))
    return layers.Add()([x, layers.Dropout(0.2, noise_shape=(None, 1, 1, 1))(y)])


def mixed_precision():
    tf.keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        return of_image(lambda x: layers.BatchNormalization()(conv(name="body")(x)))
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")


class OwnStep(tf.keras.Model):
    """Trains by a step of its own."""

    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            loss = self.compiled_loss(y, self(x, training=True))
        self.optimizer.minimize(loss, self.trainable_variables, tape)
        return {"loss": loss}


def own_step():
    image = tf.keras.Input(IMAGE)
    return OwnStep(image, head(layers.BatchNormalization()(conv(name="body")(stem(image)))))


def recurrent_head(x):
    rows = layers.TimeDistributed(layers.Flatten())(layers.BatchNormalization()(conv(name="body")(x)))
    return layers.Reshape((1, 1, 4))(layers.LSTM(4)(rows))


def preprocessing():
    normalization = layers.Normalization(mean=[0.1, 0.2, 0.3], variance=[1.0, 2.0, 3.0])
    image = tf.keras.Input((12, 12, 3))
    x = layers.CenterCrop(8, 8)(layers.Resizing(10, 10)(normalization(image)))
    return tf.keras.Model(image, head(layers.BatchNormalization()(conv(name="body")(stem(x)))))


def hourglass(x):
    y = layers.BatchNormalization()(conv(name="down", strides=2)(x))
    y = layers.BatchNormalization()(layers.Conv2DTranspose(16, 3, 2, "same", use_bias=False, name="up")(y))
    return layers.BatchNormalization()(conv(name="joined")(layers.Add()([x, y])))


def volumes():
    x = volume = tf.keras.Input((4, 6, 6, 2))
    for index in range(2):
        x = layers.BatchNormalization()(layers.Conv3D(8, 3, padding="same", name=f"conv{index}")(x))
    return tf.keras.Model(volume, layers.Dense(3, name="head")(layers.GlobalAveragePooling3D()(x)))


# name: (network, what becomes binary, what LCE runs as binary operators)
FORMS = {
    "PReLU before signs": (lambda: of_image(prelu_before_signs), {"body0", "body1"}, {"body0", "body1"}),
    "shared normalization": (
        lambda: of_image(shared_normalization),
        {"body0", "body1", "body2"},
        {"body0", "body1", "body2"},
    ),
    "mappings": (mappings, {"body", "joined"}, {"body", "joined"}),
    "separable after a sign": (lambda: of_image(separable_after_a_sign), {"body"}, {"body"}),
    "sums and rows of signs": (
        lambda: of_image(sums_and_rows_of_signs),
        {"body", "of_sums", "of_rows"},
        {"body", "of_rows"},
    ),
    "dilated on small images": (
        lambda: of_image(dilated_on_small_images),
        {"dilated2", "dilated3"},
        {"dilated2", "dilated3"},
    ),
    "one dimension": (one_dimension, {"conv1", "conv2"}, {"conv1", "conv2"}),
    "transformer": (transformer, {"expand", "contract"}, {"expand", "contract"}),
    "masked steps": (masked_steps, {"body"}, {"body"}),
    "masked words": (masked_words, {"body"}, {"body"}),
    "bytes of pixels": (bytes_of_pixels, {"body"}, {"body"}),
    "Sequentials inside": (sequentials_inside, {"inner", "outer"}, {"inner", "outer"}),
    "channels first": (channels_first, {"body"}, set()),
    "weight normalization": (lambda: of_image(weight_normalization), {"body"}, {"body"}),
    "EfficientNet's block": (
        lambda: of_image(efficient),
        {"expand", "squeeze", "excite", "project"},
        {"expand", "squeeze", "excite", "project"},
    ),
    "mixed precision": (mixed_precision, {"body"}, {"body"}),
    "a step of its own": (own_step, {"body"}, {"body"}),
    "recurrent head": (lambda: of_image(recurrent_head), {"body"}, {"body"}),
    "preprocessing": (preprocessing, {"body"}, {"body"}),
    "hourglass": (lambda: of_image(hourglass), {"down", "up", "joined"}, {"down", "joined"}),
    "volumes": (volumes, {"conv1"}, set()),
}
QUICK = {"shared normalization"}


def inputs_of(model, count=12):
    generator = np.random.default_rng(1)

    def values(spec):
        shape = (count, *spec.shape[1:])
        if spec.dtype.is_floating:
            return generator.normal(size=shape).astype("float32")
        return generator.integers(0, 256 if spec.dtype == tf.uint8 else 9, shape).astype(spec.dtype.name)

    return tf.nest.map_structure(values, model.save_spec()[0][0])


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in FORMS]
)
def test_a_network_of_another_form_is_binary_from_training_to_file(name, tmp_path):
    tf.keras.utils.set_random_seed(0)
    build, changed, operators = FORMS[name]
    twin = lqe.binarize(build())
    changes = {row.name.split("/")[-1]: row for row in twin.binarization.layers}
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
    rows = {row.name.split("/")[-1]: row for row in report.layers}
    assert {layer for layer, row in rows.items() if row.binary} == operators
    assert all(row.reason for row in report.layers if not row.binary)
    found = export.verify(twin, path, inputs)
    assert found.within(0.0) and found.max_abs_diff <= 1e-3
    audit = export.audit(path)
    # A row for each operator there, and for each layer here.
    for row in report.layers:
        shown = [one for one in audit.layers if one.name == row.name]
        assert sum(one.bytes for one in shown) == row.bytes and shown[0].reason == row.reason
    assert sum(row.bytes for row in report.layers) + audit.structure == path.stat().st_size


def test_an_operator_that_no_interpreter_has_is_named():
    model = tf.keras.Sequential([layers.Dense(8, "gelu", input_shape=(4,))])
    with pytest.raises(InputError, match=r"Erfc .*approximate=True"):
        export.convert(model)


@pytest.mark.parametrize("owners", [None, [1, 2, 3], "stem"])
def test_names_that_are_none_beside_a_file_are_left_alone(owners, tmp_path):
    path = tmp_path / "model.tflite"
    export.convert(tf.keras.Sequential([layers.Dense(8, input_shape=(4,), name="named")]), path)
    beside = path.with_suffix(".json")
    content = json.loads(beside.read_text())
    content["report"]["owners"] = owners
    beside.write_text(json.dumps(content))
    assert all(row.name != "named" for row in export.audit(path).layers)


def test_groups_after_a_sign_that_is_a_layer_are_refused():
    image = tf.keras.Input((8, 8, 64))
    x = binary(groups=2, input_quantizer=None, name="grouped")(SIGN()(image))
    with pytest.raises(
        InputError, match="'grouped' has 2 groups of 32 channels, which converts, and then fails"
    ):
        export.convert(tf.keras.Model(image, x))
