"""What verification does with outputs and labels that are not plain class scores and class numbers."""

import numpy as np
import pytest
import tensorflow as tf

from larq_equalbits import export

layers = tf.keras.layers


def network(weight=1.0, *behind):
    model = tf.keras.Sequential([tf.keras.Input((4,), name="x"), layers.Dense(3, name="y"), *behind])
    model.layers[0].kernel.assign(np.full((4, 3), weight))
    return model


@pytest.fixture(scope="module")
def tflite():
    return export.convert(network()).tflite


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_keras_outputs_that_are_not_finite_do_not_pass(tflite, bad):
    inputs = np.ones((5, 4))
    with pytest.raises(export.ConversionError, match="output 'y' of Keras holds NaN or infinity for 5 of 5"):
        export.convert(network(bad), verify_on=inputs)
    inputs[2] = bad
    with pytest.raises(export.ConversionError, match="of Keras holds NaN or infinity for 1 of 5 inputs"):
        export.verify(network(), tflite, inputs)


def test_a_file_whose_outputs_are_not_finite_does_not_pass():
    def logarithms(weight):
        return network(weight, layers.Lambda(tf.math.log, name="z"))

    tflite = export.convert(logarithms(-1.0)).tflite
    with pytest.raises(export.ConversionError, match="output 'z' of the file holds NaN or infinity"):
        export.verify(logarithms(1.0), tflite, np.ones((5, 4)))
