"""Equal Bits: the share of positive bits is chosen, not learned."""

from typing import Any

import tensorflow as tf

from larq_equalbits._errors import invalid, is_number
from larq_equalbits._ranking import ranking
from larq_equalbits.quantizers.base import BinaryQuantizer, Scale, register, straight_through


@register("bi_half")
class BiHalf(BinaryQuantizer):
    r"""Optimal transport of a filter's weights to a Bernoulli prior: the largest get +1, the rest -1.

    Of the n weights of a filter, exactly ``ceil(positive_ratio * n)`` get +1, the product taken exactly in
    decimal. Equal weights rank by position, the earlier one lower; NaN ranks highest.

    The gradient is straight through and unclipped: \(\partial q / \partial w = 1\), times the scale.

    A filter is all weights that share the last index of (height, width, in, out) or (in, out).

    Example:
        >>> print(BiHalf(positive_ratio=0.25)(tf.constant([[0.1], [0.4], [0.3], [0.2]])).numpy().ravel())
        [-1.  1. -1. -1.]

    Args:
        positive_ratio: share of +1, a number from 0 to 1.
        granularity: "filter" ranks every filter by itself, "layer" the whole kernel.
        scale: factor of the codes: None, a positive number, "fan_in" for the constant sqrt(2 / n) of the
            paper's ResNet, or "mean_abs" for the mean magnitude of the filter.
        **kwargs: `metrics` as for Larq's quantizers, and `name`.

    Raises:
        InputError: a ratio that is not a number from 0 to 1, an unknown granularity or scale; when called,
            a kernel of rank 0 or 1 or with an empty filter.

    Reference:
        Li et al., Equal Bits: Enforcing Equally Distributed Binary Network Weights, AAAI 2022. The authors'
        code rounds the number of -1 down, so an odd filter has one more +1, as here.
    """

    def __init__(
        self, positive_ratio: float = 0.5, granularity: str = "filter", scale: Scale = None, **kwargs: Any
    ) -> None:
        if not (is_number(positive_ratio) and 0 <= positive_ratio <= 1):
            raise invalid("positive_ratio", positive_ratio, "a number from 0 to 1")
        if granularity not in ranking.GRANULARITIES:
            raise invalid("granularity", granularity, f"one of {ranking.GRANULARITIES}")
        super().__init__(scale=scale, **kwargs)
        self.positive_ratio = float(positive_ratio)
        self.granularity = granularity

    def codes(self, kernel: tf.Tensor) -> tf.Tensor:
        """+1 for the largest weights, -1 for the rest."""
        size = ranking.filter_size(kernel.shape, self.granularity)
        count = ranking.exact_count(self.positive_ratio, size)
        return straight_through(kernel, ranking.top_codes(kernel, count, self.granularity))

    def get_config(self) -> dict[str, Any]:
        """The arguments that make an equal quantizer."""
        return {
            **super().get_config(),
            "positive_ratio": self.positive_ratio,
            "granularity": self.granularity,
        }
