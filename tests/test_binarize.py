import json

import larq as lq
import numpy as np
import pytest
import tensorflow as tf
from small import precision, stack

import larq_equalbits as lqe
from larq_equalbits import data, export, pruning
from larq_equalbits._bits.kernels import quantized_kernels
from larq_equalbits._errors import InputError
from larq_equalbits.binarization import BinarizationReport
from larq_equalbits.quantizers import BiHalf

L = tf.keras.layers
IMAGE = (8, 8, 3)


def rows(twin):
    return {row.name: row for row in twin.binarization.layers}


def binary_layers(twin):
    return [name for name, row in rows(twin).items() if row.binary]


def convolutional():
    image = tf.keras.Input(IMAGE)
    x = L.Conv2D(4, 3, padding="same", name="first")(image)
    x = L.Activation("relu", name="act")(L.BatchNormalization(name="norm")(x))
    x = L.Conv2D(4, 3, padding="same", name="middle")(x)
    return tf.keras.Model(image, L.Dense(2, name="last")(L.GlobalAveragePooling2D()(x)))


def assert_same_weights(model, twin):
    assert [variable.name for variable in twin.weights] == [variable.name for variable in model.weights]
    np.testing.assert_equal(model.get_weights(), twin.get_weights())


def around(layer, *shape):
    """A model in which `layer` is neither the first nor the last with a kernel."""
    return stack(L.Dense(shape[-1], name="first"), layer, L.Flatten(), L.Dense(2, name="last"), shape=shape)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (L.Conv1D(4, 3, padding="same"), (8, 3)),
        (L.Conv1D(4, 3, padding="causal"), (8, 3)),
        (L.Conv2D(4, 3, padding="same", strides=2), IMAGE),
        (L.Conv2D(6, 3, groups=3, activation=L.PReLU()), IMAGE),
        (L.Conv3D(2, 3, padding="same"), (4, 4, 4, 2)),
        (L.Conv2DTranspose(4, 3, strides=2), IMAGE),
        (L.Conv3DTranspose(2, 3), (4, 4, 4, 2)),
        (L.DepthwiseConv2D(3, padding="same"), IMAGE),
        (L.SeparableConv1D(4, 3), (8, 3)),
        (L.SeparableConv2D(4, 3, depth_multiplier=2, padding="same"), IMAGE),
        (L.LocallyConnected1D(4, 3), (8, 3)),
        (L.LocallyConnected2D(4, 3), IMAGE),
        (L.Dense(4, use_bias=False), (5,)),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, L.Layer) else "",
)
def test_every_kind_of_layer_has_a_twin(layer, shape):
    model = around(layer, *shape)
    for variable in model.weights:
        variable.assign(np.random.default_rng(0).normal(size=variable.shape))
    inputs = np.random.default_rng(1).normal(size=(2, *shape)).astype("float32")
    before = model.predict(inputs, verbose=0)
    twin = lqe.binarize(model, only=[layer.name])
    row = rows(twin)[layer.name]
    assert (row.before, row.after) == (type(layer).__name__, f"Quant{type(layer).__name__}")
    assert row.binary and row.binary_input
    kernels = [weight for weight in layer.weights if "kernel" in weight.name]
    assert row.weights == sum(int(np.prod(kernel.shape)) for kernel in kernels)
    assert_same_weights(model, twin)
    for kernel in quantized_kernels(twin):
        assert set(np.unique(kernel.codes())) == {-1, 1}
    assert len(quantized_kernels(twin)) == (2 if "Separable" in row.before else 1)
    assert twin.predict(inputs, verbose=0).shape == before.shape
    np.testing.assert_array_equal(model.predict(inputs, verbose=0), before)
    padded = 1.0 if getattr(layer, "padding", "") == "same" else 0.0
    assert getattr(twin.get_layer(layer.name), "pad_values", padded) == padded


