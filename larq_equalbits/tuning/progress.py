"""A line for each trial that ends, with the time that is left."""

import math
import statistics
import sys
from typing import Any

from larq_equalbits._text import visible


def duration(seconds: float) -> str:
    """Seconds as people say them.

    Examples:
        >>> duration(7322)
        '2 h 2 min'
    """
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


class Progress:
    """Prints how far a search is, on standard error.

    Args:
        total: how many trials there will be, None where the search decides.
        ended: how many have ended already.
        workers: how many trials run at a time.
        objective: the metric to show.
    """

    def __init__(self, total: int | None, ended: int, workers: int, objective: str) -> None:
        self.total, self.ended, self.workers, self.objective = total, ended, max(workers, 1), objective
        self._seconds: list[float] = []
        if total is not None:
            there = f", {ended} of which are there already" if ended else ""
            _say(f"{total} trials{there}" + (f", {workers} at a time" if workers > 1 else ""))

    def ended_one(
        self, values: dict[str, Any], score: float | None, reason: str | None, seconds: float
    ) -> None:
        """Says that the trial of these hyper-parameters has ended: its score or why it failed, its seconds or NaN."""
        self.ended += 1
        what = ", ".join(f"{key} {_short(value)}" for key, value in values.items() if "tuner/" not in key)
        result = f"failed: {reason}" if score is None else f"{self.objective} {score:.4f}"
        line = f"trial {self.ended}{'' if self.total is None else f' of {self.total}'}: {what}: {result}"
        if not math.isnan(seconds):
            self._seconds.append(seconds)
            line += f", {duration(seconds)}"
        if self._seconds and self.total is not None and self.ended < self.total:
            left = statistics.median(self._seconds) * (self.total - self.ended) / self.workers
            line += f"; about {duration(left)} left"
        _say(line)


def _say(text: str) -> None:
    print(visible(text), file=sys.stderr, flush=True)


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
