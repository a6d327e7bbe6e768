"""SiMaN: large magnitudes become +1, small ones -1, whatever their sign."""

from typing import Any

import tensorflow as tf

from larq_equalbits._errors import invalid
from larq_equalbits._ranking import ranking, standardization
from larq_equalbits._ranking.columns import widen
from larq_equalbits._ranking.compiled import by_xla, traced
from larq_equalbits._ranking.keys import centred_magnitudes, magnitude
from larq_equalbits._ranking.standardization import Moments
from larq_equalbits.quantizers.base import BinaryQuantizer, Scale, register

ENCODINGS = ("half", "optimal")
GRADIENTS = ("magnitude", "identity")

_EPSILON = 1e-5


# One program, not two: the kernel is read once less, and less is compiled.
@by_xla
def _half_codes_and_sums(filters: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    sums = standardization.sums(filters)
    mean = standardization.mean_of(sums, filters)
    return ranking.top_magnitude_codes(filters, mean, filters.shape[0] // 2), sums


@traced
def _half_codes_and_moments(filters: tf.Tensor) -> tuple[tf.Tensor, Moments]:
    codes, sums = _half_codes_and_sums(filters)
    return codes, standardization.moments_of(sums, filters, _EPSILON)


_centred_magnitudes = by_xla(centred_magnitudes)
_gradient = standardization.magnitude_gradient()


def optimal_counts(magnitudes: tf.Tensor) -> tf.Tensor:
    """For every column the k that maximises (sum of the k largest magnitudes) / sqrt(k), the least of equals.

    Corollary 1 of SiMaN: these k are the 0/1 code with the smallest angle to the magnitudes. The sums run
    in float64.
    """
    rows = tf.sort(tf.transpose(widen(magnitudes)), axis=1, direction="DESCENDING")
    k = tf.range(1, rows.shape[1] + 1, dtype=tf.float64)
    return tf.argmax(tf.cumsum(rows, axis=1) / tf.sqrt(k), axis=1, output_type=tf.int32) + 1


@register("siman")
class SiMaN(BinaryQuantizer):
    r"""Sign-to-magnitude: the largest magnitudes of a filter get +1, the rest -1.

    With n weights in a filter w, m its mean and v its unbiased variance, the standardized weights are
    \(z = (w - m) / \sqrt{v + 10^{-5}}\), and the k weights with the largest \(|z|\) get +1. Dividing does not
    change the order, so the order is taken from \(|w - m|\), centred with a mean that is accurate to the last
    bit and rounded as the authors' float32 subtraction rounds; equal magnitudes rank by position, the earlier
    one lower. Neither denormal nor huge weights lose precision, except denormal float64.

    Gradient: "magnitude" goes through \(|z|\) and the standardization, as in the authors' code,
    \(\partial L / \partial z = \operatorname{sign}(z) \, \partial L / \partial q\). "identity" is Eq. 6,
    \(\partial L / \partial w = \partial L / \partial q\), which pushes the magnitude of a negative weight the
    wrong way.

    A filter is all weights that share the last index of (height, width, in, out) or (in, out).

    Example:
        >>> print(SiMaN()(tf.constant([[-0.5], [0.1], [-0.1], [0.5]])).numpy().ravel())
        [ 1. -1. -1.  1.]

    Args:
        encoding: "half" takes k = n // 2 (Eq. 20); "optimal" the k that maximises the sum of the k largest
            magnitudes over sqrt(k) (Corollary 1), which needs a sort.
        gradient: "magnitude" or "identity".
        standardize: whether filters are centred and standardized first. The paper's text takes \(|w|\) as it
            is, the authors' code the standardized magnitude.
        scale: factor of the codes: None, a positive number, "fan_in" for sqrt(2 / n), or "mean_abs" for the
            mean magnitude of the filter, where the authors' learned scale starts.
        **kwargs: `metrics` as for Larq's quantizers, and `name`.

    Raises:
        InputError: an unknown encoding, gradient or scale, a `standardize` that is no truth value; when
            called, a kernel of rank 0 or 1 or with an empty filter.

    Reference:
        Lin et al., SiMaN: Sign-to-Magnitude Network Binarization, TPAMI 2022. Train without l2 regularization
        of the kernel (Sec. 4.3); `constraints.MagnitudeClip` is the step of the authors' code that the paper
        leaves out.
    """

    def __init__(
        self,
        encoding: str = "half",
        gradient: str = "magnitude",
        standardize: bool = True,
        scale: Scale = None,
        **kwargs: Any,
    ) -> None:
        if encoding not in ENCODINGS:
            raise invalid("encoding", encoding, f"one of {ENCODINGS}")
        if gradient not in GRADIENTS:
            raise invalid("gradient", gradient, f"one of {GRADIENTS}")
        if not isinstance(standardize, bool):
            raise invalid("standardize", standardize, "True or False")
        super().__init__(scale=scale, **kwargs)
        self.encoding = encoding
        self.gradient = gradient
        self.standardize = standardize

    def codes(self, kernel: tf.Tensor) -> tf.Tensor:
        """+1 for the largest magnitudes, -1 for the rest."""

        @tf.custom_gradient
        def encode(filters: tf.Tensor) -> Any:
            codes, moments = self._codes_and_moments(filters)

            def through_magnitude(upstream: tf.Tensor) -> tf.Tensor:
                if self.gradient == "identity":
                    return upstream
                return _gradient(filters, upstream, *moments) if moments else upstream * tf.sign(filters)

            return codes, through_magnitude

        return tf.reshape(encode(tf.reshape(kernel, [-1, kernel.shape[-1]])), kernel.shape)

    def _codes_and_moments(self, filters: tf.Tensor) -> tuple[tf.Tensor, Moments | None]:
        """The codes of filters (n, filters), and the moments that standardize them, None where nothing does."""
        half = self.encoding == "half"
        if not self.standardize:
            sizes = magnitude(filters)
            count = filters.shape[0] // 2 if half else optimal_counts(sizes)
            return ranking.top_codes(sizes, count), None
        if half:
            return _half_codes_and_moments(filters)
        moments = standardization.moments(filters, _EPSILON)
        count = optimal_counts(_centred_magnitudes(filters, moments.mean))
        return ranking.top_magnitude_codes(filters, moments.mean, count), moments

    def get_config(self) -> dict[str, Any]:
        """The arguments that make an equal quantizer."""
        return {
            **super().get_config(),
            "encoding": self.encoding,
            "gradient": self.gradient,
            "standardize": self.standardize,
        }