def test_first_and_last_stay_float_and_the_report_says_why(tmp_path):
    twin = lqe.binarize(convolutional())
    changes = rows(twin)
    assert binary_layers(twin) == ["middle"]
    assert (changes["first"].reason, changes["last"].reason) == ("first layer", "last layer")
    report = twin.binarization
    assert report.binary_share == pytest.approx(144 / (108 + 144 + 8))
    assert BinarizationReport.from_json(report.to_json()) == report
    assert json.loads(report.to_json())["binary_share"] == report.binary_share
    text = str(report)
    assert "QuantConv2D" in text and "last layer" in text and "% of the weights in kernels are binary" in text
    with pytest.raises(InputError, match="binarization report"):
        BinarizationReport.from_json("{}")
    twin.save(tmp_path / "twin.keras")
    again = tf.keras.models.load_model(tmp_path / "twin.keras")
    assert [kernel.name for kernel in quantized_kernels(again)] == ["middle"]


def test_all_layers_can_be_made_binary_and_the_image_stays_float():
    twin = lqe.binarize(convolutional(), skip=())
    assert all(row.binary for row in twin.binarization.layers if row.weights)
    assert twin.get_layer("first").input_quantizer is None
    assert rows(twin)["first"].reason == "takes the model's input"
    assert twin.get_layer("last").input_quantizer is not None


def test_layers_are_chosen_by_name_or_by_a_function():
    def binary(**options):
        return binary_layers(lqe.binarize(convolutional(), **options))

    assert binary(skip=["middle"]) == ["first", "last"]
    assert binary(skip=lambda layer: isinstance(layer, L.Dense)) == ["first", "middle"]
    assert binary(only=["last"]) == ["last"]
    assert binary(only=lambda layer: isinstance(layer, L.Conv2D), skip=["first"]) == ["middle"]


@pytest.mark.parametrize("input_quantizer", ["ste_sign", "approx_sign", None])
def test_activations_are_binary_or_float(input_quantizer):
    twin = lqe.binarize(convolutional(), BiHalf(scale="mean_abs"), input_quantizer)
    middle = twin.get_layer("middle")
    kind = {"ste_sign": "SteSign", "approx_sign": "ApproxSign", None: "NoneType"}[input_quantizer]
    assert type(middle.input_quantizer).__name__ == kind
    assert middle.pad_values == (0.0 if input_quantizer is None else 1.0)
    assert twin.get_layer("act").activation.__name__ == ("relu" if input_quantizer is None else "linear")


@pytest.mark.parametrize(("quantizer", "clipped"), [("ste_sign", True), ("bi_half", False), ("siman", False)])
def test_a_clipped_gradient_brings_clipped_weights(quantizer, clipped):
    middle = lqe.binarize(convolutional(), quantizer).get_layer("middle")
    assert (middle.kernel_constraint is not None) is clipped


def test_each_layer_gets_a_quantizer_of_its_own():
    quantizer = BiHalf(positive_ratio=0.3, metrics=["flip_ratio"])
    twin = lqe.binarize(convolutional(), quantizer, skip=())
    quantizers = [kernel.quantizer for kernel in quantized_kernels(twin)]
    assert [(one.positive_ratio, hasattr(one, "flip_ratio")) for one in quantizers] == [(0.3, True)] * 3
    assert len({id(one) for one in (*quantizers, quantizer)}) == 4
    assert len({one.flip_ratio.name for one in quantizers}) == 3


BETWEEN = {
    "pooling": lambda x: L.MaxPooling2D()(L.Dropout(0.1)(x)),
    "padding": lambda x: L.ZeroPadding2D()(x),
    "adding": lambda x: L.Add()([x, L.AveragePooling2D(3, 1, "same")(x)]),
    "concatenating": lambda x: L.Concatenate()([L.BatchNormalization()(x), x]),
    "splitting": lambda x: tf.split(x, 2, axis=-1)[1],
    "splitting unevenly": lambda x: tf.split(x, [1, 3], axis=-1)[1],
    "slicing": lambda x: tf.slice(x, [0, 0, 0, 1], [-1, -1, -1, 2]),
    "indexing": lambda x: x[..., 1::2],
    "unstacking": lambda x: tf.stack(tf.unstack(x, axis=-1)[::2], axis=-1),
    "gating": lambda x: L.Multiply()([x, L.Activation("sigmoid")(L.GlobalMaxPooling2D(keepdims=True)(x))]),
}


