"""Networks of the forms that people build with Keras and Larq, and which of their layers become binary."""

import larq
import numpy as np
import tensorflow as tf
from small import precision
from stacks import IMAGE, conv, head, network_on, normalized, quant, stack

layers = tf.keras.layers
on_image = network_on(*IMAGE)
SIGN = larq.quantizers.SteSign


def binary(**options):
    clipped = {"kernel_quantizer": "ste_sign", "kernel_constraint": "weight_clip"}
    return quant("Conv2D", 8, 3, **{"padding": "same", **clipped, **options})


def stem(image):
    return normalized(conv(name="stem"), image)


def trunk(image):
    return normalized(conv(name="body"), stem(image))


@on_image
def u_net(image):
    upper = layers.ReLU()(stem(image))
    x = normalized(conv(name="down"), layers.MaxPooling2D()(upper))
    x = normalized(conv(name="up"), layers.Concatenate()([layers.UpSampling2D()(x), upper]))
    return layers.Conv2D(1, 1, activation="sigmoid", name="pixels")(x)


@network_on(3, *IMAGE)
def frames(x):
    for name in ("stem", "body"):
        inner = network_on(*x.shape[2:])(lambda frame, name=name: normalized(conv(4, name=name), frame))()
        x = layers.TimeDistributed(inner, name=f"each_{name}")(x)
    x = layers.TimeDistributed(layers.GlobalAveragePooling2D())(x)
    return layers.Dense(2, name="head")(layers.Bidirectional(layers.GRU(4))(x))


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
    x, shared = layers.ReLU()(stem(image)), conv(name="shared")
    for _ in range(3):
        x = normalized(shared, x)
    return head(x)


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


def subclassed_with_an_auxiliary_head(kind=Subclassed):
    model = kind()
    for training in (True, False):
        model(np.zeros((1, *IMAGE), "float32"), training=training)
    return model


def subclassed_with_a_function_of_its_own():
    return subclassed_with_an_auxiliary_head(Compiled)


@on_image
def residual_without_a_head(x):
    for index in range(4):
        x = layers.Add()([x, normalized(conv(3, name=f"conv{index}"), x)])
    return x


@on_image
def dense_connections(image):
    x = layers.ReLU()(stem(image))
    for index in range(2):
        x = layers.Concatenate()([x, conv(4, name=f"grow{index}")(layers.BatchNormalization()(x))])
    return head(x)


@on_image
def separable(image):
    body = layers.SeparableConv2D(8, 3, padding="same", use_bias=False, name="body")
    return head(normalized(body, layers.ReLU()(stem(image))))


@on_image
def separable_after_a_sign(image):
    options = {"kernel_quantizer": "ste_sign", "input_quantizer": None, "padding": "same"}
    return head(normalized(quant("SeparableConv2D", 8, 3, name="body", **options), SIGN()(stem(image))))


@on_image
def input_passed_on(image):
    return [head(trunk(image)), layers.Rescaling(2.0, name="doubled")(image)]


@network_on(16)
def autoencoder(given):
    x = normalized(layers.Dense(12, name="encode"), given)
    code = layers.BatchNormalization(name="code")(layers.Dense(8, name="bottleneck")(x))
    return [layers.Dense(16, name="restored")(normalized(layers.Dense(12, name="decode"), code)), code]


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
def sums_and_rows_of_signs(image):
    x = stem(image)
    signs = [SIGN()(x), SIGN()(normalized(binary(name="body"), x))]
    added = binary(input_quantizer=None, name="of_sums")(layers.Add()(signs))
    joined = binary(input_quantizer=None, name="of_rows")(layers.Concatenate()(signs))
    return head(normalized(layers.Concatenate(), [added, joined]))


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
    gate = layers.Dense(8, "swish", name="squeeze")(layers.GlobalAveragePooling2D(keepdims=True)(y))
    gate = layers.Dense(32, "sigmoid", name="excite")(gate)
    y = normalized(conv(8, 1, name="project"), layers.Multiply()([y, gate]))
    return head(layers.Add()([x, layers.Dropout(0.2, noise_shape=(None, 1, 1, 1))(y)]))


@on_image
def plain(image):
    return head(trunk(image))


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
    x = layers.TimeDistributed(layers.Flatten())(trunk(image))
    return head(layers.Reshape((1, 1, 4))(layers.LSTM(4)(x)))


@network_on(12, 12, 3, dtype="uint8")
def prepared_images(image):
    x = layers.Rescaling(1 / 127.5, -1)(tf.cast(image, "float32"))
    x = layers.RandomRotation(0.1)(layers.RandomFlip("horizontal")(x))
    x = layers.Normalization(mean=[0.1, 0.2, 0.3], variance=[1.0, 2.0, 3.0])(x)
    x = layers.Dropout(0.3)(trunk(layers.CenterCrop(8, 8)(layers.Resizing(10, 10)(x))))
    return layers.Dense(3, "softmax", name="head")(layers.GlobalMaxPooling2D()(x))


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
    u_net: {"down", "up"},
    frames: {"body"},
    siamese: {"body"},
    frozen_base: {"added"},
    shared_layers: {"shared"},
    subclassed_with_an_auxiliary_head: {"block0", "block1"},
    subclassed_with_a_function_of_its_own: {"block0"},
    residual_without_a_head: {"conv1", "conv2"},
    dense_connections: {"grow0", "grow1"},
    separable: {"body"},
    separable_after_a_sign: {"body"},
    input_passed_on: {"body"},
    autoencoder: {"decode"},
    shared_normalization: {"body0", "body1", "body2"},
    mappings: {"body", "joined"},
    sums_and_rows_of_signs: {"body", "of_sums", "of_rows"},
    one_dimension: {"conv1", "conv2"},
    transformer: {"expand", "contract"},
    masked_steps: {"body"},
    masked_words: {"body"},
    sequentials_inside: {"inner", "outer"},
    channels_first: {"body"},
    weight_normalization: {"body"},
    efficient: {"expand", "squeeze", "excite", "project"},
    mixed_precision: {"body"},
    own_step: {"body"},
    recurrent_head: {"body"},
    prepared_images: {"body"},
    hourglass: {"down", "up", "joined"},
    volumes: {"conv1"},
}
# What of it LCE has no binary operator for.
FLOAT = {sums_and_rows_of_signs: {"of_sums"}, channels_first: {"body"}, hourglass: {"up"}, volumes: {"conv1"}}
# The rest takes longer together than a default run should.
QUICK = {u_net, siamese, frozen_base, prepared_images, input_passed_on, shared_normalization, mappings}
QUICK |= {one_dimension, subclassed_with_an_auxiliary_head}
