"""Is one ratio better than another? Differences paired by seed, and what chance makes of them."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from larq_equalbits._errors import InputError, require
from larq_equalbits.tuning.ratios import NAME
from larq_equalbits.tuning.trials import Trial, longest

REFERENCE = 0.5


@dataclasses.dataclass(frozen=True)
class Comparison:
    """A ratio against the reference, over the seeds, and other values, that both have finished.

    Attributes:
        ratio: the share of +1.
        pairs: how many trials of each that differ in the ratio alone.
        difference: mean of the metric at `ratio` minus that at the reference.
        p: of the two-sided paired t-test; None below two seeds, and where the differences are equal but for rounding.
        corrected: `p` by Holm's correction for all ratios that are compared, from `p` to 1; None without p.
    """

    ratio: float
    pairs: int
    difference: float
    p: float | None
    corrected: float | None


def against(trials: Sequence[Trial], metric: str, reference: float = REFERENCE) -> list[Comparison]:
    """Every other ratio with a common seed against the `reference` by `metric`, the lowest first.

    A pair of trials has the same seed and the same values of whatever else was chosen, such as a sparsity. Of
    Hyperband's trials those count that trained longest.

    Raises:
        InputError: no trial has the ratio `reference`.
        ImportError: scipy, of the extra `tuning`, is not installed.

    Reference:
        Holm, A Simple Sequentially Rejective Multiple Test Procedure, Scandinavian Journal of Statistics 6, 1979.
    """
    values: dict[float, dict[frozenset[tuple[str, Any]], float]] = {
        trial.values[NAME]: {} for trial in trials if NAME in trial.values
    }
    for trial in longest(trials):
        if NAME in trial.values and "seed" in trial.values and metric in trial.metrics:
            others = {each for each in trial.values.items() if each[0] != NAME and "tuner/" not in each[0]}
            values[trial.values[NAME]][frozenset(others)] = trial.metrics[metric]
    if reference not in values:
        raise InputError(
            f"reference must be a ratio of the sweep, one of {sorted(values)}, but got {reference}."
        )
    compared = []
    for ratio in sorted(set(values) - {reference}):
        common = [each for each in values[reference] if each in values[ratio]]
        if common:
            own, its = ([values[each][key] for key in common] for each in (ratio, reference))
            compared.append((ratio, np.subtract(own, its), paired(own, its)))
    corrected = _holm({ratio: p for ratio, _, p in compared if p is not None})
    return [
        Comparison(ratio, len(each), float(np.mean(each)), p, corrected.get(ratio))
        for ratio, each, p in compared
    ]


def paired(first: Sequence[float], second: Sequence[float]) -> float | None:
    """The p of a two-sided paired t-test; None below two pairs, and where the differences are equal but for rounding.

    Raises:
        ImportError: scipy, of the extra `tuning`, is not installed.
    """
    # Keras' float32 makes equal differences unequal by some 1e-7 of what is subtracted, and the test believes it.
    rounding = 1e-6 * np.max(np.abs([first, second]))
    if len(first) < 2 or np.ptp(np.subtract(first, second)) <= rounding:
        return None
    p = float(require("tuning", "scipy.stats").ttest_rel(first, second).pvalue)
    return p if math.isfinite(p) else None


def _holm(found: dict[float, float]) -> dict[float, float]:
    """p by ratio, corrected: the i-th smallest of m times m - i, and never below the one before it."""
    corrected: dict[float, float] = {}
    least = 0.0
    for place, ratio in enumerate(sorted(found, key=lambda ratio: found[ratio])):
        least = max(least, min(1.0, (len(found) - place) * found[ratio]))
        corrected[ratio] = least
    return corrected
