"""Where classes differ, the layer at which the outputs part is named."""

import numpy as np
import pytest
import tensorflow as tf
from stacks import WithAFunction, convolution

from larq_equalbits import export
from larq_equalbits.export import gate, layer_outputs
from larq_equalbits.export.interpreter import load

layers = tf.keras.layers


USES = {
    "converted": lambda model, images: export.convert(model, verify_on=images),
    "compared": lambda model, images: export.compare_layers(model, {"input_1": images}),
    "calibrated": lambda model, images: export.convert(model, float_layers="int8", calibrate_on=images[:4]),
}


def network():
    return tf.keras.Sequential(
        [
            tf.keras.Input((8, 8, 32), name="image"),
            convolution(32, padding="same", pad_values=1, name="first"),
            layers.MaxPooling2D(name="pool"),
            layers.BatchNormalization(name="norm"),
            convolution(8, name="second"),
            layers.GlobalAveragePooling2D(name="mean"),
            layers.Dense(4, name="last"),
        ]
    )


def test_every_layer_is_compared_but_those_whose_work_was_moved(images):
    rows = export.compare_layers(network(), {"image": images})
    assert [row.name for row in rows] == ["norm", "second", "mean", "last"]
    assert not any(row.parts for row in rows)
    rows = export.compare_layers(network(), {"image": images}, rewrites=[])
    assert [row.name for row in rows] == ["first", "pool", "norm", "second", "mean", "last"]


@pytest.mark.parametrize("use", USES)
def test_a_function_of_the_models_own_keeps_no_constants(images, use):
    model = WithAFunction(convolution(name="first"))
    model(images[:2])
    USES[use](model, images)
    # Of every size that was traced meanwhile.
    for count in (1, 4, 6):
        before = model(images[:count]).numpy()
        model.inner.kernel.latent_variable.assign(-model.inner.kernel.latent_variable)
        np.testing.assert_array_equal(model(images[:count]), -before)


def test_layers_inside_a_function_of_the_models_own_are_compared(images):
    model = WithAFunction(convolution(name="first"))
    model(images[:2])
    assert [row.name for row in export.compare_layers(model, {"input_1": images})] == ["first"]


def test_the_layer_where_outputs_part_is_named(images):
    """LCE snaps a kernel whose magnitudes differ by 0.4 %; all that follows it then differs from Keras."""

    def nearly_binary(kernel):
        flags = tf.reshape(tf.range(tf.size(kernel)) // kernel.shape[-1] % 2, kernel.shape)
        return tf.sign(kernel) * (1.0 + 0.004 * tf.cast(flags, kernel.dtype))

    snapped = tf.keras.Sequential(
        [
            *network().layers[:3],
            convolution(8, name="snapped", kernel_quantizer=nearly_binary),
            layers.Flatten(),
            layers.Dense(2, name="last"),
        ]
    )
    snapped.build((None, 8, 8, 32))
    report = export.convert(snapped, verify_on=False)
    found = layer_outputs.first_difference(snapped, {snapped.input_names[0]: images})
    assert found.startswith("they part at layer 'snapped', whose outputs differ by up to")
    # Between what Keras and what the file answers for the first image, a second class wins in one of them alone.
    last = snapped.layers[-1]
    keras = snapped.predict(images, verbose=0)[0, 0]
    (answers,) = load(report.tflite).predict({snapped.input_names[0]: images}).values()
    last.kernel.assign(last.kernel * [[1.0, 0.0]])
    last.bias.assign([0.0, (keras + answers[0, 0]) / 2])
    report = export.convert(snapped, verify_on=False)
    verification = export.verify(snapped, report.tflite, images)
    assert verification.argmax_agreement < 1
    assert "they part at layer 'snapped'" in verification.first_difference
    words = r"another class .* they part at layer 'snapped'"
    with pytest.raises(export.ConversionError, match=words) as caught:
        gate.verified(snapped, report, images)
    # What the message names is enough.
    enough = float(str(caught.value).rsplit("--tolerance ", 1)[1].rstrip(")."))
    assert 0 <= enough - verification.differing / 6 < 1e-4
    assert gate.verified(snapped, report, images, enough).verification == verification
