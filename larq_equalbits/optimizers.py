r"""Optimizers with weight decay that knows what is binary, and learning rates after a warm-up.

Decay here is the L2 term of PyTorch's optimizers, with which the papers were trained: the optimizer sees
\(g + \lambda w\) instead of the gradient g, before its momentum. (Keras' own `weight_decay` shrinks the
weight apart from the gradient.) It is added after the gradients of all replicas were summed, once.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import tensorflow as tf

from larq_equalbits._bits.kernels import quantized_kernels
from larq_equalbits._choices import DECAYS
from larq_equalbits._errors import InputError, invalid, is_number, is_positive

__all__ = ["SGD", "Adam", "ConstantRate", "CosineDecay", "StepDecay", "spared"]
__dir__ = __all__.copy


def spared(model: tf.keras.Model, policy: str) -> list[tf.Variable]:
    """The trainable variables of a built `model` that do not decay.

    Args:
        model: the network.
        policy: "equal_bits": everything decays, latent weights of quantized kernels too (their size decides
            how easily a bit flips). "siman": quantized kernels, and whatever their quantizers learn (scales),
            do not decay; everything else does. "none": nothing decays.

    Raises:
        InputError: an unknown policy, or a name that a variable which decays shares with one that does not.

    Reference:
        Li et al., Equal Bits, Fig. 3; Lin et al., SiMaN, Sec. 4.3.

    Examples:
        >>> [variable.name for variable in spared(model, "siman")]
        ['conv/kernel:0']
    """
    if policy not in DECAYS:
        raise invalid("decay", policy, f"one of {', '.join(DECAYS)}")
    if policy == "none":
        return list(model.trainable_variables)
    if policy == "equal_bits":
        return []
    binary = set()
    for kernel in quantized_kernels(model):
        learned = getattr(kernel.quantizer, "trainable_variables", ())
        # A trainable variable may arrive wrapped in another object, whose identifier is still its own.
        binary |= {variable._unique_id for variable in (kernel.variable.latent_variable, *learned)}
    chosen = [variable for variable in model.trainable_variables if variable._unique_id in binary]
    names = {variable.name for variable in chosen}
    for variable in model.trainable_variables:
        if variable.name in names and variable._unique_id not in binary:
            raise InputError(
                f"model {model.name!r} must have another name for one of its variables {variable.name}, of which "
                "one decays and one does not: the optimizer, which is saved, knows them by their names."
            )
    return chosen


class _L2(tf.keras.optimizers.Optimizer):
    """Adds ``l2 * variable`` to the gradient of every variable that is not spared."""

    def __init__(
        self, *args: Any, l2: float = 0.0, spared: Iterable[str | tf.Variable] = (), **kwargs: Any
    ) -> None:
        if not (is_number(l2) and l2 >= 0):
            raise invalid("l2", l2, "a finite number of at least 0")
        if isinstance(spared, str):
            raise invalid("spared", spared, "a list of variables or of their names")
        super().__init__(*args, **kwargs)
        self.l2 = float(l2)
        self.spared = frozenset(each if isinstance(each, str) else each.name for each in spared)

    def build(self, var_list: Any) -> None:
        """Makes the optimizer's own variables for those of `var_list`."""
        # A replica's variable has a name of its own, and the key of the one that the model knows.
        self._undecayed = {self._var_key(each) for each in var_list if each.name in self.spared}
        super().build(var_list)

    def update_step(self, gradient: Any, variable: tf.Variable) -> Any:
        """Updates `variable` with its decayed gradient."""
        if self.l2 and self._var_key(variable) not in self._undecayed:
            gradient = tf.convert_to_tensor(gradient) + tf.cast(self.l2, variable.dtype) * variable
        return super().update_step(gradient, variable)

    def get_config(self) -> dict[str, Any]:
        """The arguments that make an equal optimizer."""
        return {**super().get_config(), "l2": self.l2, "spared": sorted(self.spared)}


