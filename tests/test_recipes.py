import math
import types

import numpy as np
import pytest
import tensorflow as tf

from larq_equalbits import training
from larq_equalbits._bits.kernels import quantized_kernels
from larq_equalbits._errors import InputError
from larq_equalbits.optimizers import ConstantRate, CosineDecay, StepDecay
from larq_equalbits.training import building, recipes


def test_equal_bits_is_as_published():
    recipe = recipes.get("equal-bits")
    assert (recipe.epochs, recipe.batch_size, recipe.learning_rate, recipe.momentum) == (350, 128, 0.1, 0.9)
    assert (recipe.weight_decay, recipe.decay) == (5e-4, "equal_bits")
    assert (recipe.schedule, recipe.milestones, recipe.factor) == ("step", (150, 250, 320), 0.1)
    large = recipes.get("equal-bits", dataset="imagenet2012")
    assert (large.epochs, large.batch_size, large.weight_decay) == (100, 256, 1e-4)
    assert large.milestones == (30, 60, 80, 95)


def test_siman_is_as_published():
    recipe = recipes.get("siman")
    assert (recipe.quantizer, recipe.epochs, recipe.batch_size) == ("siman", 400, 256)
    assert recipe.warmup_epochs == 5
    assert (recipe.decay, recipe.schedule, recipe.percentile) == ("siman", "cosine", 15)
    large = recipes.get("siman", dataset="imagenet2012")
    assert (large.epochs, large.batch_size, large.weight_decay, large.warmup_epochs) == (150, 512, 1e-4, 0)


def test_ir_net_depends_on_the_network():
    assert recipes.get("ir-net").estimator == (1e-3, 10)
    vgg = recipes.get("ir-net", model="vgg_small")
    assert (vgg.learning_rate, vgg.epochs, vgg.estimator) == (0.007, 300, (1e-1, 10))


def test_mpt_depends_on_the_activations():
    assert recipes.get("mpt").optimizer == "adam"
    assert recipes.get("mpt", binarize_activations=False).optimizer == "sgd"


def built(**fields):
    images = types.SimpleNamespace(name="digits", input_shape=(8, 8, 1), num_classes=10)
    settings = training.Settings(model_options={"width": 0.1, **fields.pop("options", {})}, **fields)
    return building.build(settings, settings.plan(), images, None)


def test_simans_activations_have_its_authors_gradient():
    def inputs(**fields):
        layers = [kernel.layer for kernel in quantized_kernels(built(**fields))]
        return {type(layer.input_quantizer).__name__ for layer in layers}

    assert inputs(recipe="siman") == {"FastApproxSign"}
    assert inputs(recipe="siman", options={"input_quantizer": "ste_sign"}) == {"FastSteSign"}
    assert inputs(recipe="siman", binarize_activations=False) == {"NoneType"}
    assert inputs(recipe="ir-net") == {"FastSteSign"}


@pytest.mark.parametrize(
    ("recipe", "options", "layer"),
    [
        ("equal-bits", {}, "conv1_2_prelu"),
        ("siman", {}, "conv1_2_standardization"),
        ("ir-net", {}, "conv1_2_hard_tanh"),
        ("siman", {"form": "equal-bits"}, "conv1_2_prelu"),
    ],
)
def test_each_recipes_network_has_the_form_of_its_paper_or_the_one_given(recipe, options, layer):
    model = built(recipe=recipe, model="vgg_small", options=options)
    assert layer in {each.name for each in model.layers}


def test_mpts_networks_are_binary_throughout_and_normalize_without_learning():
    model = built(recipe="mpt")
    kernels = quantized_kernels(model)
    weights = sum(int(np.prod(weight.shape)) for weight in model.weights if weight.shape.rank > 1)
    # The scores are as many as the weights that they choose among.
    assert sum(kernel.latent().size for kernel in kernels) * 2 == weights
    assert (kernels[0].name, kernels[-1].name) == ("conv1_1", "classifier")
    assert all("norm" not in weight.name for weight in model.trainable_weights)
    kept = built(recipe="mpt", options={"binarize_first_last": False, "affine": True})
    assert "conv1_1" not in {kernel.name for kernel in quantized_kernels(kept)}
    assert any("norm" in weight.name for weight in kept.trainable_weights)
    assert any("norm" in weight.name for weight in built().trainable_weights)


