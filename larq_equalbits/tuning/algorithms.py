"""What is searched, and in which order: the grid over ratios and seeds, and keras-tuner's algorithms."""

import copy
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

from larq_equalbits import _files
from larq_equalbits._choices import check_ratios
from larq_equalbits._errors import InputError, invalid, is_whole
from larq_equalbits.training.settings import Settings
from larq_equalbits.tuning import comparison, folder, objectives, oracles, trials
from larq_equalbits.tuning.hypermodel import HyperModel
from larq_equalbits.tuning.search import Search


class BitRatioSweep(Search):
    """A grid: every ratio with every seed, each trained once (Equal Bits, Fig. 5).

    A grid that is in `out` grows: its ratios and seeds stay, those given are added, and what has ended stays as it is.

    The best trial is the one with the best objective of its last epoch. By default that is the accuracy on the
    held-out images: chosen by the test images, their accuracy would be too good.

    Args:
        model: a network of the zoo, ``build(hp)``, or a `HyperModel`, which brings ratios, seeds and settings.
        ratios: shares of +1, each from 0 to 1; by default 0.1, 0.2, ... 0.9.
        out: the sweep's folder.
        repeats: seeds of each ratio: that of the settings and the integers after it.
        settings: how a trial trains.
        objective: what the best trial is best in; see `tuning.objective`.
        overwrite: as for `Search`.
        callbacks: as for `Search`.
        light: as for `Search`.

    Raises:
        InputError: as `Search` and `HyperModel`, and for `repeats` below 1.

    Reference:
        Li et al., Equal Bits: Enforcing Equally Distributed Binary Network Weights, AAAI 2022, Fig. 5.

    Examples:
        >>> sweep = BitRatioSweep("conv2", [0.3, 0.5], out=folder / "ratios", repeats=2)
        >>> sweep.oracle.objective.name
        'val_accuracy'
    """

    def __init__(
        self,
        model: str | Callable[[Any], tf.keras.Model] | HyperModel = "conv2",
        ratios: Sequence[float] | None = None,
        *,
        out: str | os.PathLike[str],
        repeats: int = 1,
        settings: Settings | Callable[[Any], Settings] | None = None,
        objective: Any = "val_accuracy",
        overwrite: bool = False,
        callbacks: Sequence[tf.keras.callbacks.Callback] = (),
        light: bool = True,
    ) -> None:
        if isinstance(model, HyperModel):
            hyper = model
            if ratios is not None or settings is not None or repeats != 1:
                raise InputError(
                    "ratios, repeats and settings must be those of the HyperModel: give them to it."
                )
            if hyper.ratios is None or hyper.per_layer:
                raise invalid(
                    "model", "a HyperModel without ratios of the whole network", "one with `ratios`"
                )
            hyper = copy.copy(hyper)
        else:
            if not (is_whole(repeats, 1) and repeats <= 10_000):
                raise invalid("repeats", repeats, "an integer of at least 1, at most 10,000")
            first = 0 if settings is None or callable(settings) else settings.seed
            hyper = HyperModel(
                model,
                settings,
                ratios=[index / 10 for index in range(1, 10)] if ratios is None else ratios,
                seeds=range(first, first + repeats),
            )
        if hyper.ratios is None:
            raise invalid("ratios", hyper.ratios, "given to the HyperModel of a grid")
        if not overwrite:
            ratios_there, seeds_there = folder.former_grid(Path(out))
            hyper.ratios = check_ratios(list(dict.fromkeys([*ratios_there, *hyper.ratios])))
            hyper.seeds = tuple(dict.fromkeys([*seeds_there, *hyper.seeds]))
        oracle = oracles.GridOracle(hyper.ratios, hyper.seeds, objective=objectives.objective(objective))
        super().__init__(oracle, hyper, out, overwrite=overwrite, callbacks=callbacks, light=light)

    def summary(self) -> list[trials.Ratio]:
        """Mean and deviation of every metric for each ratio."""
        return trials.by_ratio(self.trials())

    def comparisons(
        self, metric: str = "test_accuracy", reference: float = comparison.REFERENCE
    ) -> list[comparison.Comparison]:
        """Every ratio against the `reference`, seed by seed, with p and Holm's correction; see `comparison.against`."""
        return comparison.against(self.trials(), metric, reference)