@tf.keras.utils.register_keras_serializable("larq_equalbits")
class SGD(_L2, tf.keras.optimizers.SGD):
    """Keras' SGD with PyTorch's weight decay.

    Args:
        *args: those of `tf.keras.optimizers.SGD`.
        l2: decay, at least 0.
        spared: the variables that do not decay, as `spared` answers them, or their names.
        **kwargs: those of `tf.keras.optimizers.SGD`.

    Raises:
        InputError: an `l2` below 0, one name in place of several.

    Examples:
        >>> weight = tf.Variable(1.0, name="weight")
        >>> _ = SGD(0.1, l2=0.5).apply_gradients([(tf.constant(0.0), weight)])
        >>> round(float(weight), 4)
        0.95
    """


@tf.keras.utils.register_keras_serializable("larq_equalbits")
class Adam(_L2, tf.keras.optimizers.Adam):
    """Keras' Adam with PyTorch's weight decay.

    Args:
        *args: those of `tf.keras.optimizers.Adam`.
        l2: decay, at least 0.
        spared: the variables that do not decay, as `spared` answers them, or their names.
        **kwargs: those of `tf.keras.optimizers.Adam`.

    Raises:
        InputError: an `l2` below 0, one name in place of several.

    Examples:
        >>> weight = tf.Variable(1.0, name="weight")
        >>> _ = Adam(0.1, l2=0.5, spared=[weight.name]).apply_gradients([(tf.constant(0.0), weight)])
        >>> float(weight)
        1.0
    """


class _WarmUp(tf.keras.optimizers.schedules.LearningRateSchedule):
    """Rises linearly to `peak` over `warmup_steps` steps, then follows `after_warmup`.

    The rate of step s, counted from 0, is ``peak * (s + 1) / warmup_steps`` while s < warmup_steps.
    """

    def __init__(self, peak: float, warmup_steps: int = 0) -> None:
        super().__init__()
        for name, value, low in (("peak", peak, 0.0), ("warmup_steps", warmup_steps, 0)):
            if not (is_number(value) and value >= low):
                raise invalid(name, value, f"a number of at least {low}")
        self.peak = float(peak)
        self.warmup_steps = int(warmup_steps)

    def after_warmup(self, step: tf.Tensor) -> tf.Tensor:
        """The share of `peak` at `step`, a float32 scalar of at least `warmup_steps`."""
        return tf.ones_like(step)

    def __call__(self, step: Any) -> tf.Tensor:
        """The learning rate of a step, counted from 0."""
        step = tf.cast(step, tf.float32)
        rising = (step + 1) / max(self.warmup_steps, 1)
        return self.peak * tf.where(step < self.warmup_steps, rising, self.after_warmup(step))

    def get_config(self) -> dict[str, Any]:
        """The arguments that make an equal schedule."""
        return {"peak": self.peak, "warmup_steps": self.warmup_steps}


@tf.keras.utils.register_keras_serializable("larq_equalbits")
class ConstantRate(_WarmUp):
    """`peak` throughout, after the warm-up.

    Args:
        peak: the learning rate, at least 0.
        warmup_steps: optimizer steps of linear rise, at least 0.

    Raises:
        InputError: a `peak` or `warmup_steps` below 0 or no number.

    Examples:
        >>> print(ConstantRate(0.1, warmup_steps=4)(0).numpy(), ConstantRate(0.1)(9).numpy())
        0.025 0.1
    """


