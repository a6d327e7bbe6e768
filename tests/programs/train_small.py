"""Trains a small network in the folder given, and dies of SIGKILL where told to."""

import argparse
import os
import resource
import signal

import larq_equalbits  # noqa: F401  (selects Keras 2 before TensorFlow is imported)

# isort: split
import larq as lq
import numpy as np
import tensorflow as tf

from larq_equalbits import training
from larq_equalbits.training import distribution


def build(*, input_shape, num_classes, quantizer, binarize_activations, units=16, dropout=0.2):
    """Quick to trace, and with everything that has a state: batch norm, dropout, a binary kernel."""
    return tf.keras.Sequential(
        [
            tf.keras.Input(input_shape),
            tf.keras.layers.Flatten(name="flatten"),
            lq.layers.QuantDense(units, kernel_quantizer=quantizer, use_bias=False, name="binary"),
            tf.keras.layers.BatchNormalization(momentum=0.9, name="norm"),
            tf.keras.layers.Dropout(dropout, name="dropout"),
            tf.keras.layers.Dense(num_classes, activation="softmax", name="classifier"),
        ],
        name="small",
    )


def settings(**changes):
    return training.Settings(**{"model": "small", "quantizer": "ste_sign", "epochs": 3, **changes})


def train(folder, chosen=None, **options):
    return training.train(chosen or settings(), folder, **{"build": build, "verbose": 0, **options})


class Stop(tf.keras.callbacks.Callback):
    """Calls `stop` in the middle of the given epoch (from 0; None for never)."""

    def __init__(self, epoch, stop):
        super().__init__()
        self.last, self.stop = epoch, stop
        self.epoch = 0

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if self.epoch == self.last and batch == 4:
            self.stop()


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def fill_disk():
    """Lets no file grow beyond 4 KB, as a full disk does."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))


def die_while_saving(number):
    """Makes the `number`-th checkpoint end after some bytes, with the process."""
    saved = []

    def savez(file, **arrays):
        saved.append(file)
        if len(saved) == number:
            file.write(b"PK\x03\x04 the first bytes of a checkpoint")
            file.flush()
            die()
        whole(file, **arrays)

    whole, np.savez = np.savez, savez


def replicas(count):
    """The strategy of several logical devices on one CPU, as `mirrored` makes it of several GPUs."""
    if count is None:
        return None
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * count)
    return tf.distribute.MirroredStrategy([device.name for device in tf.config.list_logical_devices("CPU")])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--kill-in-epoch", type=int)
    parser.add_argument("--kill-while-saving", type=int)
    parser.add_argument("--fill-disk-in-epoch", type=int)
    parser.add_argument("--strategy")
    parser.add_argument("--replicas", type=int, help="So many of this machine's CPU, mirrored.")
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--no-dropout", action="store_true")
    parser.add_argument("--epochs", type=int, default=3)
    arguments = parser.parse_args()
    strategy = replicas(arguments.replicas) or distribution.strategy(arguments.strategy)
    if arguments.kill_while_saving:
        die_while_saving(arguments.kill_while_saving)
    saboteurs = [Stop(arguments.kill_in_epoch, die), Stop(arguments.fill_disk_in_epoch, fill_disk)]
    changes = {"model_options": {"dropout": 0.0}} if arguments.no_dropout else {}
    chosen = settings(epochs=arguments.epochs, batch_size=arguments.batch_size, **changes)
    train(arguments.folder, chosen, callbacks=saboteurs, strategy=strategy, resume=arguments.resume)


if __name__ == "__main__":
    main()
