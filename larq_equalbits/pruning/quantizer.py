"""The quantizer of a pruned kernel: another quantizer's codes, and zeros."""

from collections.abc import Callable
from typing import Any

import larq
import numpy as np
import tensorflow as tf

from larq_equalbits._errors import invalid
from larq_equalbits._ranking import ranking
from larq_equalbits.pruning import masks, selection
from larq_equalbits.pruning.schedules import check_sparsity
from larq_equalbits.quantizers import BiHalf
from larq_equalbits.quantizers.base import straight_through

CRITERIA = ("rank", "magnitude", "score", "mask")
GRANULARITIES = ("weight", "filter")
SCOPES = ("filter", "layer", "network")


def check_choice(criterion: str, granularity: str, scope: str | None, known: tuple[str, ...]) -> str:
    """The scope of a choice by a `criterion` among those `known`: what is given, or what goes with the rest for None.

    Raises:
        InputError: an unknown criterion, granularity or scope, or a scope that does not go with them.
    """
    for argument, value, values in (
        ("criterion", criterion, known),
        ("granularity", granularity, GRANULARITIES),
        ("scope", scope, (None, *SCOPES)),
    ):
        if value not in values:
            raise invalid(argument, value, f"one of {values}")
    if scope is None:
        return "layer" if granularity == "filter" or criterion == "score" else "filter"
    if scope == "filter" and granularity == "filter":
        raise invalid("scope", scope, '"layer" or "network" where whole filters are pruned')
    if scope == "network" and criterion in ("rank", "mask"):
        raise invalid("scope", scope, f'"filter" or "layer" for the criterion {criterion!r}')
    return scope


@tf.custom_gradient
def _by_scores(scores: tf.Tensor, values: tf.Tensor, weights: tf.Tensor) -> Any:
    """`values`, and through the mask to |scores| as if it multiplied the weights: upstream * W * sign(scores)."""
    return tf.identity(values), lambda upstream: (upstream * weights * tf.sign(scores), None, None)