def between(source, path=lambda x: x):
    image = tf.keras.Input(IMAGE)
    x = L.Conv2D(4, 3, name="first")(image)
    x = L.Conv2D(4, 1, name="middle")(path(source(x)))
    return tf.keras.Model(image, L.Dense(2, name="last")(L.Flatten()(x)))


@pytest.mark.parametrize("path", BETWEEN)
def test_a_relu_that_reaches_a_sign_is_replaced(path):
    twin = lqe.binarize(between(L.ReLU(6.0, name="relu"), BETWEEN[path]), rectifier="tanh")
    assert (rows(twin)["relu"].before, rows(twin)["relu"].after) == ("ReLU", "Activation")
    assert twin.get_layer("relu").activation is tf.keras.activations.tanh
    assert twin.get_layer("middle").input_quantizer is not None


@pytest.mark.parametrize("source", [L.Conv2D(4, 1, activation="relu"), tf.nn.relu])
def test_a_relu_in_a_layer_or_a_function_is_replaced(source):
    images = np.random.default_rng(0).normal(size=(4, *IMAGE)).astype("float32")
    twin = lqe.binarize(between(source))
    assert [row for row in twin.binarization.layers if "ReLU replaced" in row.reason]
    inputs = tf.keras.Model(twin.input, twin.get_layer("middle").input).predict(images, verbose=0)
    assert (inputs < 0).any()


def test_a_relu_after_which_signs_differ_stays():
    twin = lqe.binarize(between(L.ReLU(6.0, name="relu"), L.BatchNormalization()))
    assert "relu" not in rows(twin)
    assert isinstance(twin.get_layer("relu"), L.ReLU)
    leaky = lqe.binarize(between(L.ReLU(negative_slope=0.1, name="relu")))
    assert isinstance(leaky.get_layer("relu"), L.ReLU)


def test_an_input_that_nothing_makes_negative_stays_float():
    twin = lqe.binarize(between(L.Activation("sigmoid", name="relu")))
    row = rows(twin)["middle"]
    assert row.binary and not row.binary_input
    assert row.reason == "input is never negative, by relu"


def test_a_relu_can_be_kept():
    twin = lqe.binarize(between(L.ReLU(6.0, name="relu")), rectifier=None)
    assert isinstance(twin.get_layer("relu"), L.ReLU)
    assert rows(twin)["middle"].reason == "input is never negative: its codes are all +1"


def larq_model():
    separable = {"depthwise_quantizer": "ste_sign", "pointwise_quantizer": "ste_sign", "pad_values": 0.0}
    separable |= {"input_quantizer": "approx_sign", "padding": "same", "name": "separable"}
    first = {"kernel_quantizer": "ste_sign", "kernel_constraint": "weight_clip", "name": "binary_first"}
    last = {"input_quantizer": "ste_sign", "kernel_quantizer": "dorefa_quantizer", "name": "last"}
    return stack(
        lq.layers.QuantConv2D(4, 3, **first),
        lq.layers.QuantSeparableConv2D(4, 3, **separable),
        lq.layers.QuantConv2D(4, 3, name="float_in_larq"),
        L.Flatten(),
        lq.layers.QuantDense(2, **last),
    )


def test_larqs_quantizers_are_replaced():
    model = larq_model()
    twin = lqe.binarize(model, "siman")
    assert {type(kernel.quantizer).__name__ for kernel in quantized_kernels(twin)} == {"SiMaN"}
    assert len(quantized_kernels(twin)) == 4
    assert rows(twin)["float_in_larq"].reason == "without a quantizer in a network of Larq's"
    assert len(quantized_kernels(lqe.binarize(model, "siman", only=lambda layer: True))) == 5
    assert twin.get_layer("binary_first").input_quantizer is None
    assert rows(twin)["binary_first"].reason == "input was float"
    assert type(twin.get_layer("separable").input_quantizer).__name__ == "SteSign"
    assert twin.get_layer("separable").pad_values == 0.0
    assert_same_weights(model, twin)
    assert {type(kernel.quantizer).__name__ for kernel in quantized_kernels(model)} != {"SiMaN"}
    assert lqe.binarize(model, input_quantizer=None).get_layer("separable").input_quantizer is None


