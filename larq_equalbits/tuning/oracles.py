"""keras-tuner's oracles, made to survive kills: of the process, of a worker, at any moment."""

import collections
import json
import os
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from larq_equalbits import _files
from larq_equalbits._errors import InputError, invalid, is_positive
from larq_equalbits.tuning import trials
from larq_equalbits.tuning.hypermodel import SEED
from larq_equalbits.tuning.keras_2 import keras_tuner
from larq_equalbits.tuning.ratios import NAME

_RUNNING, _INVALID, _FAILED, _COMPLETED = "RUNNING", "INVALID", "FAILED", "COMPLETED"
_IDLE, _STOPPED = "IDLE", "STOPPED"
# As often as a trial may take its worker down before it counts as failed.
_DEATHS = 3
_PATIENCE = "LARQ_EQUALBITS_PATIENCE"


def _patience() -> float:
    text = os.environ.get(_PATIENCE, "60")
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not is_positive(seconds):
        raise invalid(_PATIENCE, text, "a positive number of seconds")
    return seconds


class Resilient(keras_tuner.Oracle):
    """What this package adds to any of keras-tuner's oracles.

    - Its files are replaced as a whole, so a kill never leaves half of one.
    - After a kill, a trial runs again if and only if it had not finished.
    - A failed trial does not end the search, and its reason is kept.
    - A worker that says nothing for `patience` seconds (60, or ``LARQ_EQUALBITS_PATIENCE``), or that asks for a
      trial while it has one, has died: its trial goes to the next one that asks. A trial whose worker died three
      times has failed.
    - Workers wait for the trials of the others before they stop, so these can be run again.
    """

    patience = _patience()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("max_consecutive_failed_trials", 2**31)
        super().__init__(*args, **kwargs)
        self._display.verbose = 0
        self._seen: dict[str, float] = {}
        self._deaths: collections.Counter[str] = collections.Counter()
        self.serving = False
        self.failure: OSError | None = None
        self.on_end: Callable[[Any], None] = lambda trial: None

    def _write(self, path: str | Path, state: Any) -> None:
        try:
            _files.write_text(path, json.dumps(state))
        except OSError as error:
            # Raised out of a call from a worker it would leave keras-tuner's lock closed for good.
            self.failure = error
            if not self.serving:
                raise

    def save(self) -> None:
        """Writes the oracle's state, whole or not at all."""
        self._write(self._get_oracle_fname(), self.get_state())

    def _save_trial(self, trial: Any) -> None:
        self._write(Path(self._get_trial_dir(trial.trial_id), trials.STATE), trial.get_state())

    def reload(self) -> None:
        """Takes up the search where it was left; what was running then runs again.

        Raises:
            InputError: damaged files.
        """
        for scratch in Path(self._project_dir).glob(".*.json.*"):
            shutil.rmtree(scratch, ignore_errors=True)
        try:
            super().reload()
            for name, trial in self.trials.items():
                trials.read(trial.get_state(), Path(self._get_trial_dir(name)))
            for order in (self.start_order, self.end_order):
                order[:] = [self.trials[name].trial_id for name in order]
            self._seed_state: int = int(self._seed_state)
        except Exception as error:
            # keras-tuner raises whatever it meets in damaged files.
            raise InputError(
                f"out must hold a sweep that can be read, but {self._project_dir} is damaged ({error}): "
                "replace it with overwrite=True (--overwrite)."
            ) from error
        # Saved by itself before the oracle knew of it: it will be asked for again.
        for trial_id in set(self.trials) - set(self.start_order):
            del self.trials[trial_id]
        self.ongoing_trials: dict[str, Any] = {}
        self._retry_queue: list[str] = []
        for trial_id in reversed(self.start_order):
            if self.trials[trial_id].status in (_RUNNING, _INVALID):
                self._queue(self.trials[trial_id])
            elif trial_id not in self.end_order:
                self.end_order.append(trial_id)
        self.end_order[:] = [name for name in self.end_order if name not in self._retry_queue]

    def retry_failed(self) -> None:
        """Puts every failed trial back, to be run again."""
        for trial_id in [name for name in self.start_order if self.trials[name].status == _FAILED][::-1]:
            self.end_order.remove(trial_id)
            self._queue(self.trials[trial_id])

    def _queue(self, trial: Any) -> None:
        trial.status = _INVALID
        trial.message = None
        trial.metrics = type(trial.metrics)()
        self._retry_queue.append(trial.trial_id)

    @keras_tuner.synchronized
    def create_trial(self, tuner_id: str) -> Any:
        """The next trial for a worker; an idle one where it has to wait for others."""
        now = time.monotonic()
        self._seen[tuner_id] = now
        if tuner_id in self.ongoing_trials:
            self._died(tuner_id)
        self._look_for_the_dead(now)
        trial = super().create_trial(tuner_id)
        if trial.status == _STOPPED and self.ongoing_trials:
            self.tuner_ids.add(tuner_id)
            trial.status = _IDLE
        return trial

    def get_trial(self, trial_id: str) -> Any:
        """The trial; a sign of life of the worker that has it."""
        for tuner_id, trial in list(self.ongoing_trials.items()):
            if trial.trial_id == trial_id:
                self._seen[tuner_id] = time.monotonic()
        return super().get_trial(trial_id)

    def _look_for_the_dead(self, now: float) -> None:
        for tuner_id in {*self.tuner_ids, *self.ongoing_trials}:
            if now - self._seen.get(tuner_id, now) > self.patience:
                self.bury(tuner_id)

    def _died(self, tuner_id: str, reason: str | None = None) -> None:
        trial = self.ongoing_trials.pop(tuner_id)
        self._deaths[trial.trial_id] += 1
        if reason is None and self._deaths[trial.trial_id] < _DEATHS:
            self._queue(trial)
        else:
            trial.status = _FAILED
            trial.message = reason or f"its worker died {_DEATHS} times"
            self.end_order.append(trial.trial_id)
            self._save_trial(trial)
            self.on_end(trial)
        self.save()

    @keras_tuner.synchronized
    def bury(self, tuner_id: str, reason: str | None = None) -> None:
        """Gives the trial of a worker that is known to be dead to another one; with a `reason` it has failed."""
        self.tuner_ids.discard(tuner_id)
        if tuner_id in self.ongoing_trials:
            self._died(tuner_id, reason)

    @keras_tuner.synchronized
    def finished(self) -> bool:
        """Whether every trial has ended and every worker knows."""
        self._look_for_the_dead(time.monotonic())
        return not self.ongoing_trials and not self.tuner_ids and not self._retry_queue

    @keras_tuner.synchronized
    def end_trial(self, trial: Any) -> None:
        """Takes a trial's result; that of a worker given up too soon only where no other came before it."""
        known = self.trials[trial.trial_id]
        if trial.trial_id in self.end_order:
            for tuner_id, ongoing in list(self.ongoing_trials.items()):
                if ongoing.trial_id == trial.trial_id:
                    del self.ongoing_trials[tuner_id]
            return
        if trial.trial_id in self._retry_queue:
            self._retry_queue.remove(trial.trial_id)
        reason = Path(self._get_trial_dir(trial.trial_id), trials.FAILURE)
        if trial.status != _COMPLETED and reason.is_file():
            # A message does not travel from a worker to the chief.
            trial.message = str(_files.read_json(reason).get("reason"))
        super().end_trial(trial)
        self.save()
        self.on_end(known)


