"""Layers, networks and inputs that several of these tests share, values as of a training, and a report by names."""

import functools

import larq
import numpy as np
import small
import tensorflow as tf

from larq_equalbits import export

layers = tf.keras.layers
IMAGE = (8, 8, 3)
stack = functools.partial(small.stack, shape=(8, 8, 32))


def quant(kind, *sizes, kernel_quantizer="bi_half", **options):
    """Larq's layer of the kind, by name or class: signs of its inputs, a binary kernel, no bias, or as options say."""
    separable = ("depthwise_quantizer", "pointwise_quantizer")
    names = {"SeparableConv2D": separable, "DepthwiseConv2D": separable[:1]}.get(kind, ("kernel_quantizer",))
    chosen = {"input_quantizer": "ste_sign", "use_bias": False, **dict.fromkeys(names, kernel_quantizer)}
    layer = kind if isinstance(kind, type) else getattr(larq.layers, f"Quant{kind}")
    return layer(*sizes, **{**chosen, **options})


def convolution(filters=8, size=3, **options):
    return quant("Conv2D", filters, size, **options)


def conv(filters=8, size=3, **options):
    """A convolution of Keras."""
    return layers.Conv2D(filters, size, **{"padding": "same", "use_bias": False, **options})


def normalized(layer, x):
    return layers.BatchNormalization()(layer(x))


def head(x, units=2, activation=None):
    return layers.Dense(units, activation, name="head")(layers.GlobalAveragePooling2D()(x))


def network_on(*shape, dtype=None):
    """Turns a function of a tensor into one that builds the network that computes it, from an input of the shape."""

    def builder(body):
        @functools.wraps(body)
        def build(*arguments, **options):
            given = tf.keras.Input(shape, dtype=dtype)
            return tf.keras.Model(given, body(given, *arguments, **options))

        return build

    return builder


def beside(branches, shape=(8, 8, 32)):
    """A network of one input with an output of each of the branches, which are functions of a tensor."""
    return network_on(*shape)(lambda x: [branch(x) for branch in branches])()


def ternary(kernel):
    """A quantizer that has zeros."""
    return tf.sign(tf.where(tf.abs(kernel) < 0.01, 0.0, kernel))


def inputs_of(model, count=12):
    """Random inputs of the model's types and shapes, in the structure that it takes."""
    generator = np.random.default_rng(1)

    def values(spec):
        shape = (count, *spec.shape[1:])
        if spec.dtype.is_floating:
            return generator.normal(size=shape).astype("float32")
        return generator.integers(0, 256 if spec.dtype == tf.uint8 else 9, shape).astype(spec.dtype.name)

    return tf.nest.map_structure(values, model.save_spec()[0][0])


class WithAFunction(tf.keras.Model):
    """Calls a layer or a model inside a function of its own, with a condition that TensorFlow traces."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    @tf.function
    def traced(self, inputs):
        outputs = self.inner(inputs)
        if tf.reduce_max(outputs) > 1e9:
            outputs = 2 * outputs
        return outputs

    def call(self, inputs):
        return self.traced(inputs)


def as_if_trained(model, negative=True):
    """The model with other values in its normalizations than a fresh one has, negative factors among them or not."""
    generator = np.random.default_rng(2)
    for layer in model._flatten_layers():
        if isinstance(layer, layers.BatchNormalization) and layer.built:
            for name in ("gamma", "beta", "moving_mean", "moving_variance"):
                variable = getattr(layer, name)
                positive = name == "moving_variance" or (name == "gamma" and not negative)
                if variable is not None:
                    values = (
                        generator.uniform(0.5, 2, variable.shape)
                        if positive
                        else generator.normal(size=variable.shape)
                    )
                    variable.assign(values)
    return model


def rows(report):
    """The row of each layer by its name, without those of the models around it."""
    return {layer.name.split("/")[-1]: layer for layer in report.layers}


def without(rewrite):
    """All rewrites but one."""
    return [name for name in export.REWRITES if name != rewrite]