@tf.keras.utils.register_keras_serializable("larq_equalbits")
class StepDecay(_WarmUp):
    r"""\(peak \cdot factor^{m}\), where m is the number of milestones that the step has reached.

    Args:
        peak: the first learning rate, at least 0.
        milestones: optimizer steps from which on the rate is multiplied once more.
        factor: what it is multiplied by, above 0.
        warmup_steps: optimizer steps of linear rise, at least 0.

    Raises:
        InputError: as `ConstantRate`; milestones that descend, a `factor` that is not above 0.

    Reference:
        Li et al., Equal Bits: x0.1 after epochs 150, 250 and 320 of 350 on CIFAR.

    Examples:
        >>> rate = StepDecay(0.1, milestones=[10, 20])
        >>> [round(float(rate(step)), 4) for step in (0, 10, 20)]
        [0.1, 0.01, 0.001]
    """

    def __init__(
        self, peak: float, milestones: Sequence[int], factor: float = 0.1, warmup_steps: int = 0
    ) -> None:
        super().__init__(peak, warmup_steps)
        if not all(map(is_number, milestones)) or list(milestones) != sorted(milestones):
            raise invalid("milestones", list(milestones), "numbers of steps in ascending order")
        if not is_positive(factor):
            raise invalid("factor", factor, "a number above 0")
        self.milestones = [int(milestone) for milestone in milestones]
        self.factor = float(factor)

    def after_warmup(self, step: tf.Tensor) -> tf.Tensor:
        """The factor to the power of the milestones reached."""
        if not self.milestones:
            return tf.ones_like(step)
        powers = tf.constant([self.factor**power for power in range(len(self.milestones) + 1)])
        reached = tf.reduce_sum(tf.cast(step >= tf.constant(self.milestones, tf.float32), tf.int32))
        return tf.gather(powers, reached)

    def get_config(self) -> dict[str, Any]:
        """The arguments that make an equal schedule."""
        return {**super().get_config(), "milestones": self.milestones, "factor": self.factor}


@tf.keras.utils.register_keras_serializable("larq_equalbits")
class CosineDecay(_WarmUp):
    r"""Half a cosine from `peak` to 0: \(peak (1 + \cos(\pi (s - w) / (T - w))) / 2\).

    Here s is the step, w `warmup_steps` and T `total_steps`; past T the rate stays 0. With `hold_steps` h, s is rounded
    down to a multiple of h, but not below w; T is to be such a multiple.

    Args:
        peak: the highest learning rate, at least 0.
        total_steps: optimizer steps of the whole training, the warm-up among them; more than `warmup_steps`.
        warmup_steps: optimizer steps of linear rise, at least 0.
        hold_steps: for how many optimizer steps a rate stands still, at least 1.

    Raises:
        InputError: as `ConstantRate`; `total_steps` that are no more than `warmup_steps`, `hold_steps` below 1.

    Reference:
        Loshchilov and Hutter, SGDR, 2017; used by SiMaN, IR-Net and MPT, whose code moves the rate once an epoch.

    Examples:
        >>> rate = CosineDecay(0.1, total_steps=100)
        >>> [round(float(rate(step)), 4) for step in (0, 50, 100)]
        [0.1, 0.05, 0.0]
    """

    def __init__(self, peak: float, total_steps: int, warmup_steps: int = 0, hold_steps: int = 1) -> None:
        super().__init__(peak, warmup_steps)
        if not (is_number(total_steps) and total_steps > self.warmup_steps):
            raise invalid("total_steps", total_steps, f"more than the {self.warmup_steps} steps of warm-up")
        if not (is_number(hold_steps) and hold_steps >= 1):
            raise invalid("hold_steps", hold_steps, "a number of at least 1")
        self.total_steps = int(total_steps)
        self.hold_steps = int(hold_steps)

    def after_warmup(self, step: tf.Tensor) -> tf.Tensor:
        """The share of the peak along the cosine."""
        step -= step % self.hold_steps
        done = (step - self.warmup_steps) / (self.total_steps - self.warmup_steps)
        return (1 + tf.cos(math.pi * tf.clip_by_value(done, 0.0, 1.0))) / 2

    def get_config(self) -> dict[str, Any]:
        """The arguments that make an equal schedule."""
        return {**super().get_config(), "total_steps": self.total_steps, "hold_steps": self.hold_steps}