class GridOracle(Resilient):
    """Every ratio with every seed, each once; seed by seed, so what is there after a break can be compared.

    Args:
        ratios: of +1, from 0 to 1.
        seeds: integers from 0.
        **kwargs: as for keras-tuner's Oracle.
    """

    def __init__(self, ratios: Sequence[float], seeds: Sequence[int], **kwargs: Any) -> None:
        # A grid that grows keeps the trials that it has: the next one is found by its values, not by its place.
        self.grid = [(ratio, seed) for seed in seeds for ratio in ratios]
        super().__init__(max_trials=len(self.grid), **kwargs)

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """The first point of the grid that no trial has."""
        values = [trial.hyperparameters.values for trial in self.trials.values()]
        there = {(each.get(NAME), each.get(SEED)) for each in values}
        ratio, seed = next(point for point in self.grid if point not in there)
        return {"status": _RUNNING, "values": {NAME: ratio, SEED: seed}}


class RandomSearchOracle(Resilient, keras_tuner.oracles.RandomSearchOracle):
    """keras-tuner's random search."""


class BayesianOptimizationOracle(Resilient, keras_tuner.oracles.BayesianOptimizationOracle):
    """keras-tuner's Bayesian optimization."""


class HyperbandOracle(Resilient, keras_tuner.oracles.HyperbandOracle):
    """keras-tuner's Hyperband, whose iterations are those asked for and not those that were saved."""

    def set_state(self, state: dict[str, Any]) -> None:
        """Takes up a saved state."""
        super().set_state({**state, "hyperband_iterations": self.hyperband_iterations})
