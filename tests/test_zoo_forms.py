"""The networks as the papers' code has them: order of layers, padding, alignment of strides, initial weights."""

import functools

import numpy as np
import pytest
import tensorflow as tf
from larq_equalbits.zoo import forms
from larq_equalbits.zoo.standardization import SampleStandardization

from larq_equalbits import zoo
from larq_equalbits._errors import InputError

ORDERS = {
    ("vgg_small", "equal-bits"): "conv2_2 pool2 conv2_2_norm conv2_2_prelu",
    ("vgg_small", "siman"): "conv2_2_standardization conv2_2 pool2 conv2_2_norm conv2_2_prelu",
    ("vgg_small", "ir-net"): "conv2_2 pool2 conv2_2_norm conv2_2_hard_tanh",
    ("vgg_small", "fused"): "conv2_2 conv2_2_norm pool2",
    ("conv4", "equal-bits"): "conv2_2 pool2 conv2_2_norm",
    ("conv4", "fused"): "conv2_2 conv2_2_norm pool2",
    ("resnet20", "equal-bits"): "conv2_2 conv2_1_prelu conv2_2_norm conv2_2_add",
    ("resnet20", "siman"): "conv2_2_standardization conv2_2 conv2_2_norm conv2_2_add conv2_2_prelu",
    ("resnet20", "ir-net"): "conv2_2 conv2_2_norm conv2_2_add conv2_2_hard_tanh",
    ("resnet20", "fused"): "conv2_2 conv2_2_norm conv2_2_add conv2_2_prelu",
}
STEMS = {"equal-bits": "stem_prelu", "siman": "stem_relu", "ir-net": "stem_hard_tanh", "fused": "stem_prelu"}


def built(name, form, **options):
    options = {"input_shape": (32, 32, 3), "num_classes": 10, "width": 0.25, **options}
    return zoo.get(name)(form=form, **options)


@pytest.fixture(scope="module")
def shared():
    """Builds each network once, for tests that only look at it."""
    return functools.cache(built)


def path(model, last, length):
    """The names of the `length` layers that end with `last`, along the first input of each."""
    names, layer = [], model.get_layer(last)
    # A layer that two blocks share has several nodes; the second block is the one looked at.
    node = layer._inbound_nodes[-1]
    while len(names) < length:
        names.append(layer.name)
        layer, index, _ = node.keras_inputs[0]._keras_history
        node = layer._inbound_nodes[index]
    return names[::-1]


@pytest.mark.parametrize(("name", "form"), ORDERS)
def test_the_layers_are_in_the_papers_order(shared, name, form):
    expected = ORDERS[name, form].split()
    assert path(shared(name, form), expected[-1], len(expected)) == expected


@pytest.mark.parametrize("form", forms.NAMES)
def test_the_ends_the_padding_and_epsilon_of_a_resnet_are_the_papers(shared, form):
    model = shared("resnet20", form)
    names = [layer.name for layer in model.layers]
    assert STEMS[form] in names
    assert ("mean_norm" in names) is (form in ("siman", "ir-net"))
    assert ("conv2_1_shortcut" in names) is (form in ("equal-bits", "fused"))
    # Only ResNet-20 has shortcuts without weights.
    assert "conv2_1_shortcut" in [layer.name for layer in built("resnet18", form, width=0.1).layers]
    paddings = {layer.pad_values for layer in model.layers if hasattr(layer, "pad_values")}
    assert paddings == {1.0 if form == "fused" else 0.0}
    normalizations = [each for each in model.layers if isinstance(each, tf.keras.layers.BatchNormalization)]
    assert {(each.epsilon, each.momentum) for each in normalizations} == {(1e-5, 0.9)}


def test_an_image_smaller_than_the_window_is_padded_with_ones():
    model = built("resnet20", "siman", input_shape=(8, 8, 1))
    assert model.get_layer("conv2_2").pad_values == 0.0
    assert model.get_layer("conv3_2").input_shape[1:3] == (2, 2)
    assert model.get_layer("conv3_2").pad_values == 1.0


@pytest.mark.parametrize(("height", "width"), [(8, 8), (9, 9), (8, 9)])
@pytest.mark.parametrize("form", forms.NAMES)
def test_a_strided_block_and_its_shortcut_take_the_same_pixels(form, height, width):
    model = built("resnet20", form, quantizer=None, input_shape=(height, width, 3))
    layer, addition = model.get_layer("conv2_1"), model.get_layer("conv2_1_add")
    inputs, outputs = layer.input_shape[-1], layer.filters
    delta = np.zeros(layer.kernel.shape, "float32")
    delta[1, 1, np.arange(inputs), np.arange(inputs)] = 1
    layer.kernel.assign(delta)
    shortcut = addition.input[1]
    offset = (outputs - inputs) // 2
    if "conv2_1_shortcut" in [each.name for each in model.layers]:
        identity = model.get_layer("conv2_1_shortcut")
        identity.kernel.assign(np.eye(inputs, outputs, dtype="float32")[np.newaxis, np.newaxis])
        shortcut, offset = identity.output, 0
    images = np.random.default_rng(0).normal(size=(2, height, width, 3)).astype("float32")
    before, convolved, passed = tf.keras.Model(model.input, [layer.input, layer.output, shortcut])(images)
    np.testing.assert_array_equal(convolved[..., :inputs], passed[..., offset : offset + inputs])
    np.testing.assert_array_equal(np.delete(passed, range(offset, offset + inputs), axis=-1), 0)
    rows = slice(1 - height % 2, None, 2)
    np.testing.assert_array_equal(convolved[:, :, :, :inputs], before[:, rows, 1 - width % 2 :: 2])


def deviation(weights):
    return float(np.std(weights.numpy()))


