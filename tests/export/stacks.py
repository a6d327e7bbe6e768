"""Models that several of these tests make, and values as of a training."""

import numpy as np
import tensorflow as tf


def stack(*layers, shape=(8, 8, 32)):
    """A Sequential model of the layers, on images of the shape."""
    return tf.keras.Sequential([tf.keras.Input(shape), *layers])


def as_if_trained(model):
    """The model with other values in its normalizations than a fresh one has, negative factors among them."""
    generator = np.random.default_rng(2)
    for layer in model._flatten_layers():
        if isinstance(layer, tf.keras.layers.BatchNormalization) and layer.built:
            for name in ("gamma", "beta", "moving_mean"):
                variable = getattr(layer, name)
                variable.assign(generator.normal(size=variable.shape))
            layer.moving_variance.assign(generator.uniform(0.5, 2, size=layer.moving_variance.shape))
    return model
