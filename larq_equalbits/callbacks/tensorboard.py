"""What TensorBoard shows of the bits: scalars and histograms, in files of their own."""

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

import tensorflow as tf

from larq_equalbits._bits.kernels import QuantizedKernel
from larq_equalbits._errors import InputError, require

RUN = "bits"


class BitSummaries:
    """Writes scalars and histograms for TensorBoard into the run "bits" of a log folder.

    A run of its own, because TensorBoard follows only the newest event file of a run: in the folder of
    Keras' own files one of the two would stop appearing while the training goes on. Scalars are named
    measure first (``bit_entropy/<layer>``), so all layers of a measure stand together; histograms are
    ``latent/<layer>`` and ``codes/<layer>``.

    Args:
        log_dir: the folder that TensorBoard is started with, made where it is missing.

    Raises:
        InputError: where the folder cannot be written.
        ImportError: where tensorboard is not installed, which TensorFlow's summaries need.
    """

    def __init__(self, log_dir: str | os.PathLike[str]):
        require("tuning", "tensorboard")
        folder = Path(log_dir) / RUN
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            raise InputError(
                f"log_dir must be a folder that can be written, but {folder}: {error}"
            ) from error
        self._writer = tf.summary.create_file_writer(str(folder))

    def scalars(self, values: Mapping[str, float], step: int, suffix: str = "") -> None:
        """Writes every value with the measure in front: "conv/bit_flips" as "bit_flips/conv"."""
        with self._writer.as_default(), tf.summary.record_if(True):
            for key, value in values.items():
                layer, _, measure = key.rpartition("/")
                tf.summary.scalar(f"{measure}{suffix}/{layer or 'network'}", value, step=step)
        self._writer.flush()

    def histograms(self, kernels: list[QuantizedKernel], step: int) -> None:
        """Writes the distribution of latent weights and of codes for every kernel."""
        with self._writer.as_default(), tf.summary.record_if(True):
            for kernel in kernels:
                codes = tf.sign(kernel.quantized())
                tf.summary.histogram(f"latent/{kernel.name}", kernel.variable.latent_variable, step=step)
                tf.summary.histogram(f"codes/{kernel.name}", codes, step=step, buckets=3)
        self._writer.flush()

    def close(self) -> None:
        """Closes the file."""
        self._writer.close()
