import inspect

import numpy as np
import pytest
import tensorflow as tf
import zoo_table as program
from click.testing import CliRunner
from larq_equalbits.zoo.blocks import Builder
from small import slow_but

from larq_equalbits import export, zoo
from larq_equalbits._bits.kernels import quantized_kernels
from larq_equalbits._errors import InputError
from larq_equalbits.quantizers import BiHalf

# Kernel weights without those of normalizations: by the papers' code, and as the papers round them.
WEIGHTS = {"conv2": 4_300_992, "conv4": 2_425_024, "conv6": 2_261_184, "conv8": 5_275_840}
ROUNDED = {"vgg_small": 4.66e6, "resnet18": 11.2e6, "resnet20": 0.27e6, "resnet34": 21.3e6}
WEIGHTS |= {name: pytest.approx(weights, rel=0.02) for name, weights in ROUNDED.items()}
FAST = ("conv2", "vgg_small", "resnet20")
EVERY = slow_but(FAST, zoo.list_models())


def _small(name, **options):
    return zoo.get(name)(**{"input_shape": (32, 32, 3), "num_classes": 10, "width": 0.25, **options})


def _adapted(model):
    """The model with the statistics of random images: untrained, sums are integers and lie on the sign's edge."""
    random = np.random.default_rng(0)
    norms = [layer for layer in model.layers if isinstance(layer, tf.keras.layers.BatchNormalization)]
    for norm in norms:
        norm.momentum = 0.0
        norm.beta.assign(0.1 * random.normal(size=norm.beta.shape))
    model(random.normal(size=(8, *model.input_shape[1:])).astype("float32"), training=True)
    return model


def test_every_builder_takes_the_same_keyword_arguments():
    signatures = {str(inspect.signature(zoo.get(name))) for name in zoo.list_models()}
    assert len(signatures) == 1
    declared, made = map(inspect.signature, (Builder.__call__, zoo.conv2))
    told = [(each.name, each.annotation) for each in declared.parameters.values()]
    assert told[1:] == [(each.name, each.annotation) for each in made.parameters.values()]
    for name in zoo.list_models():
        parameters = inspect.signature(zoo.get(name)).parameters.values()
        assert all(parameter.kind is parameter.KEYWORD_ONLY for parameter in parameters)
        assert zoo.get(name) is getattr(zoo, name)
        assert "Raises:" in zoo.get(name).__doc__


@pytest.mark.parametrize("name", WEIGHTS)
def test_the_networks_have_the_papers_weights(name):
    model = zoo.get(name)(input_shape=(32, 32, 3), num_classes=10)
    kernels = [weight for weight in model.trainable_weights if weight.shape.rank > 1]
    assert sum(int(np.prod(kernel.shape)) for kernel in kernels) == WEIGHTS[name]


@pytest.mark.parametrize("binarize_activations", [True, False])
@pytest.mark.parametrize("name", EVERY)
def test_a_network_answers_saves_loads_and_converts(name, binarize_activations, tmp_path):
    model = _adapted(_small(name, binarize_activations=binarize_activations))
    images = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype("float32")
    answers = model.predict(images, verbose=0)
    assert answers.shape == (2, 10)
    np.testing.assert_allclose(answers.sum(axis=1), 1, rtol=1e-5)
    assert quantized_kernels(model)
    model.save(tmp_path / "model.keras")
    loaded = tf.keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.predict(images, verbose=0), answers)
    if binarize_activations:
        rows = {layer.name: layer for layer in export.convert(model, verify_on=images).layers}
        for kernel in quantized_kernels(model):
            assert rows[kernel.name].operator == "LceBconv2d"


@pytest.mark.parametrize("quantizer", ["bi_half", "siman"])
@pytest.mark.parametrize("name", EVERY)
def test_the_first_gradient_reaches_every_kernel_and_explodes_in_none(name, quantizer):
    model = _small(name, quantizer=quantizer)
    random = np.random.default_rng(0)
    images = random.normal(size=(8, 32, 32, 3)).astype("float32")
    labels = random.integers(10, size=8)
    with tf.GradientTape() as tape:
        answers = model(images, training=True)
        loss = tf.reduce_mean(tf.keras.losses.sparse_categorical_crossentropy(labels, answers))
    latent = [kernel.variable.latent_variable for kernel in quantized_kernels(model)]
    norms = [float(tf.norm(gradient)) for gradient in tape.gradient(loss, latent)]
    assert min(norms) > 1e-6 and max(norms) < 100


