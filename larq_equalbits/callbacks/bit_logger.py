"""The Keras callback that shows what the bits of a model do while it trains."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from larq_equalbits._bits.counting import BitCounts, CodeMemory, optimal_ratio, total
from larq_equalbits._bits.kernels import QuantizedKernel, are_built, quantized_kernels
from larq_equalbits._errors import InputError, invalid, is_whole
from larq_equalbits.callbacks.activations import ActivationProbe
from larq_equalbits.callbacks.tensorboard import BitSummaries

_EPOCHS, _STEPS = 0, 1
# By the key in the logs the attribute of `BitCounts`.
_OF_BITS = {name: name for name in ("bit_entropy", "positive_ratio", "bit_flips", "filter_entropy")}
_OF_ZEROS = {name: name for name in ("sparsity", "symbol_entropy")}
_OF_ACTIVATIONS = {"activation_entropy": "bit_entropy", "activation_positive_ratio": "positive_ratio"}


class BitLogger(tf.keras.callbacks.ProgbarLogger):
    r"""Puts entropy, share of +1 and flips of the bits of every quantized kernel into Keras' `logs`.

    A code is the sign of what a layer computes with (-1, +1, or 0 where a weight is pruned), so a scale
    plays no part. For every quantized kernel, as ``<layer>/<key>``, and for the network as if it were one
    kernel, as ``<key>``:

    - ``positive_ratio``: \(p = n_+ / (n_+ + n_-)\), the share of +1 among the codes that are not 0.
    - ``bit_entropy``: \(-p \log_2 p - (1-p) \log_2 (1-p)\), in bits, 0 to 1; exactly 1.0 for equal counts.
      With `bi_half` and an odd number n of weights in a filter, p is (n+1)/2n and the entropy is below 1.
    - ``filter_entropy``: the mean over the filters (the last index of (height, width, in, out)) of each
      filter's own bit entropy, which is what Equal Bits maximises: two opposite constant filters have a
      bit entropy of 1 and a filter entropy of 0. Filters that are pruned as a whole are left out.
    - ``bit_flips``: the share of codes that changed since the last observation: in an epoch's `logs` since
      the end of the epoch before (in the first epoch of a `fit`, since the epoch began, so weights
      which were loaded or restored by then count as the start), in a step's `logs` since the last
      observed step. A model that is built by its first batch has its first codes after that step.
    - ``sparsity`` and ``symbol_entropy``: the share of 0, and the entropy in bits (0 to log2(3)) of -1, 0
      and +1 as three symbols; for kernels whose quantizer has a `sparsity` or that have zeros at the start.
    - ``activation_entropy`` and ``activation_positive_ratio``, with a `probe`, at the end of an epoch: the
      same of what the `input_quantizer` of every layer answers (Equal Bits, Fig. 1b).
    - ``optimal_ratio``, with `optimal_ratio=True`, at the end of an epoch: the mean over the filters of the
      share of +1 that would lose least of the latent weights (SiMaN, Corollary 1).

    Order: Keras calls callbacks one after the other with the same `logs`. Give this one first: CSVLogger,
    TensorBoard, EarlyStopping and ModelCheckpoint see its keys where they come after it. History and a
    keras-tuner objective always do.

    Progress: it draws the line that Keras draws in `fit`, as `verbose` asks for, with the network's keys and
    without those of single layers.

    Cost: one byte per observed weight on the weights' device, two with `every` a number. An observation
    quantizes every kernel once more and counts on the device; only counts per filter are copied. Every epoch
    adds nothing to a step.

    Args:
        every: "epoch", or a positive number of steps: then every such step's `logs` get the keys of the
            kernels too, and `records` keeps them. With `steps_per_execution` an observation waits for the
            execution to end.
        layers: names of the kernels to observe; all of them by default.
        probe: a batch of inputs for the activations, or None. It runs once at the end of every epoch.
        optimal_ratio: whether to log SiMaN's share of +1 at the optimum, which sorts every kernel.
        log_dir: where to write scalars and histograms for TensorBoard, as run "bits" of that folder; None for
            nothing. Give the folder of your `TensorBoard` callback.
        histogram_freq: after how many epochs histograms are written; 0 for none.

    Attributes:
        records: a dict for each observed step: the keys, and "step", counted from 1 over all `fit` calls.

    Raises:
        InputError: for arguments out of range; for a model without a quantized kernel, an unknown layer, a
            probe the model does not accept: before training starts, or after the first step where that builds
            the model; before training starts, for a log folder that cannot be written.

    Example:
        >>> import larq, numpy as np
        >>> layer = larq.layers.QuantDense(2, kernel_quantizer="bi_half", input_shape=(4,))
        >>> model = tf.keras.Sequential([layer])
        >>> model.compile("sgd", "mse")
        >>> history = model.fit(np.ones((4, 4)), np.ones((4, 2)), verbose=0, callbacks=[BitLogger()])
        >>> print(*history.history["bit_entropy"])
        1.0
    """

    def __init__(
        self,
        every: str | int = "epoch",
        *,
        layers: Sequence[str] | None = None,
        probe: Any = None,
        optimal_ratio: bool = False,
        log_dir: str | os.PathLike[str] | None = None,
        histogram_freq: int = 1,
    ):
        super().__init__(count_mode="steps")
        if every != "epoch" and not is_whole(every, 1):
            raise invalid("every", every, '"epoch" or a positive number of steps')
        if not is_whole(histogram_freq, 0):
            raise invalid("histogram_freq", histogram_freq, "a number of epochs, or 0 for none")
        if isinstance(layers, str):
            raise invalid("layers", layers, "a list of names")
        self.every = every if every == "epoch" else int(every)
        self.layers = None if layers is None else list(layers)
        self.probe = probe
        self.optimal_ratio = optimal_ratio
        self.log_dir = log_dir
        self.histogram_freq = histogram_freq
        self.records: list[dict[str, float]] = []
        self._supports_tf_logs = True
        self._steps = 0
        self._forget()

    def _forget(self) -> None:
        self._memory: CodeMemory | None = None
        self._activations: ActivationProbe | None = None
        self._summaries: BitSummaries | None = None
        self._sparse: set[str] = set()
        self._first_batch = 0

    def __getstate__(self) -> dict[str, Any]:
        """What a copy starts with: the settings and the records, without anything of a running training."""
        copy = BitLogger(self.every)
        settings = ("layers", "probe", "optimal_ratio", "log_dir", "histogram_freq", "records", "_steps")
        return {**vars(copy), **{name: getattr(self, name) for name in settings}}

    def get_state(self) -> dict[str, Any]:
        """What a resumed training needs beyond the model's weights, ready for JSON."""
        return {"steps": self._steps, "records": self.records}

    def set_state(self, state: dict[str, Any]) -> None:
        """Continues where `get_state` was called."""
        self._steps = int(state["steps"])
        self.records = [dict(record) for record in state["records"]]

    def _implements_train_batch_hooks(self) -> bool:
        return self.every != "epoch" or not are_built(self.model) or super()._implements_train_batch_hooks()

    def set_model(self, model: tf.keras.Model) -> None:
        """Takes the model, and forgets another one."""
        super().set_model(model)
        self._forget()

    def _kernels(self) -> list[QuantizedKernel]:
        kernels = quantized_kernels(self.model)
        if not kernels:
            raise InputError(
                f"model {self.model.name!r} has no quantized kernel to observe: "
                "give a Larq layer a kernel_quantizer."
            )
        names = [kernel.name for kernel in kernels]
        for name in self.layers or ():
            if name not in names:
                raise invalid("layers", name, f"among the quantized kernels {names}")
        return [kernel for kernel in kernels if self.layers is None or kernel.name in self.layers]

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Checks what was asked for, before any weight changes where the model is built."""
        super().on_train_begin(logs)
        self._memory = None
        if self.log_dir is not None:
            self._summaries = BitSummaries(self.log_dir)
        if are_built(self.model):
            self._check()

    def _check(self) -> None:
        self._kernels()
        # A model that was built before training is checked twice; the probe runs it only once.
        if self.probe is not None and self._activations is None:
            self._activations = ActivationProbe(self.model, self.probe)

    def _start(self) -> None:
        self._check()
        kernels = self._kernels()
        self._memory = CodeMemory(kernels, slots=1 if self.every == "epoch" else 2)
        self._sparse = {
            kernel.name
            for kernel, counts in zip(kernels, self._memory.observe(_EPOCHS), strict=True)
            if counts.sparsity or getattr(kernel.quantizer, "sparsity", None) is not None
        }

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Remembers the codes that the first flips count against.

        Not earlier: `BackupAndRestore` restores weights when training begins.
        """
        super().on_epoch_begin(epoch, logs)
        if self._memory is None and are_built(self.model):
            self._start()

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Notes where an execution of one or more steps begins."""
        self._first_batch = batch

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Observes, when a multiple of `every` steps is reached."""
        super().on_train_batch_end(batch, logs)
        before = self._steps
        self._steps += batch - self._first_batch + 1
        if self._memory is None:
            self._start()
        if not isinstance(self.every, int) or self._steps // self.every == before // self.every:
            return
        values = self._observe(_STEPS)
        self.records.append({"step": self._steps, **values})
        if self._summaries is not None:
            self._summaries.scalars(values, self._steps, "_by_step")
        if logs is not None:
            logs.update(values)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Observes, adds the keys to `logs`, and finishes the progress line."""
        assert self._memory is not None
        logs = {} if logs is None else logs
        values = self._observe(_EPOCHS)
        if self._activations is not None:
            values.update(_named(self._activations.observe(), _OF_ACTIVATIONS))
        if self.optimal_ratio:
            for kernel in self._memory.kernels:
                values[f"{kernel.name}/optimal_ratio"] = optimal_ratio(kernel.variable.latent_variable)
        if self._summaries is not None:
            self._summaries.scalars(values, epoch)
            if self.histogram_freq and epoch % self.histogram_freq == 0:
                self._summaries.histograms(self._memory.kernels, epoch)
        # What a step logged goes into its own logs alone.
        known = {key: value for key, value in logs.items() if key not in values}
        network = {key: value for key, value in values.items() if "/" not in key}
        super().on_epoch_end(epoch, {**known, **network})
        logs.update(values)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Closes the event file."""
        if self._summaries is not None:
            self._summaries.close()

    def _observe(self, slot: int) -> dict[str, float]:
        assert self._memory is not None
        kernels, counts = self._memory.kernels, self._memory.observe(slot)
        named = dict(zip([kernel.name for kernel in kernels], counts, strict=True))
        values = _named(named, _OF_BITS)
        if self._sparse:
            zeros = _named(named, _OF_ZEROS)
            values.update({key: zeros[key] for key in zeros if key.rpartition("/")[0] in {"", *self._sparse}})
        return values


def _named(counts: dict[str, BitCounts], measures: Mapping[str, str]) -> dict[str, float]:
    """The `measures` of each kernel and of the network: by the key in the logs the attribute of the counts."""
    of = {**{f"{name}/": each for name, each in counts.items()}, "": total(list(counts.values()))}
    return {
        f"{prefix}{key}": getattr(each, attribute)
        for prefix, each in of.items()
        for key, attribute in measures.items()
    }
