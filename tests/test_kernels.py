import larq
import numpy as np
import tensorflow as tf

from larq_equalbits._bits.kernels import quantized_kernels


def _dense(name, **options):
    return larq.layers.QuantDense(3, kernel_quantizer="ste_sign", name=name, **options)


def test_kernels_of_nested_models_and_separable_layers_are_named_by_their_path():
    inner = tf.keras.Sequential(
        [larq.layers.QuantConv2D(4, 3, kernel_quantizer="ste_sign", name="c", input_shape=(8, 8, 3))],
        name="inner",
    )
    separable = larq.layers.QuantSeparableConv2D(
        4, 3, depthwise_quantizer="ste_sign", pointwise_quantizer="ste_sign", name="s"
    )
    model = tf.keras.Sequential([inner, separable, tf.keras.layers.Flatten(), _dense("d")])
    names = [kernel.name for kernel in quantized_kernels(model)]
    assert names == ["inner/c", "s/depthwise_kernel", "s/pointwise_kernel", "d"]


def test_kernels_of_a_subclassed_model_and_of_a_wrapper_are_told_apart():
    class Model(tf.keras.Model):
        def __init__(self):
            super().__init__()
            self.first = _dense("d")
            self.rest = [tf.keras.layers.TimeDistributed(_dense("inside"), name="time")]
            self.of_one_name = [_dense("d"), _dense("d_1"), _dense("d")]

        def call(self, inputs):
            hidden = self.rest[0](self.first(inputs))
            return sum(layer(hidden) for layer in self.of_one_name)

    model = Model()
    model(tf.ones((1, 5, 4)))
    names = [kernel.name for kernel in quantized_kernels(model)]
    assert names == ["d", "time/inside", "d_2", "d_1", "d_3"]


def test_a_shared_layer_counts_once_and_a_float_layer_not_at_all():
    shared = _dense("shared")
    inputs = tf.keras.Input((3,))
    outputs = tf.keras.layers.Dense(2)(shared(shared(inputs)))
    assert [kernel.name for kernel in quantized_kernels(tf.keras.Model(inputs, outputs))] == ["shared"]


def test_latent_values_and_codes():
    layer = larq.layers.QuantDense(2, kernel_quantizer="magnitude_aware_sign")
    layer.build((2, 2))
    latent = np.array([[0.5, -3.0], [-1.5, 1.0]], "float32")
    layer.kernel.assign(latent)
    (kernel,) = quantized_kernels(layer)
    np.testing.assert_array_equal(kernel.latent(), latent)
    np.testing.assert_array_equal(kernel.values(), [[1, -2], [-1, 2]])
    np.testing.assert_array_equal(kernel.codes(), [[1, -1], [-1, 1]])
    assert kernel.codes().dtype == np.int8


def test_an_unbuilt_model_has_none():
    assert quantized_kernels(tf.keras.Sequential([_dense("d")])) == []


def test_a_look_at_the_values_is_no_flip():
    with larq.context.metrics_scope(["flip_ratio"]):
        layer = _dense("d")
    layer(tf.ones((2, 4)))
    (kernel,) = quantized_kernels(layer)
    metric = layer.kernel_quantizer.flip_ratio
    before = [variable.numpy() for variable in metric.variables]
    kernel.codes()
    layer.kernel.assign(-layer.kernel.latent_variable)
    kernel.values()
    np.testing.assert_equal([variable.numpy() for variable in metric.variables], before)
    assert layer.kernel_quantizer.flip_ratio is metric
