"""Models that several of these tests make, and values as of a training."""

import numpy as np
import tensorflow as tf


def stack(*layers, shape=(8, 8, 32)):
    """A Sequential model of the layers, on images of the shape."""
    return tf.keras.Sequential([tf.keras.Input(shape), *layers])


def as_if_trained(model, negative=True):
    """The model with other values in its normalizations than a fresh one has, negative factors among them or not."""
    generator = np.random.default_rng(2)
    for layer in model._flatten_layers():
        if isinstance(layer, tf.keras.layers.BatchNormalization) and layer.built:
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
