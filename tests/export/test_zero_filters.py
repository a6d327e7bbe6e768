"""Zero filters leave the file, with the inputs that they fed, wherever they add the same at every position."""

import larq
import numpy as np
import pytest
import tensorflow as tf
from stacks import beside, convolution, network_on, quant, rows, stack, without

from larq_equalbits import export, pruning
from larq_equalbits.quantizers import FastSteSign

layers = tf.keras.layers


def pruned(model, sparsity=0.5):
    return pruning.prune(model, sparsity, granularity="filter")


def rewrites(report):
    return {name: row.rewrite for name, row in rows(report).items()}


@pytest.mark.parametrize("pad_values", [0, 1])
def test_a_chain_loses_its_zero_filters(images, exact, pad_values):
    same = {"padding": "same", "pad_values": pad_values}
    model = stack(
        convolution(32, name="first", **same),
        layers.BatchNormalization(),
        convolution(32, name="second", **same),
        layers.MaxPooling2D(),
        layers.BatchNormalization(scale=False),
        convolution(16, name="third", padding="valid"),
        layers.BatchNormalization(),
        layers.Flatten(),
        quant("Dense", 24, use_bias=True, name="fourth"),
        layers.BatchNormalization(),
        layers.Dense(10, name="last"),
    )
    report, operators = exact(pruned(model), images, atol=1e-4)
    assert report.verification.argmax_agreement == 1
    assert operators["LceBconv2d"] == 4 and "MUL" not in operators
    applied = rewrites(report)
    # Padding with 0 is no code, and with +1 it is what some of the constants are.
    dropped = applied["first"].partition(" of 32 filters are zero and dropped")[0]
    assert (0 < int(dropped) < 16) if pad_values else "dropped" not in applied["first"]
    assert "16 of 32 filters are zero and dropped" in applied["second"]
    assert "without the inputs from 16 zero filters of second/second" in applied["third"]
    assert "12 of 24 filters are zero and dropped" in applied["fourth"]
    masked = export.convert(pruned(model), rewrites=without("zero_filters"), verify_on=False)
    assert len(report.tflite) < len(masked.tflite)
    sizes = [
        {layer.name: layer.bytes for layer in each.layers if layer.name.startswith("third")}
        for each in (report, masked)
    ]
    # A quarter of the weights, half of the filters by half of the inputs; but bits are packed by 32, and the shape
    # for the dense layer takes 16 bytes in both.
    assert sum(sizes[0].values()) - 16 <= 0.5 * (sum(sizes[1].values()) - 16)


def test_float_activations_and_float_consumers(images, exact):
    model = stack(
        convolution(32, input_quantizer=None, use_bias=True, bias_initializer="ones", name="first"),
        layers.ReLU(),
        convolution(16, input_quantizer=None, padding="same", activation="relu", name="second"),
        layers.GlobalAveragePooling2D(),
        layers.Dense(10, name="last"),
    )
    report, _ = exact(pruned(model), images, atol=1e-3)
    applied = rewrites(report)
    # The bias of 1 comes through the ReLU, and the padding of `second` is 0.
    assert "dropped" not in applied["first"]
    assert "8 of 16 filters are zero and dropped" in applied["second"]
    assert {layer.name for layer in report.layers} >= {"last"}


def test_what_a_skip_needs_stays(images, exact):
    inputs = tf.keras.Input((8, 8, 32))
    outputs = convolution(32, padding="same", pad_values=1, name="inside")(inputs)
    outputs = layers.Add()([inputs, outputs])
    outputs = convolution(8, name="after")(outputs)
    report, operators = exact(pruned(tf.keras.Model(inputs, outputs)), images)
    # A mask costs no operator.
    assert operators == {"LceQuantize": 2, "LceBconv2d": 2, "ADD": 1}
    assert rewrites(report)["inside"] == "convolution of binary with zero filters"


def test_of_filters_that_are_all_zero_one_stays(images, exact):
    silent = pruning.PrunedBinary(convolution(8), criterion=np.zeros((3, 3, 32, 8)))
    report, _ = exact(stack(silent, convolution(8)), images)
    assert "7 of 8 filters are zero and dropped" in report.layers[0].rewrite


def test_before_a_function_that_may_mix_channels_all_filters_stay(images, exact):
    @network_on(8, 8, 32)
    def network(image):
        mixing = ("softmax", tf.nn.softmax)
        mixed = [convolution(16, name=f"inside{i}", activation=each)(image) for i, each in enumerate(mixing)]
        mixed += [
            layers.Activation(each)(convolution(16, name=f"apart{i}")(image)) for i, each in enumerate(mixing)
        ]
        return [layers.Dense(10)(layers.GlobalAveragePooling2D()(each)) for each in mixed]

    report, _ = exact(pruned(network()), images, atol=1e-4)
    kept = [rewrite for name, rewrite in rewrites(report).items() if "dense" not in name]
    assert len(kept) == 4 and all("zero filters" in each and "dropped" not in each for each in kept)


def test_before_quantizers_that_look_at_all_channels_all_filters_stay(images):
    def branch(name, **options):
        first = convolution(16, name=name, activation=FastSteSign())
        after = convolution(8, input_quantizer=larq.quantizers.SteTern(**options))
        return lambda x: after(first(x))

    model = beside([branch("each"), branch("all", ternary_weight_networks=True)])
    report = export.convert(pruned(model), verify_on=images, strict=False)
    assert [name for name, rewrite in rewrites(report).items() if "dropped" in rewrite] == ["each"]


def test_the_model_is_as_it_was(images):
    model = pruned(stack(convolution(32), layers.BatchNormalization(), convolution(8), layers.PReLU()))
    before = model.predict(images, verbose=0)
    attributes = [dict(vars(layer)) for layer in model._flatten_layers()]
    export.convert(model)
    for layer, known in zip(model._flatten_layers(), attributes, strict=True):
        assert {name: id(value) for name, value in vars(layer).items()} == {
            name: id(value) for name, value in known.items()
        }
    np.testing.assert_array_equal(model.predict(images, verbose=0), before)