@pytest.mark.parametrize(
    ("name", "form", "layer", "expected"),
    [
        # Uniform within 1/sqrt(fan_in) has the deviation 1/sqrt(3 fan_in).
        ("resnet20", "equal-bits", "conv3_2", (3 * 9 * 64) ** -0.5),
        ("resnet20", "siman", "conv3_2", (2 / (9 * 64)) ** 0.5),
        ("resnet20", "ir-net", "conv3_2", (2 / (9 * 64)) ** 0.5),
        ("vgg_small", "equal-bits", "conv2_1", (3 * 9 * 128) ** -0.5),
        ("vgg_small", "siman", "conv2_1", (2 / (9 * 256)) ** 0.5),
        ("vgg_small", "ir-net", "classifier", 0.01),
        ("conv2", "equal-bits", "dense2", (3 * 256) ** -0.5),
    ],
)
def test_weights_start_as_in_the_papers_code(name, form, layer, expected):
    kernel = built(name, form, width=1.0).get_layer(layer).kernel
    assert deviation(getattr(kernel, "latent_variable", kernel)) == pytest.approx(expected, rel=0.03)


@pytest.mark.parametrize(("name", "is_zero"), [("vgg_small", True), ("resnet20", False)])
def test_a_classifiers_bias_starts_as_in_simans_code(name, is_zero):
    assert (deviation(built(name, "siman").get_layer("classifier").bias) == 0) == is_zero


def test_an_initializer_of_ones_own_starts_every_kernel_differently():
    model = built("vgg_small", "siman", kernel_initializer="glorot_uniform")
    kernels = [model.get_layer(name).kernel.latent_variable for name in ("conv2_2", "conv3_1")]
    fans = [9 * (64 + 64), 9 * (64 + 128)]
    expected = [(2 / fan) ** 0.5 for fan in fans]
    assert [deviation(kernel) for kernel in kernels] == pytest.approx(expected, rel=0.05)
    twins = [built("vgg_small", "siman").get_layer("conv2_2").kernel.latent_variable for _ in range(2)]
    assert not np.array_equal(*twins)


@pytest.mark.parametrize("form", ["equal-bits", "siman"])
def test_activations_are_standardized_where_it_is_asked(form):
    def standardized(**options):
        layers = built("conv2", form, **options).layers
        return sum(isinstance(layer, SampleStandardization) for layer in layers)

    assert standardized() == (3 if form == "siman" else 0)
    assert standardized(standardize_activations=True) == 3
    assert standardized(standardize_activations=False) == 0
    assert standardized(standardize_activations=True, binarize_activations=False) == 0
    assert standardized(standardize_activations=True, input_quantizer=None) == 0


def test_standardization_and_its_gradient_follow_the_formula():
    x = tf.constant(np.random.default_rng(0).normal(2, 3, size=(3, 4, 5, 2)))
    layer = SampleStandardization(dtype="float64")
    upstream = tf.constant(np.random.default_rng(1).normal(size=x.shape))

    def plainly(x):
        centred = x - tf.reduce_mean(x, [1, 2, 3], keepdims=True)
        return centred / tf.sqrt(tf.reduce_sum(centred**2, [1, 2, 3], keepdims=True) / 39 + 1e-5)

    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        ours, plain = layer(x), plainly(x)
    np.testing.assert_allclose(ours, plain, rtol=1e-12, atol=1e-12)
    any_size = tf.function(layer, input_signature=[tf.TensorSpec([None, None, None, 2], tf.float64)])
    np.testing.assert_allclose(any_size(x), plain, rtol=1e-12, atol=1e-12)
    gradients = (tape.gradient(each, x, upstream) for each in (ours, plain))
    np.testing.assert_allclose(*gradients, rtol=1e-9, atol=1e-12)
    rounded = SampleStandardization(dtype="bfloat16")(tf.cast(x, tf.bfloat16))
    assert rounded.dtype == tf.bfloat16
    np.testing.assert_allclose(tf.cast(rounded, tf.float64), plain, atol=0.05)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"form": "larq"}, "form must be one of equal-bits, siman, ir-net, fused"),
        ({"form": None}, "form must be one of"),
        ({"kernel_initializer": "hot"}, "kernel_initializer must be None, a Keras initializer or its name"),
    ],
)
def test_bad_forms_and_initializers_are_named(options, words):
    with pytest.raises(InputError, match=words):
        zoo.conv2(**{"input_shape": (8, 8, 1), "num_classes": 3, **options})


# Ten images with noise, by the papers' optimizer: where VGG-small normalizes before it pools ("fused"), its classifier
# diverges at this rate, to a loss of 20 and more.
@pytest.mark.parametrize(
    ("name", "form", "quantizer", "input_quantizer", "below"),
    [
        ("vgg_small", "siman", "siman", "approx_sign", 0.8),
        ("vgg_small", "equal-bits", "bi_half", "ste_sign", 1.4),
        ("resnet20", "siman", "siman", "approx_sign", 2.0),
        ("resnet20", "equal-bits", "bi_half", "ste_sign", 2.15),
    ],
)
def test_the_loss_of_a_fixed_batch_goes_down(name, form, quantizer, input_quantizer, below):
    random = np.random.default_rng(0)
    labels = np.arange(64) % 10
    images = random.normal(size=(10, 16, 16, 3))[labels] + random.normal(size=(64, 16, 16, 3))
    options = {"input_quantizer": input_quantizer, "input_shape": (16, 16, 3)}
    model = built(name, form, quantizer=quantizer, **options)
    model.compile(tf.keras.optimizers.SGD(0.1, momentum=0.9), "sparse_categorical_crossentropy")
    losses = [model.train_on_batch(images.astype("float32"), labels) for _ in range(20)]
    assert max(losses) < 4
    assert losses[-1] < below
