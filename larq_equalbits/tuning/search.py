"""A search on resumable run folders, by whatever oracle: claimed, reloaded, worked off, and summed up."""

import contextlib
import copy
import io
import json
import os
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

from larq_equalbits import _files, training
from larq_equalbits._choices import MOST_WORKERS
from larq_equalbits._errors import InputError, WorkError, invalid, is_whole
from larq_equalbits._version import VERSION
from larq_equalbits.tuning import (
    distributed,
    folder,
    machine,
    objectives,
    oracles,
    presentation,
    running,
    trials,
)
from larq_equalbits.tuning import ratios as bit_ratios
from larq_equalbits.tuning.hypermodel import HyperModel
from larq_equalbits.tuning.keras_2 import keras_tuner
from larq_equalbits.tuning.progress import Progress

_RUNS = "runs the sweep"


class Search(keras_tuner.Tuner):
    """A keras-tuner search whose trials are run folders.

    Every trial trains by `training.train` in a folder of its own under `out` (settings, history with BitLogger's
    values, last and best model, checkpoint), so a killed search goes on within the trial it was killed in
    and repeats none that has ended, and `larq-equalbits convert` takes any trial.

    With keras-tuner's environment variables ``KERASTUNER_TUNER_ID`` ("chief", or a name for each worker),
    ``KERASTUNER_ORACLE_IP`` and ``KERASTUNER_ORACLE_PORT`` set, the same program is the chief or a worker of a
    search on several machines that share `out`.

    The same search again goes on with what has not ended; with a greater `max_trials`, more `hyperband_iterations`, or
    further ratios and seeds of a grid, it adds trials to those that are there.

    Args:
        oracle: one of those in `tuning.oracles`.
        hypermodel: a `HyperModel`, or what makes one: a network's name, or ``build(hp)``.
        out: the search's folder.
        overwrite: replace a search that is there with other settings.
        callbacks: Keras callbacks; every trial gets copies (`copy.deepcopy`).
        light: save a trial's models when its training has ended; False for every epoch, with logs for TensorBoard.

    Raises:
        InputError: a folder with other things in it, with a search of other settings (names them) or of another
            version of this package, or in use by another process; data that is missing; callbacks that cannot be
            copied; a chief that cannot be reached.

    Examples:
        >>> isinstance(lqe.tuning.BitRatioSweep("conv2", [0.3, 0.5], out=folder / "ratios"), Search)
        True
    """

    def __init__(
        self,
        oracle: oracles.Resilient,
        hypermodel: HyperModel | str | Callable[[Any], tf.keras.Model],
        out: str | os.PathLike[str],
        *,
        overwrite: bool = False,
        callbacks: Sequence[tf.keras.callbacks.Callback] = (),
        light: bool = True,
    ) -> None:
        self.role = distributed.role()
        self.out = Path(out)
        self.hyper = hypermodel if isinstance(hypermodel, HyperModel) else HyperModel(hypermodel)
        self.callbacks = list(callbacks)
        self._copied_callbacks()
        self.light = light
        self._asked = False
        self._signs: distributed.SignsOfLife | None = None
        self.description = {
            "kind": type(self).__name__,
            folder.VERSION: VERSION,
            **self.hyper.describe(),
            "objective": objectives.describe(oracle.objective),
            "options": self.options(),
            folder.LIGHT: light,
        }
        if self.role == "worker":
            distributed.reach_chief(oracles.Resilient.patience)
        # A chief trains nothing: it need not have the data.
        if self.role != "chief":
            self.hyper.check_data()
        if self.role != "worker":
            used = (self.out / _files.SWEEP).is_file()
            with _files.locked(self.out, _RUNS) if used else contextlib.nullcontext():
                folder.claim(self.out, self.description, overwrite)
        # keras-tuner's own overwrite would let a worker remove the folder of the chief.
        # What it prints where there is a state stays off standard output, which may be JSON.
        there = (self.out / folder.STATE).exists()
        with contextlib.redirect_stdout(io.StringIO() if there else sys.stdout):
            super().__init__(
                oracle,
                self.hyper,
                directory=os.fspath(self.out.parent),
                project_name=self.out.name,
                overwrite=False,
            )
        if self.role != "worker":
            self.save()

    def options(self) -> dict[str, Any]:
        """The algorithm's own arguments, as JSON values."""
        return {}

    def _get_tuner_fname(self) -> str:
        # The same for one process and for a chief: what one began the other goes on with.
        return os.path.join(str(self.project_dir), folder.STATE)

    def save(self) -> None:
        """Writes the state, unless this is a worker."""
        if self.role != "worker":
            self.oracle.save()
            _files.write_text(self._get_tuner_fname(), "{}\n")

    def reload(self) -> None:
        """Takes up the oracle's state, unless this is a worker."""
        if self.role != "worker":
            self.oracle.reload()
            if self.hyper.declares_itself:
                # The space may have grown since it was saved.
                self.oracle.hyperparameters = keras_tuner.HyperParameters()
                self._populate_initial_space()

    def _populate_initial_space(self) -> None:
        hp = self.oracle.get_space()
        self.hyper.declare_hyperparameters(hp)
        self.oracle.update_space(hp)
        if self.hyper.declares_itself:
            return
        try:
            self._activate_all_conditions()
        except InputError:
            raise
        except Exception:
            # The default values may be the only ones that cannot be built: the trial says so.
            self.oracle.update_space(hp)

    def _copied_callbacks(self) -> list[Any]:
        try:
            return copy.deepcopy(self.callbacks)
        except Exception as error:
            raise InputError(
                f"callbacks must be such that copy.deepcopy can copy them, as every trial gets its own: {error}"
            ) from error

    @property
    def _portable(self) -> bool:
        """Whether another process can make the same."""
        return self.hyper.portable and not self.callbacks

    @property
    def objectives(self) -> list[str]:
        """The names of what is optimised."""
        chosen = self.oracle.objective
        return [each.name for each in getattr(chosen, "objectives", [chosen])]

    def pre_create_trial(self) -> None:
        """Waits a little where the oracle had no trial the last time."""
        if self._asked:
            time.sleep(0.5)
        self._asked = True

    def on_trial_begin(self, trial: Any) -> None:
        """Tells the chief from now on that this worker has the trial."""
        self._asked = False
        if self._signs is not None:
            self._signs.trial_id = trial.trial_id

    def _try_run_and_update_trial(self, trial: Any, *args: Any, **kwargs: Any) -> None:
        try:
            self._run_and_update_trial(trial, *args, **kwargs)
            trial.status = "COMPLETED"
        except keras_tuner.errors.FatalError:
            raise
        except Exception as error:
            if not self._portable:
                # The author of a network or a callback made in Python needs more than the reason.
                traceback.print_exception(error)
            trial.status, trial.message = "FAILED", str(error)

    def run_trial(self, trial: Any, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Trains the trial in its run folder; see `tuning.running.run`."""
        if self.role == "worker":
            differences = folder.differences(self.out, self.description)
            if differences:
                raise running.OtherSettingsError(
                    f"a worker must have the chief's settings: {'; '.join(differences)}."
                )
        values = trial.hyperparameters.values
        former = values.get("tuner/trial_id")
        metrics = running.run(
            trial,
            Path(self.get_trial_dir(trial.trial_id)),
            self.hyper,
            self.objectives,
            epochs=self.description["options"].get("max_epochs"),
            former=Path(self.get_trial_dir(former)) if former else None,
            callbacks=self._copied_callbacks(),
            light=self.light,
        )
        goal = self.oracle.objective
        return {**metrics, goal.name: goal.get_value(metrics)}

    def search(self, *, workers: int | str = 1, retry_failed: bool = False, verbose: int = 1) -> None:
        """Runs the trials that have not ended yet, and writes the tables, the plot and the best run.

        Args:
            workers: processes on this machine that run trials at the same time, each with its share of the
                processors or a GPU, at most one for each trial; "auto" for one for each GPU, or without GPUs for each
                processor. More than one only where the network is one of the zoo and there are no callbacks, so
                they can make the same.
            retry_failed: run the trials that have failed again; otherwise they have ended.
            verbose: 1 for a line for each trial that ends, 0 for silence.

        Raises:
            InputError: an objective that the trials do not log; workers that cannot be started.
            OSError: the folder cannot be written; what has ended is safe.
            WorkError: every trial failed, or workers die again and again.
        """
        if self.role == "worker":
            self._work()
            return
        workers = self._workers(workers)
        if retry_failed:
            self.oracle.retry_failed()
        self.oracle.on_end = self._report(workers, verbose)
        with _files.locked(self.out, _RUNS):
            try:
                self._search(workers)
            except running.UnknownMetricError:
                if not self.oracle.end_order:
                    folder.clear(self.out)
                raise
            self._finish()

    def _workers(self, given: int | str) -> int:
        here, trials = machine.machine(), self.oracle.max_trials
        if given == "auto":
            return here.workers(trials) if self._portable and self.role == "single" else 1
        if not (is_whole(given, 1) and int(given) <= MOST_WORKERS):
            raise invalid("workers", given, f'an integer of at least 1, at most {MOST_WORKERS}, or "auto"')
        if int(given) > 1 and not self._portable:
            raise InputError(
                "workers must be 1 for a network, settings or callbacks made in Python, which another process cannot "
                "make: start the program several times with keras-tuner's environment variables instead."
            )
        count = int(given) if trials is None else min(int(given), trials)
        if count > here.places:
            kind = "GPU" if here.gpus else "processor"
            warnings.warn(
                f"workers: {count} have to share {here.places} {kind}{'s' if here.places > 1 else ''}; more than one "
                "on each make a sweep slower and take more memory.",
                stacklevel=3,
            )
        return count

    def _work(self) -> None:
        try:
            with distributed.SignsOfLife(self.oracle, oracles.Resilient.patience) as self._signs:
                super().search()
        except running.UnknownMetricError as error:
            # The chief cannot know what trials log.
            _files.write_text(self.out / folder.STOP, json.dumps({"reason": str(error)}))
            raise

    def _check_stop(self) -> None:
        stop = self.out / folder.STOP
        if stop.is_file():
            raise running.UnknownMetricError(_files.read_json(stop).get("reason"))

    def _search(self, workers: int) -> None:
        (self.out / folder.STOP).unlink(missing_ok=True)
        if self.remaining_trials == 0 and not self.oracle._retry_queue:
            return
        chief = self.role == "chief"
        if not chief and workers < 2:
            super().search()
            return
        address = (
            f"{os.environ[distributed.ADDRESS]}:{os.environ[distributed.PORT]}" if chief else "127.0.0.1:0"
        )
        # A chief's workers are started elsewhere.
        shares = [] if chief else machine.machine().shares(workers)
        with (
            distributed.served(self.oracle, address) as (port, done),
            distributed.LocalWorkers(self.out, shares, port, self.hyper.data_dir) as local,
        ):
            while not done():
                self._check_stop()
                local.look_after(self.oracle)
                time.sleep(0.1)

    def _report(self, workers: int, verbose: int) -> Callable[[Any], None]:
        ended = len(self.oracle.end_order)
        progress = (
            Progress(self.oracle.max_trials, ended, workers, " + ".join(self.objectives)) if verbose else None
        )

        def on_end(trial: Any) -> None:
            # A trial that will be tried again has not ended.
            if trial.status not in ("COMPLETED", "FAILED"):
                return
            read = trials.read(trial.get_state(), Path(self.get_trial_dir(trial.trial_id)))
            if progress is not None:
                progress.ended_one(read.values, trial.score, read.reason, read.seconds)
            trials.write(self.out, self.trials(), self.description)

        return on_end

    def trials(self) -> list[trials.Trial]:
        """What has become of every trial, in the order in which they were started."""
        if self.role == "worker":
            return trials.load(self.out)
        return [
            trials.read(self.oracle.trials[name].get_state(), Path(self.get_trial_dir(name)))
            for name in self.oracle.start_order
        ]

    def best_run(self) -> training.Run:
        """The run of the best trial by the objective, the first of equals.

        Raises:
            WorkError: no trial has finished.
        """
        found = self.trials()
        scores = {trial.folder: trial.score for trial in found if trial.score is not None}
        if not scores:
            reasons = [trial.reason for trial in found if trial.reason]
            raise WorkError(f"no trial of {self.out} finished: {reasons[0] if reasons else 'none was run'}")
        choose = max if self.oracle.objective.direction == "max" else min
        return training.Run.load(choose(scores, key=lambda folder: scores[folder]))

    def load_model(self, trial: Any) -> tf.keras.Model:
        """The last model of a trial, from its run folder."""
        return training.Run.load(self.get_trial_dir(trial.trial_id)).load_model()

    def shown(self) -> list[str]:
        """The metrics of the table and the plot: accuracy on test images, the objective, the entropy."""
        return trials.shown(self.trials(), self.description)

    def _chance(self, settings: training.Settings) -> float | None:
        try:
            return 1 / self.hyper.images(settings).num_classes
        except InputError:
            # A chief need not have the data.
            return None

    def _finish(self) -> None:
        found = self.trials()
        trials.write(self.out, found, self.description)
        best = self.best_run()
        folder.point_to_best(self.out, best.folder)
        with contextlib.suppress(ImportError):
            self._draw(found, best.settings)

    def _draw(self, found: Sequence[Any], settings: training.Settings) -> None:
        goal = self.description["objective"]
        figures = {}
        if any(trial.metrics and bit_ratios.NAME in trial.values for trial in found):
            figures[trials.PLOT] = presentation.plot(found, self.shown(), chance=self._chance(settings))
        if isinstance(goal, list) and len(goal) == 2:
            figures[trials.FRONT] = presentation.front(found, goal)
        for name, figure in figures.items():
            with _files.replacing(self.out / name) as temporary:
                figure.savefig(temporary, dpi=150)
