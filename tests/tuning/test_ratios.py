import json

import larq as lq
import pytest
import tensorflow as tf

from larq_equalbits import _choices
from larq_equalbits._bits.kernels import quantized_kernels
from larq_equalbits._errors import InputError
from larq_equalbits.training import Settings
from larq_equalbits.tuning import HyperModel, keras_tuner, objective, ratios


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("0.1:0.9:0.1", (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)),
        ("0:1:0.5", (0.0, 0.5, 1.0)),
        ("0.3:0.5:0.15", (0.3, 0.45)),
        ("0.5:0.5:0.1", (0.5,)),
        ("0.3,0.1", (0.3, 0.1)),
        (" 1 ", (1.0,)),
    ],
)
def test_parse(text, values):
    assert _choices.ratios(text) == values


@pytest.mark.parametrize(
    "text",
    [
        *("", ",", "a", "1.1", "-0.1", "inf", "0.1,nan", "0.5,0.5"),
        *("0.1:0.9", "0.9:0.1:0.1", "0.1:0.9:0", "0.1:0.9:-0.1", "0:1.1:0.1", "0:1:nan", "0.1:0.2:0.1:0.1"),
    ],
)
def test_parse_refuses(text):
    with pytest.raises(InputError, match="ratios must be"):
        _choices.ratios(text)


def _model():
    shared = lq.quantizers.get({"class_name": "bi_half", "config": {"positive_ratio": 0.5}})
    twice = {"depthwise_quantizer": shared, "pointwise_quantizer": shared}
    layers = [
        lq.layers.QuantConv2D(4, 3, kernel_quantizer=shared, name="one", input_shape=(8, 8, 2)),
        lq.layers.QuantSeparableConv2D(4, 3, name="two", **twice),
        tf.keras.layers.Flatten(),
        lq.layers.QuantDense(3, kernel_quantizer=shared, name="three"),
        lq.layers.QuantDense(3, kernel_quantizer="ste_sign", kernel_constraint="weight_clip", name="four"),
    ]
    return tf.keras.Sequential(layers)


def test_every_kernel_gets_its_own_ratio_also_of_a_shared_quantizer():
    model = _model()
    names = [kernel.name for kernel in ratios.tunable(model)]
    assert names == ["one", "two/depthwise_kernel", "two/pointwise_kernel", "three"]
    wanted = dict(zip(names, (0.25, 0.4, 0.75, 1.0), strict=True))
    ratios.apply(model, wanted)
    saved = tf.keras.models.clone_model(model)
    for made in (model, saved):
        found = {kernel.name: kernel.quantizer.positive_ratio for kernel in ratios.tunable(made)}
        assert found == wanted
    assert (quantized_kernels(model)[3].codes() == 1).all()


def test_a_model_without_a_ratio_is_refused():
    with pytest.raises(InputError, match="positive_ratio"):
        ratios.apply(tf.keras.Sequential([tf.keras.layers.Dense(2, input_shape=(2,))]), 0.5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        *(({"ratios": ratios}, "ratios must be") for ratios in ([], [0.5, 1.5], ["a"])),
        ({"low": 0.9, "high": 0.1}, "low and high"),
        *(({"seeds": seeds}, "seeds") for seeds in ([], [-1], [0.5])),
        ({"model": "conv3"}, "conv3"),
        ({"model": 3}, "model"),
    ],
)
def test_hypermodel_refuses(arguments, message):
    with pytest.raises(InputError, match=message):
        HyperModel(**arguments)


def test_hypermodel_refuses_settings_that_leave_no_ratio_to_choose():
    with pytest.raises(InputError, match="ste_sign"):
        HyperModel("conv2", Settings(quantizer="ste_sign"))
    with pytest.raises(InputError, match="positive_ratio"):
        HyperModel("conv2", Settings(quantizer_options={"positive_ratio": 0.2}))
    with pytest.raises(InputError, match=r'estimator must be "none" for the quantizer bi_half'):
        HyperModel("conv2", Settings(estimator=(1e-3, 10.0)))


@pytest.mark.parametrize("fields", [{}, {"recipe": "siman", "quantizer": "bi_half"}, {"epochs": 10}])
def test_another_process_makes_the_same_trials_of_other_epochs(fields):
    hypermodel = HyperModel("conv2", Settings(**fields), ratios=[0.5])
    again = HyperModel.from_description(json.loads(json.dumps(hypermodel.describe())))
    one, other = (each.settings(keras_tuner.HyperParameters()) for each in (hypermodel, again))
    assert one.replace(epochs=27).plan() == other.replace(epochs=27).plan()
    assert one.to_json() == other.to_json()


@pytest.mark.parametrize(
    ("name", "direction"),
    [("val_accuracy", "max"), ("a/bit_entropy", "max"), ("val_loss", "min"), ("tflite_bytes", "min")],
)
def test_objective_knows_its_direction(name, direction):
    assert objective(name).direction == direction
    assert objective(name, "min").direction == "min"


def test_objective_refuses_what_it_cannot_know():
    with pytest.raises(InputError, match="bit_flips"):
        objective("bit_flips")
    with pytest.raises(InputError, match="up"):
        objective("accuracy", "up")
    several = objective(["val_accuracy", keras_tuner.Objective("bit_flips", "min")])
    assert [each.direction for each in several] == ["max", "min"]


def test_keras_3_is_left_as_it_was(run_script):
    code = (
        "import larq_equalbits.tuning as t, keras, sys; "
        "assert keras.__version__.startswith('3.'), keras.__version__; "
        "assert t.keras_tuner.HyperModel.__module__.startswith('keras_tuner')"
    )
    run_script(code)


@pytest.mark.slow
def test_a_keras_tuner_on_keras_3_is_refused(run_python):
    code = "import keras_tuner, larq_equalbits.tuning"
    done = run_python("-c", code, env={"TF_USE_LEGACY_KERAS": "1"}, status=1)
    assert "import larq_equalbits.tuning before keras_tuner" in done.stderr.splitlines()[-1]
