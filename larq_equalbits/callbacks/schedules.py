"""Schedules over the epochs of training, and the callbacks that drive quantizers and constraints by them.

A schedule is a function of the epoch alone, so training which is resumed with ``initial_epoch`` goes on
where it stopped.
"""

from typing import Any

import tensorflow as tf

from larq_equalbits._bits.kernels import QuantizedKernel, are_built, quantized_kernels
from larq_equalbits._errors import InputError, invalid, is_number, is_positive, is_whole
from larq_equalbits.constraints import MagnitudeClip
from larq_equalbits.pruning import Pruned
from larq_equalbits.quantizers import RBNN
from larq_equalbits.quantizers.base import EstimatorQuantizer


def error_decay(progress: float, t_min: float = 1e-3, t_max: float = 10.0) -> tuple[float, float]:
    r"""Sharpness t and height k of IR-Net's estimator.

    \(t = t_{min} (t_{max} / t_{min})^{progress}\) and \(k = \max(1/t, 1)\).

    `progress` is e / E for epoch e of E, from 0; past 1 t stays `t_max`.
    """
    t = t_min * (t_max / t_min) ** min(progress, 1.0)
    return t, max(1.0 / t, 1.0)


def falling_percentile(progress: float, start: float = 15.0) -> float:
    """SiMaN's percentile, start * (1 - progress), never below 0; `progress` as above."""
    return start * max(1.0 - progress, 0.0)