@pytest.mark.parametrize(
    ("name", "pixels", "left"),
    [
        ("resnet18", 224, 7),
        ("resnet34", 224, 7),
        ("shufflenet", 32, 4),
        ("shufflenet", 224, 7),
        pytest.param("inception_v3", 32, 8, marks=pytest.mark.slow),
        pytest.param("inception_v3", 299, 10, marks=pytest.mark.slow),
    ],
)
def test_large_images_are_halved_more_often(name, pixels, left):
    model = zoo.get(name)(input_shape=(pixels, pixels, 3), num_classes=10, width=0.1)
    assert model.get_layer("mean").input_shape[1:3] == (left, left)
    if "resnet" in name:
        assert model.get_layer("stem").kernel_size == (7, 7)


def test_a_quantizer_by_name_as_an_object_or_none():
    by_name = zoo.conv2(input_shape=(8, 8, 1), num_classes=3, quantizer="siman")
    assert {type(kernel.quantizer).__name__ for kernel in quantized_kernels(by_name)} == {"SiMaN"}
    quantizer = BiHalf(positive_ratio=0.3)
    by_object = zoo.conv2(input_shape=(8, 8, 1), num_classes=3, quantizer=quantizer)
    quantizers = [kernel.quantizer for kernel in quantized_kernels(by_object)]
    assert [one.positive_ratio for one in quantizers] == [0.3] * 3
    assert len({id(one) for one in (*quantizers, quantizer)}) == 4
    float_twin = zoo.conv2(input_shape=(8, 8, 1), num_classes=3, quantizer=None)
    assert not quantized_kernels(float_twin)
    assert float_twin.get_layer("conv1_2").input_quantizer is None


@pytest.mark.parametrize(("quantizer", "clipped"), [("ste_sign", True), ("bi_half", False), ("siman", False)])
def test_only_a_clipped_gradient_needs_clipped_weights(quantizer, clipped):
    model = zoo.conv2(input_shape=(8, 8, 1), num_classes=3, quantizer=quantizer)
    assert (model.get_layer("conv1_2").kernel_constraint is not None) is clipped


def test_first_and_last_layer_can_be_binary_too():
    model = zoo.conv2(input_shape=(8, 8, 1), num_classes=3, binarize_first_last=True)
    names = [kernel.name for kernel in quantized_kernels(model)]
    assert names == ["conv1_1", "conv1_2", "dense1", "dense2", "classifier"]


@pytest.mark.parametrize(
    ("options", "word"),
    [
        *(({"input_shape": shape}, "input_shape") for shape in ((1, 1, 3), (8.7, 8, 3), (None, None, 3), 8)),
        *(({"num_classes": count}, "num_classes") for count in (1, True, 2.5)),
        *(({"quantizer": each}, "quantizer must be .* one of .*bi_half") for each in ("bi_quarter", BiHalf)),
        ({"input_quantizer": "bi_quarter"}, "input_quantizer"),
        *(({"width": width}, "width") for width in (0, float("nan"))),
    ],
)
def test_bad_arguments_are_named(options, word):
    with pytest.raises(InputError, match=word):
        zoo.conv2(**{"input_shape": (8, 8, 1), "num_classes": 3, **options})


def test_an_unknown_network_is_answered_with_the_known_ones():
    with pytest.raises(InputError, match="resnet18"):
        zoo.get("resnet19")


def documented_lines():
    page = program.PAGE.read_text(encoding="utf-8")
    table = page.split(program.START)[1].split(program.END)[0]
    return table.strip().splitlines()[2:]


def test_the_documentation_has_every_network():
    documented = [tuple(line.split(" | ")[:2]) for line in documented_lines()]
    small = [(f"| {name}", "32x32x3") for name in zoo.list_models()]
    assert documented == [*small, *((f"| {name}", "224x224x3") for name in program.ON_IMAGENET)]


@pytest.mark.parametrize("name", FAST)
def test_the_documentation_says_what_the_command_measures(name):
    assert str(program.measure(name, *program.SMALL)) in documented_lines()


@pytest.mark.slow
def test_the_whole_table_is_what_the_command_measures():
    assert [str(row) for row in program.rows()] == documented_lines()


def test_the_command_prints_or_writes(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"before\n{program.START}\nold\n{program.END}\nafter\n")
    printed = CliRunner().invoke(program.main, ["conv2"], catch_exceptions=False)
    assert printed.output.startswith("| network | images |")
    CliRunner().invoke(program.main, ["conv2", "--write", "--page", str(page)], catch_exceptions=False)
    assert page.read_text() == f"before\n{program.START}\n{printed.output}{program.END}\nafter\n"
    page.write_text("no markers")
    with pytest.raises(InputError, match="page must hold the markers"):
        CliRunner().invoke(program.main, ["conv2", "--write", "--page", str(page)], catch_exceptions=False)
    with pytest.raises(InputError, match="model must be one of"):
        program.rows(("conv3",))