class RandomSearch(Search):
    """keras-tuner's random search.

    Args:
        model: a `HyperModel`, the name of a network, or ``build(hp)``.
        out: the search's folder.
        objective: what to optimise; see `tuning.objective`.
        seed: of the search (those of the trials are the hyper-model's).
        overwrite: as for `Search`.
        callbacks: as for `Search`.
        light: as for `Search`.
        **options: `max_trials` (how many trials there are at most, 10 by default), and further arguments of
            keras-tuner's RandomSearchOracle.

    Examples:
        >>> search = RandomSearch(lqe.tuning.HyperModel("conv2"), out=folder / "RandomSearch", max_trials=2)
        >>> search.oracle.objective.direction
        'max'
    """

    _oracle: Any = oracles.RandomSearchOracle
    _defaults: Mapping[str, int] = {"max_trials": 10}

    def __init__(
        self,
        model: str | Callable[[Any], tf.keras.Model] | HyperModel = "conv2",
        *,
        out: str | os.PathLike[str],
        objective: Any = "val_accuracy",
        seed: int = 0,
        overwrite: bool = False,
        callbacks: Sequence[tf.keras.callbacks.Callback] = (),
        light: bool = True,
        **options: Any,
    ) -> None:
        self._options = {**self._defaults, "seed": seed, **options}
        for name in folder.COUNTS:
            count = self._options.get(name, 1)
            if not (is_whole(count, 1) and count <= 10**6):
                raise invalid(name, count, "a whole number from 1 to a million")
        # keras-tuner takes a seed of 0 for none.
        oracle = self._oracle(
            objective=objectives.objective(objective), **{**self._options, "seed": seed + 1}
        )
        super().__init__(oracle, model, out, overwrite=overwrite, callbacks=callbacks, light=light)

    def options(self) -> dict[str, Any]:
        """The algorithm's own arguments, as JSON values."""
        return self._options


class BayesianOptimization(RandomSearch):
    """keras-tuner's Bayesian optimization with a Gaussian process; arguments as for `RandomSearch`.

    Needs scikit-learn and scipy, which the extra `data` installs.

    Examples:
        >>> hypermodel = lqe.tuning.HyperModel("conv2")
        >>> search = BayesianOptimization(hypermodel, out=folder / "BayesianOptimization", max_trials=2)
        >>> search.oracle.objective.direction
        'max'
    """

    _oracle: Any = oracles.BayesianOptimizationOracle


class Hyperband(RandomSearch):
    """keras-tuner's Hyperband; arguments as for `RandomSearch`, but for the number of trials, which follows.

    A trial that is promoted goes on from the checkpoint of its former round, so one which reaches
    `max_epochs` is the run that would have trained so long at once: learning rate and schedules are those of
    `max_epochs` from the start.

    Args:
        **options: as for `RandomSearch`, and those of keras-tuner's HyperbandOracle: `max_epochs` of the longest
            trials, `factor` by which each round has fewer trials and more epochs, `hyperband_iterations` (1 by
            default), more of which may be added to a search that has ended.

    Examples:
        >>> search = Hyperband(lqe.tuning.HyperModel("conv2"), out=folder / "Hyperband", max_epochs=3)
        >>> search.oracle.objective.direction
        'max'
    """

    _oracle: Any = oracles.HyperbandOracle
    _defaults: Mapping[str, int] = {"max_epochs": 27, "factor": 3, "hyperband_iterations": 1}


_KINDS: dict[str, Any] = {
    each.__name__: each for each in (BitRatioSweep, RandomSearch, BayesianOptimization, Hyperband)
}


def from_folder(out: Path, data_dir: Path | None = None) -> Search:
    """The search that is in the folder `out`, of a network of the zoo.

    Raises:
        InputError: none there, a damaged one, or one that was made in Python.

    Examples:
        >>> _ = BitRatioSweep("conv2", [0.3, 0.5], out=folder / "ratios")
        >>> from_folder(folder / "ratios").oracle.objective.name
        'val_accuracy'
    """
    path, description = out / _files.SWEEP, folder.read(out)
    if not isinstance(description.get("settings"), dict):
        raise InputError(f"{path}: the settings are a function, which only the program that made them has.")
    try:
        hyper = HyperModel.from_description(description, data_dir)
        goal = objectives.read(description["objective"])
        kind, light = _KINDS[description["kind"]], description[folder.LIGHT]
        return kind(hyper, out=out, objective=goal, light=light, **description["options"])
    except (KeyError, TypeError) as error:
        raise InputError(f"{path} must be what a sweep wrote about itself, but: {error!r}.") from error