class _Schedule(tf.keras.callbacks.Callback):
    """A callback that moves something at the start of an epoch; what, and whether it is there, each subclass says."""

    def __init__(self, epochs: int | None = None) -> None:
        if epochs is not None and not is_whole(epochs, 1):
            raise invalid("epochs", epochs, "a whole number of 1 or more, or None")
        super().__init__()
        # What is logged for a batch is not looked at, so it need not be fetched.
        self._supports_tf_logs = True
        self.epochs = epochs
        self._checked, self._epoch = True, 0

    def check(self) -> None:
        """Raises InputError where the built model has nothing to move."""
        raise NotImplementedError(f"{type(self).__name__}.check")

    def _move(self, epoch: int) -> None:
        """Moves to the values of the epoch."""
        raise NotImplementedError(f"{type(self).__name__}._move")

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Checks that there is something to move."""
        self._checked = are_built(self.model)
        if self._checked:
            self.check()

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Moves to the values of the epoch."""
        self._epoch = epoch
        self._move(epoch)

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Catches up on what only the first batch has built."""
        if not self._checked:
            self._checked = True
            self.check()
            self._move(self._epoch)

    def _progress(self, epoch: int) -> float:
        return epoch / (self.epochs or self.params["epochs"])


class ErrorDecay(_Schedule):
    """Moves t and k of every `ir_net` and `rbnn` at the start of an epoch, pruned or not, and renews RBNN's rotations.

    The rotations of a layer with `trainable=False` stand still, and so do those of weights that are no numbers.

    Args:
        t_min: sharpness at the start: 1e-3 for IR-Net's ResNet-20, 1e-1 for its VGG-small, 1e-2 for RBNN.
        t_max: sharpness at the end, and after it.
        epochs: length of the whole training; None for the `epochs` of `fit`.
        rotate_every: renews the rotations of `rbnn` at the start of every that many epochs.

    Raises:
        InputError: a `t_min` or `t_max` that is no positive number, `epochs` or `rotate_every` below 1; in
            training, as soon as the model is built, a model without such a quantizer.

    Reference:
        Qin et al., IR-Net, CVPR 2020, Eq. 9; Lin et al., RBNN, NeurIPS 2020.

    Examples:
        >>> layer = lq.layers.QuantDense(2, kernel_quantizer="ir_net", input_shape=(4,))
        >>> decay = ErrorDecay(0.1, 10.0, epochs=2)
        >>> decay.set_model(tf.keras.Sequential([layer]))
        >>> decay.on_epoch_begin(1)  # as `fit` does
        >>> round(float(layer.kernel_quantizer.t), 2)
        1.0
    """

    def __init__(
        self, t_min: float = 1e-3, t_max: float = 10.0, epochs: int | None = None, rotate_every: int = 1
    ) -> None:
        for name, value in (("t_min", t_min), ("t_max", t_max)):
            if not is_positive(value):
                raise invalid(name, value, "a positive number")
        if not is_whole(rotate_every, 1):
            raise invalid("rotate_every", rotate_every, "a whole number of 1 or more")
        super().__init__(epochs)
        self.t_min, self.t_max, self.rotate_every = t_min, t_max, rotate_every

    def _estimators(self) -> list[tuple[EstimatorQuantizer, QuantizedKernel]]:
        found = []
        for kernel in quantized_kernels(self.model):
            outer = kernel.quantizer
            quantizer = outer.quantizer if isinstance(outer, Pruned) else outer
            if isinstance(quantizer, EstimatorQuantizer):
                found.append((quantizer, kernel))
        return found

    def check(self) -> None:
        """Raises InputError where the built model has neither quantizer."""
        if not self._estimators():
            raise InputError(
                "ErrorDecay (the estimator) needs a model with the quantizer ir_net or rbnn, but got none."
            )

    def _move(self, epoch: int) -> None:
        estimator = error_decay(self._progress(epoch), self.t_min, self.t_max)
        if not are_built(self.model):
            # There are no kernels yet, but the first batch already asks the quantizers.
            for layer in self.model._flatten_layers():
                if isinstance(layer, EstimatorQuantizer):
                    layer.set_estimator(*estimator)
        for quantizer, kernel in self._estimators():
            quantizer.set_estimator(*estimator)
            learns = quantizer.trainable and kernel.layer.trainable
            if isinstance(quantizer, RBNN) and learns and epoch % self.rotate_every == 0:
                quantizer.rotate(kernel.latent())


class PercentileDecay(_Schedule):
    """Lets the percentile of every `magnitude_clip` fall to 0 over training.

    Args:
        start: percentile at the start, in percent, from 0 to below 50.
        epochs: length of the whole training; None for the `epochs` of `fit`.

    Raises:
        InputError: a `start` outside [0, 50), `epochs` below 1; in training, as soon as the model is built, a
            model without a quantized kernel under that constraint.

    Reference:
        The authors' code of SiMaN, q = 15 (1 - epoch / epochs).

    Examples:
        >>> clip = lqe.constraints.MagnitudeClip(15.0)
        >>> layer = lq.layers.QuantDense(2, kernel_quantizer="siman", kernel_constraint=clip, input_shape=(4,))
        >>> decay = PercentileDecay(15.0, epochs=3)
        >>> decay.set_model(tf.keras.Sequential([layer]))
        >>> decay.on_epoch_begin(2)  # as `fit` does
        >>> round(float(layer.kernel_constraint.percentile), 2)
        5.0
    """

    def __init__(self, start: float = 15.0, epochs: int | None = None) -> None:
        if not (is_number(start) and 0 <= start < 50):
            raise invalid("start", start, "a number from 0 to below 50")
        super().__init__(epochs)
        self.start = start

    def _constraints(self) -> list[MagnitudeClip]:
        layers = self.model._flatten_layers()
        if are_built(self.model):
            layers = (kernel.layer for kernel in quantized_kernels(self.model))
        # A variable may hold the constraint inside another one, which notes that the variable was updated.
        return [
            value for layer in layers for value in vars(layer).values() if isinstance(value, MagnitudeClip)
        ]

    def check(self) -> None:
        """Raises InputError where no kernel of the built model has the constraint."""
        if not self._constraints():
            raise InputError(
                "PercentileDecay (the percentile) needs a quantized kernel with the constraint magnitude_clip, "
                "but got none."
            )

    def _move(self, epoch: int) -> None:
        percentile = falling_percentile(self._progress(epoch), self.start)
        for constraint in self._constraints():
            constraint.percentile.assign(percentile)
