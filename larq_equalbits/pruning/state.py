"""What a pruned layer keeps beside its weights: how far it has come, the network's threshold, and scores."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from larq_equalbits._errors import InputError
from larq_equalbits._keras.layers import KERNELS, quantizer_arguments
from larq_equalbits.pruning import schedules
from larq_equalbits.pruning.updates import AfterUpdate


class Choosing(tf.keras.layers.Wrapper):
    """A wrapped Larq layer whose quantizers are `Pruned`, with the variables by which they choose the zeros."""

    def __init__(
        self,
        layer: tf.keras.layers.Layer,
        sparsity: float,
        criterion: str,
        scope: str,
        schedule: schedules.Schedule,
        **kwargs: Any,
    ) -> None:
        super().__init__(layer, **kwargs)
        self._arguments = tuple(quantizer_arguments(layer))
        self.sparsity = sparsity
        self.criterion = criterion
        self.scope = scope
        self.schedule = schedule
        self._step: tf.Variable | None = None
        self._threshold: tf.Variable | None = None
        self._on_update: Callable[[], None] | None = None

    @property
    def _needs_updates(self) -> bool:
        return self.scope == "network" or not isinstance(self.schedule, schedules.Constant)

    def _add_state(self) -> None:
        scalar = {
            "shape": (),
            "trainable": False,
            "aggregation": tf.VariableAggregation.ONLY_FIRST_REPLICA,
            "experimental_autocast": False,
        }
        if not isinstance(self.schedule, schedules.Constant):
            self._step = self.add_weight(name="pruning_step", dtype=tf.int64, initializer="zeros", **scalar)
        if self.scope == "network":
            self._threshold = self.add_weight(
                name="pruning_threshold", dtype=tf.float32, initializer="zeros", **scalar
            )
        if self.criterion == "score":
            for argument in self._arguments:
                kernel = self._latent(argument)
                counted = self._needs_updates and argument == self._arguments[0]
                scores = self.add_weight(
                    name=_scores_name(argument),
                    shape=kernel.shape,
                    # Kaiming's uniform distribution with a = sqrt(5): within 1 / sqrt(fan_in).
                    initializer=tf.keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform"),
                    constraint=AfterUpdate(None, self._updated) if counted else None,
                    # All compare the same scores, in a layer of mixed precision and outside it.
                    experimental_autocast=False,
                )
                setattr(self, _scores_name(argument), scores)

    def _bind(self, argument: str) -> None:
        quantizer = getattr(self.layer, argument)
        scores = getattr(self, _scores_name(argument), None)
        threshold = self._threshold
        quantizer.bind(
            sparsity=self.current_sparsity,
            scores=None if scores is None else lambda: tf.convert_to_tensor(scores),
            threshold=None if threshold is None else lambda: tf.convert_to_tensor(threshold),
        )

    def _latent(self, argument: str) -> tf.Variable:
        return getattr(self.layer, KERNELS[argument][0]).latent_variable

    def _seen(self, argument: str) -> tf.Tensor:
        """The latent weights as the quantizer sees them: rounded, where the layer computes in mixed precision."""
        return tf.cast(self._latent(argument), self.layer.compute_dtype)

    def _updated(self) -> None:
        if self._step is not None:
            self._step.assign_add(1)
        if self.scope == "network" and self._on_update is None:
            raise InputError(
                f"layer {self.name!r} is pruned network-wide, but apart from its network: call pruning.link(model)."
            )
        if self._on_update is not None:
            self._on_update()

    @property
    def step(self) -> tf.Variable | None:
        """The updates that this layer has received (int64), or None where the sparsity is constant."""
        return self._step

    def current_sparsity(self) -> tf.Tensor:
        """What the schedule asks for at the current step, as a float64 scalar."""
        return self.schedule.at(0 if self._step is None else self._step, self.sparsity)

    def importances(self) -> list[tf.Tensor]:
        """For every kernel what the choice compares, see `Pruned.importance`."""
        return [
            getattr(self.layer, argument).importance(self._seen(argument)) for argument in self._arguments
        ]

    def join(self, on_update: Callable[[], None]) -> None:
        """Makes this a member of a network-wide choice; `on_update` runs after its updates."""
        self._on_update = on_update

    def set_threshold(self, value: tf.Tensor) -> None:
        """Sets the importance from which weights survive in a network-wide choice."""
        assert self._threshold is not None
        self._threshold.assign(value)

    @property
    def _frozen(self) -> list[int]:
        if self.criterion != "score" or not self.built:
            return []
        return [id(getattr(self.layer, KERNELS[argument][0])) for argument in self._arguments]

    @property
    def trainable_weights(self) -> list[tf.Variable]:
        """What an optimizer updates: under "score" the scores and biases, not the kernels."""
        return [weight for weight in super().trainable_weights if id(weight) not in self._frozen]

    @property
    def non_trainable_weights(self) -> list[tf.Variable]:
        """The variables that are not `trainable_weights`; their order is the same in a frozen layer, as HDF5 needs."""
        frozen = self._frozen
        rest = [weight for weight in super().trainable_weights if id(weight) in frozen]
        return sorted(
            super().non_trainable_weights + rest,
            key=lambda weight: (id(weight) in frozen, not weight.trainable),
        )

    @property
    def weights(self) -> list[tf.Variable]:
        """The wrapped layer's."""
        return self.layer.weights

    @property
    def variables(self) -> list[tf.Variable]:
        """All of them: weights, scores, step and threshold."""
        return self.trainable_weights + self.non_trainable_weights

    def get_weights(self) -> list[np.ndarray]:
        """The values of `variables`."""
        return tf.keras.backend.batch_get_value(self.variables)

    def set_weights(self, weights: list[np.ndarray]) -> None:
        """Sets the values of `variables`, or of `weights` alone, as a plain layer's `get_weights` gives them."""
        targets = self.variables if len(weights) == len(self.variables) else self.weights
        if [tuple(target.shape) for target in targets] != [np.shape(weight) for weight in weights]:
            raise InputError(
                f"weights of layer {self.name!r} must have the shapes "
                f"{[tuple(target.shape) for target in targets]}, but got {[np.shape(w) for w in weights]}."
            )
        tf.keras.backend.batch_set_value(list(zip(targets, weights, strict=True)))


def _scores_name(argument: str) -> str:
    return f"{KERNELS[argument][0]}_scores"