def test_a_sign_that_is_a_layer_stays():
    model = stack(
        L.Conv2D(8, 3, name="stem"),
        lq.quantizers.ApproxSign(),
        lq.layers.QuantConv2D(8, 3, kernel_quantizer="ste_sign", name="body"),
        L.Flatten(),
        L.Dense(2, name="head"),
    )
    twin = lqe.binarize(model)
    row = rows(twin)["body"]
    assert row.binary and row.binary_input
    assert row.reason == "the sign of its input is taken before it, and stays"
    assert type(twin.layers[1]) is lq.quantizers.ApproxSign and twin.get_layer("body").input_quantizer is None


def blurred(trainable):
    """As QuickNet pools: a fixed blur filter between binary convolutions."""
    blur = L.DepthwiseConv2D(3, 2, "same", use_bias=False, trainable=trainable, name="blur")
    options = {"input_quantizer": "ste_sign", "kernel_quantizer": "ste_sign", "padding": "same"}
    return stack(
        L.Conv2D(8, 3, name="stem"),
        lq.layers.QuantConv2D(8, 3, name="one", **options),
        blur,
        lq.layers.QuantConv2D(8, 3, name="two", **options),
        L.GlobalAveragePooling2D(),
        L.Dense(2, name="head"),
    )


@pytest.mark.parametrize("skip", [None, (), ["stem", "head"]])
def test_a_fixed_blur_filter_of_a_larq_network_stays(skip):
    twin = lqe.binarize(blurred(trainable=False), skip=skip)
    assert {"one", "two"} <= set(binary_layers(twin))
    assert not rows(twin)["blur"].binary and rows(twin)["blur"].reason == "frozen (trainable=False)"
    assert type(twin.get_layer("blur")) is L.DepthwiseConv2D
    assert not twin.get_layer("blur").trainable


def test_a_larq_network_keeps_what_has_no_quantizer_and_a_keras_network_what_lce_has_no_operator_for():
    blur = rows(lqe.binarize(blurred(trainable=True)))["blur"]
    assert blur.reason == "without a quantizer in a network of Larq's"
    middle = tf.keras.Sequential([L.DepthwiseConv2D(3, name="depthwise"), L.Conv2D(4, 1, name="pointwise")])
    twin = lqe.binarize(around(middle, *IMAGE))
    (depthwise,) = (row for name, row in rows(twin).items() if "depthwise" in name)
    assert depthwise.reason == "depthwise, which LCE keeps float"
    assert [name.split("/")[-1] for name in binary_layers(twin)] == ["pointwise"]
    groups = around(L.Conv2D(6, 3, groups=3, name="groups"), *IMAGE)
    assert rows(lqe.binarize(groups, skip=["first"]))["groups"].reason.startswith(
        "in groups, which LCE cannot run"
    )
    assert binary_layers(lqe.binarize(groups, input_quantizer=None)) == ["groups"]


def test_several_inputs_and_outputs_each_have_a_first_and_a_last():
    one, other = tf.keras.Input(IMAGE, name="one"), tf.keras.Input(IMAGE, name="other")
    shared = L.Conv2D(4, 3, name="shared")
    branches = [shared(L.Conv2D(3, 1, name=f"stem_{image.name}")(image)) for image in (one, other)]
    x = L.Flatten()(L.Concatenate()(branches))
    model = tf.keras.Model({"one": one, "other": other}, [L.Dense(2, name="a")(x), L.Dense(3, name="b")(x)])
    twin = lqe.binarize(model)
    assert binary_layers(twin) == ["shared"]
    reasons = [row.reason for row in twin.binarization.layers if not row.binary]
    assert reasons == ["first layer"] * 2 + ["last layer"] * 2
    assert len(twin.get_layer("shared")._inbound_nodes) == 2
    images = {"one": np.zeros((1, *IMAGE)), "other": np.ones((1, *IMAGE))}
    assert [len(answer[0]) for answer in twin.predict(images, verbose=0)] == [2, 3]


