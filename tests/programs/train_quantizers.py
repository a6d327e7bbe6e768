"""Trains a small network with every quantizer under a strategy: OUT.npz single|mirrored|multiworker."""

import sys

import larq_equalbits  # isort: skip  # selects Keras 2 before Larq is imported
import larq as lq
import numpy as np
import tensorflow as tf
from train_small import replicas

from larq_equalbits.callbacks.schedules import ErrorDecay, PercentileDecay

STRATEGIES = {
    "single": tf.distribute.get_strategy,
    "mirrored": lambda: replicas(2),
    "multiworker": tf.distribute.MultiWorkerMirroredStrategy,
}


def main(out, name):
    with STRATEGIES[name]().scope():
        tf.keras.utils.set_random_seed(1)
        layers = [
            lq.layers.QuantDense(
                6, kernel_quantizer=quantizer, kernel_constraint="magnitude_clip", name=quantizer
            )
            for quantizer in ("bi_half", "siman", "ir_net", "rbnn")
        ]
        model = tf.keras.Sequential([tf.keras.Input((6,)), *layers])
        model.compile(tf.keras.optimizers.SGD(1e-3), "mse")
    rng = np.random.default_rng(0)
    images, targets = rng.normal(size=(16, 6)).astype("float32"), rng.normal(size=(16, 6)).astype("float32")
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    data = tf.data.Dataset.from_tensor_slices((images, targets)).batch(8).with_options(options)
    schedules = [ErrorDecay(t_min=0.1), PercentileDecay()]
    model.fit(data, epochs=3, verbose=0, callbacks=schedules)
    for variable in model.variables:
        first, *others = getattr(variable, "values", [variable])
        for other in others:
            np.testing.assert_array_equal(first.numpy(), other.numpy())
    latent = {f"latent {layer.name}": layer.get_weights()[0] for layer in layers}
    codes = {f"codes {layer.name}": layer.kernel_quantizer(layer.get_weights()[0]) for layer in layers}
    np.savez(out, **latent, **codes)


if __name__ == "__main__":
    assert larq_equalbits.__version__
    main(*sys.argv[1:])
