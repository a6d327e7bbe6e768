"""Keras callbacks that show what the bits of a model do while it trains."""

import inspect
from typing import Any

import tensorflow as tf

from larq_equalbits.errors import InputError, invalid
from larq_equalbits.kernels import QuantizedKernel, quantized_kernels
from larq_equalbits.observation import BitCounts, CodeMemory

_STEPS, _EPOCHS = 0, 1


def _callback_list() -> Any:
    """The `CallbackList` that is calling, or None: Keras gives a callback no other way to its neighbours."""
    frame = inspect.currentframe()
    while frame is not None:
        owner = frame.f_locals.get("self")
        if isinstance(owner, tf.keras.callbacks.CallbackList):
            return owner
        frame = frame.f_back
    return None


class _TidyProgress(tf.keras.callbacks.Callback):
    """Runs just before Keras' progress line and keeps the keys of single layers out of it."""

    def __init__(self, hidden: set[str]):
        super().__init__()
        self._hidden = hidden
        self._supports_tf_logs = True

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        for key in self._hidden:
            if logs:
                logs.pop(key, None)


class BitLogger(tf.keras.callbacks.Callback):
    """Puts bit entropy, share of +1 and bit flips of every quantized kernel into Keras' `logs`."""

    def __init__(self, layers: list[str] | None = None):
        super().__init__()
        self.layers = layers
        self._supports_tf_logs = True
        self._hidden: set[str] = set()
        self._memory: CodeMemory | None = None

    def set_model(self, model: tf.keras.Model) -> None:
        """Takes the model, and the first place in the list of callbacks."""
        super().set_model(model)
        owner = _callback_list()
        if owner is None or self not in owner.callbacks:
            return
        # Keras is looping over this list: what it has passed stays passed, as the entry moves to the front.
        owner.callbacks.remove(self)
        owner.callbacks.insert(0, self)
        if isinstance(owner.callbacks[-1], tf.keras.callbacks.ProgbarLogger):
            owner.callbacks.insert(len(owner.callbacks) - 1, _TidyProgress(self._hidden))

    def _kernels(self) -> list[QuantizedKernel]:
        if not self.model.built:
            raise InputError(
                f"model {self.model.name!r} must be built before it is trained with BitLogger, so that its "
                "first flips count against its first weights: give its first layer an input_shape or call build()."
            )
        kernels = {kernel.name: kernel for kernel in quantized_kernels(self.model)}
        if not kernels:
            raise InputError(
                f"model {self.model.name!r} has no quantized kernel to observe: "
                "give a Larq layer a kernel_quantizer."
            )
        for name in self.layers or ():
            if name not in kernels:
                raise invalid("layers", name, f"among the quantized kernels {list(kernels)}")
        return [kernel for name, kernel in kernels.items() if not self.layers or name in self.layers]

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Checks that there is something to observe."""
        self._kernels()
        self._memory = None

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Remembers the codes that the first flips count against.

        Not earlier: `BackupAndRestore` restores weights when training begins.
        """
        if self._memory is None:
            self._memory = CodeMemory(self._kernels())

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Adds the keys to `logs`."""
        if self._memory is None or logs is None:
            return
        logs.update(self._observe(_EPOCHS))

    def _observe(self, slot: int) -> dict[str, float]:
        assert self._memory is not None
        values: dict[str, float] = {}
        counts = self._memory.observe(slot)
        network = counts[0]
        for kernel, own in zip(self._memory.kernels, counts, strict=True):
            values.update(_measures(own, f"{kernel.name}/"))
        self._hidden.update(values)
        for own in counts[1:]:
            network += own
        values.update(_measures(network, ""))
        return values


def _measures(counts: BitCounts, prefix: str) -> dict[str, float]:
    return {
        f"{prefix}bit_entropy": counts.bit_entropy,
        f"{prefix}positive_ratio": counts.positive_ratio,
        f"{prefix}bit_flips": counts.bit_flips,
    }