def test_an_unknown_recipe_is_named():
    with pytest.raises(InputError, match="recipe must be one of equal-bits, siman, ir-net, mpt"):
        recipes.get("best")


def test_milestones_move_with_the_epochs():
    plan = training.Settings(epochs=35).plan()
    assert plan.milestones == pytest.approx((15, 25, 32))
    assert training.Settings(epochs=35, milestones=(3,)).plan().milestones == (3,)
    assert training.Settings(recipe="siman", epochs=40).plan().warmup_epochs == pytest.approx(0.5)


def parts(**fields):
    plan = training.Settings(**fields).plan()
    return plan.constraint, plan.percentile, plan.estimator


def test_a_part_can_be_switched_off_and_settings_keep_that():
    off = {"constraint": "none", "score_sparsity": "none"}
    settings = training.Settings(recipe="siman", **off)
    assert settings.plan().constraint is None
    assert settings.plan().percentile is None
    again = training.Settings.from_json(settings.to_json())
    assert again.plan() == settings.plan()
    assert again.to_json() == settings.to_json()
    assert parts(recipe="siman", percentile="none") == ("magnitude_clip", None, None)
    assert parts(recipe="ir-net", estimator="none") == (None, None, None)
    assert training.Settings(recipe="mpt", score_sparsity="none").plan().score_sparsity is None


def test_the_parts_of_a_quantizer_follow_it():
    assert parts(recipe="siman") == ("magnitude_clip", 15, None)
    assert parts(recipe="siman", quantizer="siman") == ("magnitude_clip", 15, None)
    assert parts(recipe="siman", quantizer="bi_half") == (None, None, None)
    assert parts(recipe="siman", constraint="equal_bits") == ("equal_bits", None, None)
    assert parts(recipe="siman", quantizer="ir_net") == (None, None, (1e-3, 10))
    assert parts(recipe="ir-net", quantizer="bi_half") == (None, None, None)
    assert parts(recipe="ir-net", quantizer="rbnn") == (None, None, (1e-2, 10))
    assert parts(quantizer="rbnn", estimator=(0.5, 2)) == (None, None, (0.5, 2))
    assert parts(recipe="ir-net", model="vgg_small", quantizer="ir_net") == (None, None, (0.1, 10))
    given = {"constraint": "magnitude_clip", "percentile": 5}
    assert parts(recipe="siman", quantizer="bi_half", **given) == ("magnitude_clip", 5, None)