def test_nested_models_are_searched_and_what_they_share_stays_shared():
    shared = L.Dense(6, name="shared")
    given, dense = tf.keras.Input((6,)), L.Dense(6, "relu", name="inner_dense")
    inner = tf.keras.Sequential([tf.keras.Input((6,)), dense, shared], name="inner")
    x = inner(L.Dense(6, name="first")(given))
    model = tf.keras.Model(given, L.Dense(2, name="last")(shared(inner(x))))
    twin = lqe.binarize(model)
    assert binary_layers(twin) == ["inner/inner_dense", "inner/shared"]
    assert twin.get_layer("inner").get_layer("shared") is twin.get_layer("shared")
    assert_same_weights(model, twin)


@tf.keras.utils.register_keras_serializable("test")
class Block(L.Layer):
    """A layer of layers, with a weight of its own."""

    def __init__(self, filters, **kwargs):
        super().__init__(**kwargs)
        self.filters = filters
        self.sizes = [[3, 3], [1]]
        self.convs = [L.Conv2D(filters, 3, padding="same", name=f"conv{i}") for i in range(2)]
        self.norm = L.BatchNormalization(name="norm")

    def build(self, shape):
        self.scale = self.add_weight("scale", (), initializer="ones")
        super().build(shape)

    def call(self, x):
        for conv in self.convs:
            x = tf.nn.relu(self.scale * self.norm(conv(x)))
        return x

    def get_config(self):
        return {**super().get_config(), "filters": self.filters}


class Net(tf.keras.Model):
    """The user's own, without a get_config."""

    def __init__(self, filters=4):
        super().__init__()
        self.stem = L.Conv2D(filters, 3, name="stem")
        self.relu = L.ReLU()
        each = L.TimeDistributed(L.Dense(4, name="each"))
        self.body = {"a": L.Conv2D(filters, 3, name="body"), "wrapped": each}
        self.block = Block(filters, name="block")
        self.head = L.Dense(2, name="head")
        self.unused = L.Dense(3, name="unused")

    def call(self, x, training=False):
        x = self.body["a"](self.relu(self.stem(x)))
        x = self.block(self.body["wrapped"](x), training=training)
        return self.head(tf.reduce_mean(x, [1, 2]))


def test_a_subclassed_model_of_layers_of_layers():
    model = Net(filters=5)
    images = np.random.default_rng(0).normal(size=(2, *IMAGE)).astype("float32")
    before = model(images).numpy()
    model.block.scale.assign(3.0)
    twin = lqe.binarize(model)
    changes = rows(twin)
    assert {name.split("/")[-1] for name in binary_layers(twin)} == {"body", "each", "conv0", "conv1"}
    assert (changes["stem"].reason, changes["head"].reason) == ("first layer", "last layer")
    assert changes["unused"].reason == "never called, so it has no weights"
    # The ReLU between the two convolutions of the block is in its code.
    assert changes["block/conv1"].reason == "input is never negative, by the model's own code"
    assert isinstance(twin.relu, L.Activation)
    assert twin.block.sizes == [[3, 3], [1]]
    assert float(twin.block.scale) == 3.0
    names, expected = (sorted(variable.name for variable in each.weights) for each in (twin, model))
    assert names == expected
    np.testing.assert_array_equal(twin.stem.kernel, model.stem.kernel)
    np.testing.assert_array_equal(twin.block.convs[0].kernel.latent_variable, model.block.convs[0].kernel)
    assert twin(images).shape == before.shape
    model.block.scale.assign(1.0)
    np.testing.assert_array_equal(model(images).numpy(), before)


def test_layers_called_in_a_function_of_their_own_are_seen():
    class Compiled(Net):
        @tf.function
        def inner(self, x):
            return self.body["a"](self.stem(x))

        def call(self, x, training=False):
            return self.head(tf.reduce_mean(self.inner(x), [1, 2]))

    model = Compiled()
    model(np.zeros((1, *IMAGE), "float32"))
    assert binary_layers(lqe.binarize(model)) == ["body"]


