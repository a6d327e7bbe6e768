"""Searches of ratio, quantizer and sparsity together, for more than one objective."""

import json

import larq as lq
import numpy as np
import pytest
import tensorflow as tf

from larq_equalbits import export, training, tuning
from larq_equalbits._bits.kernels import quantized_kernels
from larq_equalbits._errors import InputError
from larq_equalbits.pruning import PrunedBinary
from larq_equalbits.tuning import cost, objectives, presentation

SETTINGS = training.Settings(
    epochs=1, train_images=128, learning_rate=0.01, model_options={"width": 0.1}, validation_fraction=0.3
)
CHOICES = {"quantizers": ["bi_half", "siman"], "sparsities": [0.0, 0.5, 0.75], "ratios": [0.25, 0.5]}


def built(values, **arguments):
    hypermodel = tuning.HyperModel("conv2", SETTINGS, **{**CHOICES, **arguments})
    hp = tuning.keras_tuner.HyperParameters()
    hp.values.update(values)
    return hypermodel, hp, hypermodel.build(hp)


def test_each_layer_has_its_own_ratio_and_sparsity():
    values = {"quantizer": "bi_half", "positive_ratio/dense1": 0.25, "positive_ratio/conv1_2": 0.5}
    _, _, model = built({**values, "sparsity/dense1": 0.5, "sparsity/conv1_2": 0.75}, per_layer=True)
    layers = {layer.name: layer for layer in model.layers}
    assert isinstance(layers["dense1"], PrunedBinary) and isinstance(layers["conv1_2"], PrunedBinary)
    assert not isinstance(layers["dense2"], PrunedBinary)
    kernels = {kernel.name: kernel.codes() for kernel in quantized_kernels(model)}
    assert (kernels["dense1"] == 0).mean() == pytest.approx(0.5, abs=0.02)
    assert (kernels["conv1_2"] == 0).mean() == pytest.approx(0.75, abs=0.03)
    assert (kernels["dense1"] == 1).mean() == pytest.approx(0.125, abs=0.02)
    assert (kernels["dense2"] == 0).sum() == 0


@pytest.mark.parametrize("per_layer", [True, False])
def test_a_quantizer_without_a_ratio_gets_none(per_layer):
    hypermodel, hp, model = built({"quantizer": "siman", "sparsity": 0.5}, per_layer=per_layer)
    assert type(quantized_kernels(model)[0].quantizer).__name__ in ("SiMaN", "Pruned")
    assert not [name for name in hypermodel.own_values(hp.values) if name.startswith("positive_ratio")]
    assert any(isinstance(layer, PrunedBinary) for layer in model.layers) != per_layer


def test_the_description_makes_the_same_choices():
    hypermodel = tuning.HyperModel("conv2", SETTINGS, per_layer=True, **CHOICES)
    again = tuning.HyperModel.from_description(json.loads(json.dumps(hypermodel.describe())))
    assert again.describe() == hypermodel.describe()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"quantizers": []}, "quantizers must be"),
        ({"quantizers": ["bi_half", "bi_half"]}, "quantizers must be"),
        ({"quantizers": ["bi_third"]}, "bi_third"),
        ({"model": lambda hp: None, "quantizers": ["siman"]}, "build"),
        ({"sparsities": []}, "sparsities must be"),
        ({"sparsities": [1.0]}, "sparsities must be"),
        (
            {"quantizers": ["siman"], "settings": training.Settings(quantizer_options={"scale": "fan_in"})},
            "quantizer_options",
        ),
    ],
)
def test_choices_that_are_none(arguments, message):
    with pytest.raises(InputError, match=message):
        tuning.HyperModel(**arguments)


def test_a_weighted_objective_adds_what_should_be_small_and_takes_away_what_should_be_great():
    goal = tuning.objective({"val_accuracy": 2.0, "tflite_bytes": 0.001})
    assert goal.direction == "min"
    assert goal.get_value({"val_accuracy": 0.75, "tflite_bytes": 3000.0, "loss": 9.0}) == pytest.approx(1.5)
    again = objectives.read(json.loads(json.dumps(objectives.describe(goal))))
    assert objectives.describe(again) == objectives.describe(goal)
    for wrong in ({"val_accuracy": 0.0, "val_loss": 1}, {"val_accuracy": 1}):
        with pytest.raises(InputError, match=r"weight"):
            tuning.objective(wrong)


def test_the_front_is_what_no_other_trial_beats_in_both():
    points = [(0.9, 50.0), (0.8, 20.0), (0.7, 30.0), (0.8, 20.0), (0.95, 90.0), (0.9, 60.0)]
    assert presentation.best_pairs(points, ["max", "min"]) == [1, 3, 0, 4]
    assert presentation.best_pairs([(1.0, 2.0)], ["min", "min"]) == [0]


def converted(**quantizers):
    options = {"padding": "same", "pad_values": 1.0 if quantizers else 0.0, "use_bias": False}
    layer = lq.layers.QuantConv2D(64, 3, input_shape=(8, 8, 32), **options, **quantizers)
    return export.convert(tf.keras.Sequential([layer]), strict=False).tflite


def test_instructions_are_counted_from_operators():
    products = 8 * 8 * 64 * 3 * 3 * 32
    binary = cost.instructions(converted(kernel_quantizer="bi_half", input_quantizer="ste_sign"))
    whole = cost.instructions(converted())
    # Both packed inputs and outputs count a little besides.
    np.testing.assert_allclose(binary, products * 4.1 / 128, atol=8 * 8 * 64)
    np.testing.assert_allclose(whole, products * 0.35, atol=8 * 8 * 64)
    with pytest.raises(InputError, match="TensorFlow Lite"):
        cost.instructions(b"nothing")


@pytest.mark.slow
def test_a_search_of_everything_for_accuracy_and_cost(tmp_path):
    hypermodel = tuning.HyperModel("conv2", SETTINGS, per_layer=True, **CHOICES)
    options = {"objective": {"val_accuracy": 1.0, "instructions": 1e-6}, "max_epochs": 2, "factor": 2}
    search = tuning.Hyperband(hypermodel, out=tmp_path / "out", seed=1, **options)
    search.search(verbose=0)
    found = search.trials()
    assert {trial.status for trial in found} == {"COMPLETED"}, [trial.reason for trial in found]
    for trial in found:
        expected = 1e-6 * trial.metrics["instructions"] - trial.metrics["val_accuracy"]
        assert trial.score == pytest.approx(expected)
    best = min(found, key=lambda trial: trial.score)
    assert search.best_run().folder == best.folder
    assert (tmp_path / "out" / "front.png").read_bytes().startswith(b"\x89PNG")
    again = tuning.from_folder(tmp_path / "out")
    assert again.oracle.objective.weights == [1.0, 1e-6]