@pytest.mark.parametrize("recipe", recipes.NAMES)
def test_settings_survive_json(recipe):
    settings = training.Settings(recipe=recipe, epochs=7, quantizer_options={"positive_ratio": 0.3})
    again = training.Settings.from_json(settings.to_json())
    assert again.plan() == settings.plan()
    assert settings.differences(again) == []
    assert again.differences(settings.replace(seed=3, data_dir="elsewhere")) == ["seed: 0 against 3"]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"recipe": "none"}, "recipe"),
        ({"epochs": 0}, "epochs must be an integer from 1 to a million"),
        *(({"epochs": epochs}, "epochs") for epochs in (2.5, 10**20, 10**400)),
        *(({name: -1}, name) for name in ("batch_size", "seed", "weight_decay")),
        ({"optimizer": "lamb"}, "optimizer must be one of sgd, adam"),
        ({"milestones": ()}, "milestones must be one or more epochs"),
        ({"schedule": "linear"}, "schedule must be one of constant, step, cosine, cosine_by_epoch"),
        ({"decay": "l1"}, "decay"),
        ({"precision": "float16"}, "precision must be one of float32, mixed_bfloat16"),
        *(({"learning_rate": rate}, "learning_rate") for rate in (-0.1, float("nan"))),
        ({"momentum": 1}, "momentum"),
        ({"quantizer": "ir_net", "estimator": (1, 0)}, "estimator must be two positive numbers"),
        ({"quantizer": "ir_net", "estimator": (1,)}, "estimator must be two positive numbers"),
        ({"estimator": "off"}, "estimator must be two positive numbers"),
        ({"percentile": 50}, "percentile must be a number from 0 to below 50"),
        ({"score_sparsity": 1}, "score_sparsity must be a number from 0 to below 1"),
        ({"epochs": 3, "warmup_epochs": 3}, "warmup_epochs must be fewer than the 3 epochs"),
        *(({"milestones": (epoch,)}, "milestones") for epoch in (float("nan"), -1, 1e308)),
        *(({name: 1e308}, name) for name in ("learning_rate", "weight_decay")),
        *(({"estimator": pair}, "estimator") for pair in ((1.0, 1e308), (1e-320, 1.0))),
        *(({"factor": factor}, "factor") for factor in (1e308, 0, 1e-320, 10**400)),
    ],
)
def test_bad_settings_are_named(fields, words):
    with pytest.raises(InputError, match=words):
        training.Settings(**fields).plan()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"colour": "red"}'])
def test_settings_that_are_none_are_refused(tmp_path, text):
    path = tmp_path / "settings.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"settings\.json: settings must"):
        training.Settings.load(path)


def rates(schedule, steps):
    return [float(schedule(step)) for step in steps]


def test_schedules_follow_their_formulas():
    np.testing.assert_allclose(rates(ConstantRate(0.2, 4), [0, 1, 3, 4, 9]), [0.05, 0.1, 0.2, 0.2, 0.2])
    steps = rates(StepDecay(1.0, [5, 8], 0.1), [0, 4, 5, 7, 8, 100])
    np.testing.assert_allclose(steps, [1, 1, 0.1, 0.1, 0.01, 0.01], rtol=1e-6)
    cosine = CosineDecay(1.0, 12, 2)
    expected = [0.5, 1.0, *((1 + math.cos(math.pi * step / 10)) / 2 for step in range(11)), 0]
    np.testing.assert_allclose(rates(cosine, [0, 1, *range(2, 13), 20]), expected, atol=1e-6)
    by_epoch = CosineDecay(1.0, 12, 2, hold_steps=4)
    np.testing.assert_allclose(rates(by_epoch, [1, 2, 3]), 1)
    for start in (4, 8, 12):
        np.testing.assert_allclose(rates(by_epoch, range(start, start + 4)), rates(cosine, [start] * 4))


@pytest.mark.parametrize(
    "schedule",
    [ConstantRate(0.2, 4), StepDecay(1, [5, 8], 0.2, 2), CosineDecay(0.3, 9, 1), CosineDecay(0.3, 9, 1, 4)],
)
def test_schedules_survive_serialization_inside_an_optimizer(schedule):
    optimizer = tf.keras.optimizers.SGD(schedule)
    again = tf.keras.optimizers.deserialize(tf.keras.optimizers.serialize(optimizer))
    steps = range(12)
    assert rates(again._learning_rate, steps) == rates(schedule, steps)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: ConstantRate(-1), "peak"),
        (lambda: ConstantRate(0.1, -1), "warmup_steps"),
        (lambda: StepDecay(0.1, [3, 2]), "milestones"),
        (lambda: StepDecay(0.1, [3], 0), "factor"),
        (lambda: CosineDecay(0.1, 5, hold_steps=0), "hold_steps"),
        (lambda: CosineDecay(0.1, 5, 5), "total_steps must be more than the 5 steps of warm-up"),
    ],
)
def test_bad_schedules_are_named(make, words):
    with pytest.raises(InputError, match=words):
        make()