def test_what_has_no_twin_is_reported():
    class Own(L.Conv1D):
        """Computes who knows what."""

    words = tf.keras.Input((7,), dtype="int32")
    x = L.Embedding(11, 6, name="words")(words)
    x = L.MultiHeadAttention(2, 3, name="attention")(x, x)
    x = Own(6, 1, name="own")(L.Conv1D(6, 3, name="conv")(x))
    x = L.LSTM(4, name="lstm")(x)
    model = tf.keras.Model(words, L.Dense(2, name="last")(x))
    twin = lqe.binarize(model)
    changes = rows(twin)
    assert binary_layers(twin) == ["conv"]
    for name, kind in (("words", "Embedding"), ("own", "Own"), ("attention/query", "EinsumDense")):
        assert changes[name].reason == f"Larq has no layer for {kind}"
    assert_same_weights(model, twin)


def test_a_kernel_without_filters_stays_float():
    image = tf.keras.Input((4, 4, 8))
    x = L.LocallyConnected2D(4, 3, implementation=3, name="local")(L.Conv2D(8, 1, name="first")(image))
    twin = lqe.binarize(tf.keras.Model(image, L.Dense(2, name="body")(x)), skip=["first"])
    assert rows(twin)["local"].reason.startswith("its kernel is a flat list (implementation=3)")
    with pytest.raises(InputError, match="kernel must have rank 2 or more"):
        lq.layers.QuantLocallyConnected2D(4, 3, implementation=3, kernel_quantizer="bi_half")(image)


def test_frozen_layers_stay_frozen_and_precision_is_kept():
    model = convolutional()
    model.get_layer("middle").trainable = False
    with pytest.raises(InputError, match=r"middle: frozen \(trainable=False\)"):
        lqe.binarize(model, skip=["first", "last"])
    twin = lqe.binarize(model, only=["middle"])
    assert not twin.get_layer("middle").trainable and twin.get_layer("first").trainable
    with precision("mixed_bfloat16"):
        mixed = convolutional()
    assert lqe.binarize(mixed).get_layer("middle").dtype_policy.name == "mixed_bfloat16"
    assert lqe.binarize(mixed).get_layer("act").dtype_policy.name == "mixed_bfloat16"


def pruned():
    return pruning.prune(lqe.binarize(convolutional()), 0.5)


@pytest.mark.parametrize(
    ("model", "options", "words"),
    [
        (convolutional, {"quantizer": "bi_quarter"}, "quantizer must be a quantizer or one of"),
        (convolutional, {"quantizer": None}, "quantizer must be a quantizer"),
        (convolutional, {"input_quantizer": "sine"}, "input_quantizer"),
        (convolutional, {"skip": ["none"]}, r"skip must be names of layers with a kernel: \['first'"),
        (convolutional, {"skip": "middle"}, "skip must be names of layers in a list"),
        (convolutional, {"only": ["act"]}, "only must be names"),
        (convolutional, {"only": 3}, "only must be names"),
        (convolutional, {"only": []}, "must have a layer to make binary, but has first: not among only"),
        (convolutional, {"rectifier": "zigzag"}, "rectifier must be the name of a Keras activation"),
        (convolutional, {"pad_values": 0.5}, "pad_values must be -1, 0 or 1"),
        (lambda: L.Dense(3), {}, "model must be a Keras model"),
        (lambda: tf.keras.Sequential([L.Dense(3)]), {}, "must be built"),
        (Net, {}, "must be built"),
        (lambda: stack(L.ReLU()), {}, "none with a kernel"),
        (pruned, {}, "'middle' is, whose zeros .* binarize before pruning"),
        (lambda: pruning.strip(pruned()), {}, "'middle' is, whose zeros .* binarize before pruning"),
    ],
)
def test_bad_arguments_are_named(model, options, words):
    made = model()
    variables = made.weights if made.built else []
    weights = [variable.numpy() for variable in variables]
    with pytest.raises(InputError, match=words):
        lqe.binarize(made, **options)
    np.testing.assert_equal(variables, weights)
    assert all("call" not in vars(layer) for layer in made._flatten_layers())


