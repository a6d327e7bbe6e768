"""Closed forms of the papers: entropy of a ratio, SiMaN's optimal shares and angles."""

import math
from typing import Any, NamedTuple

import numpy as np

from larq_equalbits._bits.entropy import entropy as entropy_of_counts
from larq_equalbits._errors import InputError, invalid, is_number, is_positive

__all__ = [
    "GAUSS_SHARE",
    "LAPLACE_SHARE",
    "Fit",
    "angle_bounds",
    "entropy",
    "fit",
    "gauss_threshold",
    "optimal_share",
]
__dir__ = __all__.copy


LAPLACE_SHARE = math.exp(-1.0)
"""Share of +1 at the optimum for Laplacian weights: exp(-t / b) at t = b (SiMaN, Eq. 16), about 0.37."""


def entropy(ratio: float) -> float:
    r"""Entropy of a bit that is +1 with probability `ratio`, in bits: \(-p \log_2 p - (1-p) \log_2 (1-p)\).

    Args:
        ratio: from 0 to 1, where both ends give 0.

    Raises:
        InputError: a ratio that is not a number from 0 to 1.

    Examples:
        >>> entropy(0.5), round(entropy(0.25), 4)
        (1.0, 0.8113)
    """
    if not (is_number(ratio) and 0 <= ratio <= 1):
        raise invalid("ratio", ratio, "a number from 0 to 1")
    return entropy_of_counts(ratio, 1 - ratio)


def gauss_threshold() -> float:
    r"""m = t / (sqrt(2) sigma) at the optimum for Gaussian weights, about 0.43 (SiMaN, Eq. 18).

    The objective \(e^{-m^2} / \sqrt{\operatorname{erfc} m}\) is largest where
    \(2 \sqrt\pi \, m \operatorname{erfc}(m) = e^{-m^2}\), which has no closed form and is solved by bisection.

    Examples:
        >>> round(gauss_threshold(), 2)
        0.43
    """
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if 2 * math.sqrt(math.pi) * middle * math.erfc(middle) < math.exp(-(middle**2)):
            low = middle
        else:
            high = middle
    return (low + high) / 2


GAUSS_SHARE = math.erfc(gauss_threshold())
"""Share of +1 at the optimum for Gaussian weights: erfc(m) (SiMaN, Eq. 19), about 0.54."""


def angle_bounds(k: float, r: float) -> tuple[float, float]:
    """Least and greatest angle between a 0/1 code with `k` ones and one with `r` other bits, in degrees.

    arccos sqrt(k / (k + r)) and arccos sqrt((k - r) / k): Corollary 3 of SiMaN. Counts or shares.

    Args:
        k: ones of the optimal code, above 0.
        r: bits that differ, from 0 to k.

    Raises:
        InputError: a `k` that is no positive number, an `r` outside [0, k].

    Examples:
        >>> [round(angle, 1) for angle in angle_bounds(0.5, 0.25)]
        [35.3, 45.0]
    """
    if not is_positive(k):
        raise invalid("k", k, "a positive number")
    if not (is_number(r) and 0 <= r <= k):
        raise invalid("r", r, f"a number from 0 to k = {k}")
    return math.degrees(math.acos(math.sqrt(k / (k + r)))), math.degrees(math.acos(math.sqrt((k - r) / k)))


def optimal_share(weights: Any) -> float:
    """Share of +1 that SiMaN's Corollary 1 gives these weights, taken as one filter and not centred.

    The k that maximises (sum of the k largest magnitudes) / sqrt(k), over n.

    Args:
        weights: numbers in any shape, at least one.

    Raises:
        InputError: no weights, or some that are no finite numbers.

    Examples:
        >>> optimal_share([3.0, -3.0, 0.1, -0.1])
        0.5
    """
    magnitudes = np.sort(np.abs(_flat(weights)))[::-1]
    objective = np.cumsum(magnitudes) / np.sqrt(np.arange(1, magnitudes.size + 1))
    return float(np.argmax(objective) + 1) / magnitudes.size


class Fit(NamedTuple):
    """A zero-mean distribution fitted to weights by maximum likelihood.

    Attributes:
        family: "laplace" or "gauss".
        scale: b of the Laplace or sigma of the Gauss distribution.
        log_likelihood: mean over the weights, in nats.
        share: share of +1 at the optimum that the family implies.

    Examples:
        >>> Fit("gauss", scale=1.0, log_likelihood=-1.4, share=0.54).family
        'gauss'
    """

    family: str
    scale: float
    log_likelihood: float
    share: float


def fit(weights: Any) -> list[Fit]:
    """The Laplace and the Gauss distribution that fit the centred weights best, the likelier one first.

    Args:
        weights: numbers in any shape, not all equal.

    Raises:
        InputError: no weights, some that are no finite numbers, or weights that are all equal.

    Examples:
        >>> [each.family for each in fit(np.random.default_rng(0).normal(size=1000))]
        ['gauss', 'laplace']
    """
    flat = _flat(weights)
    centred = flat - flat.mean()
    b, sigma = float(np.abs(centred).mean()), float(np.sqrt((centred**2).mean()))
    # Where the mean of equal weights is rounded, the deviation is above 0.
    if sigma == 0 or np.ptp(flat) == 0:
        raise invalid("weights", "equal values", "weights that differ")
    laplace = Fit("laplace", b, -math.log(2 * b) - 1, LAPLACE_SHARE)
    gauss = Fit("gauss", sigma, -math.log(math.sqrt(2 * math.pi) * sigma) - 0.5, GAUSS_SHARE)
    return sorted((laplace, gauss), key=lambda one: -one.log_likelihood)


def _flat(weights: Any) -> np.ndarray:
    try:
        flat = np.asarray(weights, np.float64).ravel()
    except (TypeError, ValueError) as error:
        raise InputError(f"weights must be numbers, but {error}.") from error
    if flat.size == 0:
        raise invalid("weights", "no weights", "at least one number")
    if not np.isfinite(flat).all():
        raise invalid("weights", "NaN or infinity", "finite numbers")
    return flat