# HDF5 files are read by the bare name of the class.
@larq.utils.register_keras_custom_object
@tf.keras.utils.register_keras_serializable("larq_equalbits")
class Pruned(larq.quantizers.NoOp):
    r"""Another quantizer's values where a weight survives, 0 where it is pruned.

    \(q(w) = m(w) \cdot q_{inner}(w)\), where the mask m is chosen from the latent weights at every call, or given.
    Where the inner quantizer is `bi_half`, its ranking is among the survivors, so their share of +1 is
    exact: equal numbers of +1 and -1, one more +1 where the survivors of a filter are odd.

    The gradient is the inner quantizer's for every weight, pruned ones included: they go on learning and can
    come back. (The authors of Equal Bits let it pass unchanged, as `bi_half` does here.) Under "score" it goes
    to the scores alone.

    The precision is 2 bits, since the kernel is deployed as two binary ones, also while no weight is zero; 1 bit
    with the granularity "filter", since zero filters are deployed as a channel mask. It is never log2(3): nothing
    stores a weight in that. As a `NoOp` it is exempt from Larq's warning about starved weights, which the layer
    that is pruned has had where it is right.

    Args:
        quantizer: the inner quantizer, any that Larq takes.
        sparsity: fraction of zeros in [0, 1).
        criterion: "rank", "magnitude", "score" (only inside `PrunedBinary`, which owns the scores) or "mask".
        granularity: "weight", or "filter" to prune whole filters, those of the smallest mean magnitude.
        scope: among which weights the choice is made: "filter", "layer" or "network".
        mask: for criterion "mask": a 0/1 array of the kernel's shape, or what `get_config` makes of one.
        scale: None for the inner quantizer's, or "kept_mean" for sum |w| m / kept over the layer.
        filter_axes: the axes that number the filters when whole ones are pruned.
        **kwargs: `metrics` as for Larq's quantizers, and `name`.

    Raises:
        InputError: an unknown criterion, granularity, scope or scale, a sparsity outside [0, 1), a mask that
            is not 0/1, or the criterion "mask" without one.

    References:
        Li et al., Equal Bits, AAAI 2022 ("rank"). Diffenderfer and Kailkhura, Multi-Prize Lottery Ticket
        Hypothesis, ICLR 2021 ("score").

    Examples:
        >>> print(Pruned("bi_half", sparsity=0.5)(tf.constant([[-2.0], [-0.1], [0.1], [2.0]])).numpy().ravel())
        [-1.  0.  0.  1.]
    """

    def __init__(
        self,
        quantizer: Any,
        sparsity: float = 0.0,
        criterion: str = "rank",
        granularity: str = "weight",
        scope: str = "filter",
        mask: Any = None,
        scale: str | None = None,
        filter_axes: tuple[int, ...] = (-1,),
        **kwargs: Any,
    ) -> None:
        for argument, value, known in (
            ("criterion", criterion, CRITERIA),
            ("granularity", granularity, GRANULARITIES),
            ("scope", scope, SCOPES),
            ("scale", scale, (None, "kept_mean")),
        ):
            if value not in known:
                raise invalid(argument, value, f"one of {known}")
        if (criterion == "mask") != (mask is not None):
            raise invalid("mask", mask, 'an array for the criterion "mask", None for the others')
        kwargs.setdefault("autocast", False)
        super().__init__(precision=1 if granularity == "filter" else 2, **kwargs)
        self.quantizer = larq.quantizers.get(quantizer)
        self.sparsity = check_sparsity("sparsity", sparsity)
        self.criterion = criterion
        self.granularity = granularity
        self.scope = scope
        self.scale = scale
        self.filter_axes = tuple(filter_axes)
        if isinstance(mask, dict):
            mask = masks.unpack(mask)
        self.mask = None if mask is None else masks.check(self.name, mask, np.shape(mask))
        self._current_sparsity: Callable[[], Any] = lambda: self.sparsity
        self._scores: Callable[[], tf.Tensor] | None = None
        self._threshold: Callable[[], tf.Tensor] | None = None

    def bind(
        self,
        sparsity: Callable[[], Any],
        scores: Callable[[], tf.Tensor] | None = None,
        threshold: Callable[[], tf.Tensor] | None = None,
    ) -> None:
        """Takes the sparsity, the scores and the network's threshold from the layer that owns them as variables."""
        self._current_sparsity, self._scores, self._threshold = sparsity, scores, threshold

    @property
    def non_trainable_weights(self) -> list[tf.Variable]:
        """The inner quantizer's, such as the rotations of `rbnn`, which Larq's own hide."""
        return getattr(self.quantizer, "non_trainable_weights", [])

    def importance(self, kernel: tf.Tensor) -> tf.Tensor:
        """What the choice compares: magnitudes, of scores under "score", meaned over filters if those are pruned."""
        if self.criterion == "score":
            if self._scores is None:
                raise invalid("criterion", "score", "used inside PrunedBinary, which owns the scores")
            kernel = self._scores()
        magnitudes = tf.abs(kernel)
        if self.granularity == "filter":
            return selection.filter_means(magnitudes, self.filter_axes)
        return magnitudes

    def keep(self, kernel: tf.Tensor) -> tf.Tensor:
        """True for every weight that survives, in the shape of `kernel`."""
        if self.mask is not None:
            return tf.constant(self.mask)
        if self._threshold is not None:
            threshold = self._threshold()
            importance = tf.cast(self.importance(kernel), threshold.dtype)
            return tf.broadcast_to(importance >= threshold, kernel.shape)
        sparsity = self._current_sparsity()
        if self.granularity == "filter":
            keep = selection.largest_filters(self.importance(kernel), sparsity)
            return tf.broadcast_to(keep, kernel.shape)
        if self.criterion == "rank":
            return self._rank_codes(kernel, sparsity, 0.5) != 0
        return selection.largest(self.importance(kernel), sparsity, self.scope)

    def _rank_codes(self, kernel: tf.Tensor, sparsity: Any, positive_ratio: float) -> tf.Tensor:
        size = ranking.filter_size(kernel.shape, self.scope)
        low, high = selection.rank_counts(sparsity, size, positive_ratio)
        return ranking.split_codes(kernel, low, high, self.scope)

    def _bi_half(self, kernel: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        inner = self.quantizer
        if (self.criterion, self.granularity, self.scope) == ("rank", "weight", inner.granularity):
            codes = self._rank_codes(kernel, self._current_sparsity(), inner.positive_ratio)
        else:
            codes = selection.survivor_codes(
                kernel, self.keep(kernel), inner.positive_ratio, inner.granularity
            )
        scale = inner.kernel_scale(kernel)
        values = straight_through(kernel, codes)
        return (values if scale is None else values * scale), codes != 0

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """The pruned kernel, in the shape and type of `inputs`."""
        balanced = isinstance(self.quantizer, BiHalf)
        if balanced:
            values, keep = self._bi_half(inputs)
        else:
            dense = tf.cast(self.quantizer(inputs), inputs.dtype)
            keep = self.keep(inputs)
            values = straight_through(dense, tf.where(keep, dense, tf.zeros_like(dense)))
        if self.scale == "kept_mean" or self.criterion == "score":
            values = self._kept_mean(inputs, keep) * straight_through(values, tf.sign(values))
        if self.criterion == "score":
            signs = tf.sign(self.quantizer(inputs)) if balanced else tf.sign(dense)
            scores = tf.cast(self._scores(), values.dtype)  # type: ignore[misc]
            values = _by_scores(scores, values, tf.cast(signs, values.dtype) * tf.abs(inputs))
        if hasattr(self, "flip_ratio"):
            self.add_metric(self.flip_ratio(tf.sign(values)))
        return values

    @staticmethod
    def _kept_mean(kernel: tf.Tensor, keep: tf.Tensor) -> tf.Tensor:
        wide = tf.cast(kernel, tf.float32) if kernel.dtype.size < 4 else kernel
        kept = tf.cast(keep, wide.dtype)
        mean = tf.reduce_sum(tf.abs(wide) * kept) / tf.maximum(tf.reduce_sum(kept), 1)
        return tf.stop_gradient(tf.cast(mean, kernel.dtype))

    def get_config(self) -> dict[str, Any]:
        """The arguments that make an equal quantizer; what `bind` gave belongs to the layer."""
        config = super().get_config()
        # It follows from the rest.
        del config["precision"]
        return {
            **config,
            "quantizer": larq.quantizers.serialize(self.quantizer),
            "sparsity": self.sparsity,
            "criterion": self.criterion,
            "granularity": self.granularity,
            "scope": self.scope,
            "mask": None if self.mask is None else masks.pack(self.mask),
            "scale": self.scale,
            "filter_axes": list(self.filter_axes),
        }