def test_a_model_that_cannot_be_made_again_is_named():
    class Stubborn(tf.keras.Model):
        """Takes an argument of which no configuration tells."""

        def __init__(self, layer):
            super().__init__(name="stubborn")
            self.stem, self.body, self.head = L.Dense(4), layer, L.Dense(2)

        def call(self, x):
            return self.head(self.body(self.stem(x)))

        def get_config(self):
            return {}

    model = Stubborn(L.Dense(4))
    model(np.zeros((1, 3), "float32"))
    with pytest.raises(InputError, match=r"'stubborn' of class Stubborn must be one that from_config"):
        lqe.binarize(model)
    assert isinstance(model.body, L.Dense)


def test_a_float_model_of_digits_becomes_binary_and_converts():
    digits = data.load("digits")
    image = tf.keras.Input(digits.input_shape)
    x = image
    for index, filters in enumerate((16, 32, 32)):
        x = L.Conv2D(filters, 3, padding="same", use_bias=False, name=f"conv{index}")(x)
        x = L.BatchNormalization(momentum=0.8, name=f"norm{index}")(x)
        x = L.ReLU(name=f"relu{index}")(x)
    x = L.Dense(64, name="dense")(L.Flatten()(L.MaxPooling2D()(x)))
    x = L.BatchNormalization(momentum=0.8)(x)
    model = tf.keras.Model(image, L.Dense(digits.num_classes, name="classifier")(x))
    loss = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(tf.keras.optimizers.Adam(0.003), loss, metrics=["accuracy"])
    model.fit(digits.train, epochs=4, verbose=0)
    twin = lqe.binarize(model)
    assert not hasattr(twin, "optimizer") or twin.optimizer is None
    twin.compile(tf.keras.optimizers.Adam(0.003), loss, metrics=["accuracy"])
    twin.fit(digits.train, epochs=6, verbose=0)
    assert twin.evaluate(digits.test, verbose=0)[1] > 0.85
    report = export.convert(twin, verify_on=digits.test)
    operators = {row.name: row.operator for row in report.layers}
    binary = [kernel.name for kernel in quantized_kernels(twin)]
    assert binary == ["conv1", "conv2", "dense"]
    assert [operators[name] for name in binary] == ["LceBconv2d"] * 3
    assert report.verification.argmax_agreement == 1.0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ResNet50", "MobileNetV2", "DenseNet121", "VGG16", "EfficientNetB0"])
def test_a_published_network_keeps_its_weights(name):
    model = getattr(tf.keras.applications, name)(weights=None, input_shape=(64, 64, 3), classes=10)
    twin = lqe.binarize(model)
    assert_same_weights(model, twin)
    floats = [row.reason for row in twin.binarization.layers if row.weights and not row.binary]
    assert [reason for reason in floats if "ReLU" not in reason or "layer" in reason] == floats
    assert sum("first layer" in reason or "last layer" in reason for reason in floats) == 2
    assert all(row.binary_input for row in twin.binarization.layers if row.binary)
    assert np.isfinite(twin(np.zeros((1, 64, 64, 3), "float32"), training=True)).all()


def convolutional_recurrent(recurrent):
    frames = tf.keras.Input((4, *IMAGE))
    x = L.TimeDistributed(L.Conv2D(4, 3, name="stem"), name="each")(frames)
    x = L.TimeDistributed(L.Conv2D(4, 3, name="body"), name="then")(x)
    x = recurrent(L.TimeDistributed(L.Flatten())(x))
    x = L.Dense(6, name="dense")(x)
    return tf.keras.Model(frames, [L.Dense(2, name="one")(x), L.Dense(3, name="other")(x)])


