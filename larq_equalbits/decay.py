r"""Weight decay that knows what is binary.

Decay here is the L2 term of PyTorch's optimizers, with which the papers were trained: the optimizer sees
\(g + \lambda w\) instead of the gradient g, before its momentum. (Keras' own `weight_decay` shrinks the
weight apart from the gradient.) It is added after the gradients of all replicas were summed, once.
"""

from collections.abc import Iterable
from typing import Any

import tensorflow as tf

from larq_equalbits.errors import InputError, invalid, is_number
from larq_equalbits.kernels import quantized_kernels

POLICIES = ("equal_bits", "siman", "none")


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
    """
    if policy not in POLICIES:
        raise invalid("decay", policy, f"one of {', '.join(POLICIES)}")
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


class _L2:
    """Adds ``l2 * variable`` to the gradient of every variable that is not spared."""

    def __init__(self, *args: Any, l2: float = 0.0, spared: Iterable[str] = (), **kwargs: Any) -> None:
        if not (is_number(l2) and l2 >= 0):
            raise invalid("l2", l2, "a finite number of at least 0")
        super().__init__(*args, **kwargs)
        self.l2 = float(l2)
        self.spared = frozenset(spared)

    def update_step(self, gradient: Any, variable: tf.Variable) -> Any:
        """Updates `variable` with its decayed gradient."""
        if self.l2 and variable.name not in self.spared:
            gradient = tf.convert_to_tensor(gradient) + tf.cast(self.l2, variable.dtype) * variable
        return super().update_step(gradient, variable)  # type: ignore[misc]

    def get_config(self) -> dict[str, Any]:
        """The arguments that make an equal optimizer."""
        return {**super().get_config(), "l2": self.l2, "spared": sorted(self.spared)}  # type: ignore[misc]


@tf.keras.utils.register_keras_serializable("larq_equalbits")
class SGD(_L2, tf.keras.optimizers.SGD):
    """Keras' SGD with PyTorch's weight decay.

    Args:
        *args: those of `tf.keras.optimizers.SGD`.
        l2: decay, at least 0.
        spared: names of the variables that do not decay.
        **kwargs: those of `tf.keras.optimizers.SGD`.

    Raises:
        InputError: an `l2` below 0.
    """


@tf.keras.utils.register_keras_serializable("larq_equalbits")
class Adam(_L2, tf.keras.optimizers.Adam):
    """Keras' Adam with PyTorch's weight decay.

    Args:
        *args: those of `tf.keras.optimizers.Adam`.
        l2: decay, at least 0.
        spared: names of the variables that do not decay.
        **kwargs: those of `tf.keras.optimizers.Adam`.

    Raises:
        InputError: an `l2` below 0.
    """