@tf.keras.utils.register_keras_serializable("test")
class Cell(L.Layer):
    """A cell of layers of its own."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.state_size = self.output_size = 5
        self.kernel_of_inputs = L.Dense(5, name="of_inputs")
        self.kernel_of_state = L.Dense(5, name="of_state")

    def call(self, x, states):
        state = tf.nn.tanh(self.kernel_of_inputs(x) + self.kernel_of_state(states[0]))
        return state, [state]


@pytest.mark.parametrize(
    "recurrent",
    [
        lambda x: L.LSTM(5, name="rnn")(x),
        lambda x: L.Bidirectional(L.GRU(5, name="rnn"))(x),
        lambda x: L.RNN(L.SimpleRNNCell(5), name="rnn")(x),
        lambda x: L.RNN(Cell(), name="rnn")(x),
    ],
)
def test_ends_are_those_of_each_input_and_output_around_a_recurrent_layer(recurrent):
    twin = lqe.binarize(convolutional_recurrent(recurrent))
    ends = {name: row.reason for name, row in rows(twin).items() if row.reason.endswith("t layer")}
    assert ends == {"each/stem": "first layer", "one": "last layer", "other": "last layer"}
    assert {"then/body", "dense"} <= set(binary_layers(twin))


def test_a_recurrent_layer_may_be_the_first_and_the_last():
    given = tf.keras.Input((4, 6))
    x = L.Dense(6, name="dense")(L.RNN(Cell(name="one"), return_sequences=True, name="rnn")(given))
    twin = lqe.binarize(tf.keras.Model(given, L.RNN(Cell(name="other"), name="last")(x)))
    changes = rows(twin)
    assert changes["dense"].binary
    assert changes["rnn/one/of_inputs"].reason == "first layer"
    assert changes["last/other/of_state"].reason == "last layer"


class WithAuxiliaryHead(tf.keras.Model):
    """A second head for training, called by the model or by its train_step."""

    def __init__(self, inside=True):
        super().__init__()
        self.inside = inside
        self.auxiliary = L.Dense(3, name="auxiliary")
        self.head = L.Dense(2, name="head")
        self.body = L.Conv2D(4, 3, name="body")
        self.stem = L.Conv2D(4, 3, name="stem")
        self.pool = L.GlobalAveragePooling2D()

    def get_config(self):
        return {"inside": self.inside}

    def call(self, x, training=False):
        x = self.pool(self.body(self.stem(x)))
        return (self.head(x), self.auxiliary(x)) if training and self.inside else self.head(x)


@pytest.mark.parametrize(
    ("inside", "reason"),
    [(True, "last layer"), (False, "not called when the model is, so it may be a first or a last layer")],
)
def test_a_head_for_training_alone_stays_float(inside, reason):
    model = WithAuxiliaryHead(inside)
    model(np.zeros((1, *IMAGE), "float32"), training=True)
    if not inside:
        model.auxiliary(np.zeros((1, 4), "float32"))
    twin = lqe.binarize(model)
    changes = rows(twin)
    assert binary_layers(twin) == ["body"]
    assert changes["auxiliary"].reason == reason
    assert changes["stem"].reason == "first layer" and changes["head"].reason == "last layer"


def test_an_output_from_the_middle_has_a_last_layer_and_a_late_input_a_first():
    image, extra = tf.keras.Input(IMAGE), tf.keras.Input((3,))
    x = L.Flatten()(L.Conv2D(4, 3, name="body")(L.Conv2D(4, 3, name="stem")(image)))
    middle = L.Dense(4, name="middle")(x)
    x = L.Dense(4, name="after")(middle)
    x = L.Dense(4, name="of_extra")(L.Concatenate()([x, extra]))
    x = L.Dense(2, name="head")(L.Dense(4, name="last_but_one")(x))
    twin = lqe.binarize(tf.keras.Model([image, extra], [middle, x]))
    assert binary_layers(twin) == ["body", "after", "last_but_one"]
    assert rows(twin)["of_extra"].reason == "first layer"
    assert rows(twin)["middle"].reason == "last layer"


def test_a_residual_network_without_a_head_ends_in_one_layer():
    x = image = tf.keras.Input(IMAGE)
    for index in range(4):
        x = L.Add()([x, L.Conv2D(3, 3, padding="same", name=f"conv{index}")(x)])
    assert binary_layers(lqe.binarize(tf.keras.Model(image, x))) == ["conv1", "conv2"]
