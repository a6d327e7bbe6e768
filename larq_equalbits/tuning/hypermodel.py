"""Networks with a bit ratio to search for, as keras-tuner takes them."""

import json
import os
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

from larq_equalbits import data, pruning
from larq_equalbits._bits.kernels import quantized_kernels
from larq_equalbits._choices import check_ratios
from larq_equalbits._errors import BuildError, InputError, invalid, is_whole
from larq_equalbits._keras.quantizers import resolve
from larq_equalbits.quantizers.base import EstimatorQuantizer
from larq_equalbits.training import building, recipes
from larq_equalbits.training.settings import Settings
from larq_equalbits.tuning import ratios as bit_ratios
from larq_equalbits.tuning.keras_2 import keras_tuner

SEED, QUANTIZER, SPARSITY = "seed", "quantizer", "sparsity"


class HyperModel(keras_tuner.HyperModel):
    """A network of the zoo, or one of your own, whose bit ratio is a hyper-parameter.

    The hyper-parameters are ``positive_ratio`` (or ``positive_ratio/<kernel>`` for every kernel whose quantizer has
    a ratio, under the names that `BitLogger` logs) and ``seed``, so a trial repeats.

    Works in the searches of this package and in keras-tuner's own classes, which call `build` and `fit`: there
    the data, the epochs and `BitLogger` are added unless `search` is given others.

    Args:
        model: a network of the zoo, or ``build(hp)``, which returns a built Keras or Larq model of its own
            hyper-parameters. The recipe compiles it; what it was compiled with is replaced, with a warning.
        settings: how a trial trains: `training.Settings`, or a function of ``hp`` that returns them, for
            hyper-parameters of the training such as the learning rate.
        ratios: the ratios to choose from, each from 0 to 1; None for any between `low` and `high`.
        low: the lowest ratio, without `ratios`.
        high: the highest ratio, without `ratios`.
        per_layer: a ratio for each kernel, in place of one for the network.
        seeds: the seeds to choose from; by default that of the settings.
        quantizers: aliases to choose from, for a network of the zoo; those with a ratio get one. None for the
            settings' quantizer.
        sparsities: fractions of zeros to choose from, each from 0 to below 1: for every layer with `per_layer`, else
            one for all (``sparsity``, ``sparsity/<layer>``). What is above 0 is pruned by rank. None to prune
            nothing.

    Raises:
        InputError: an unknown network, ratios that are none, twice or outside [0, 1], a quantizer that is unknown or,
            where there is no choice, has no ratio, a seed that is no integer from 0, a sparsity out of range.

    Examples:
        >>> HyperModel("conv2", ratios=[0.3, 0.5]).describe()["ratios"]
        [0.3, 0.5]
    """

    def __init__(
        self,
        model: str | Callable[[Any], tf.keras.Model] = "conv2",
        settings: Settings | Callable[[Any], Settings] | None = None,
        *,
        ratios: Sequence[float] | None = None,
        low: float = 0.1,
        high: float = 0.9,
        per_layer: bool = False,
        seeds: Sequence[int] | None = None,
        quantizers: Sequence[str] | None = None,
        sparsities: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        self.function = None if isinstance(model, str) else model
        self.model = model if isinstance(model, str) else getattr(model, "__name__", type(model).__name__)
        if self.function is None:
            from larq_equalbits import zoo

            zoo.get(self.model)
        elif not callable(model):
            raise invalid("model", model, "the name of a network, or a function build(hp)")
        self._settings: Any = settings if settings is not None else Settings()
        self.ratios = None if ratios is None else check_ratios(ratios)
        if self.ratios is None and not 0 <= low < high <= 1:
            raise invalid("low and high", (low, high), "0 <= low < high <= 1")
        self.low, self.high = float(low), float(high)
        self.per_layer = per_layer
        self._kernels: list[str] | None = None
        if seeds is None:
            seeds = (0,) if callable(self._settings) else (self._settings.seed,)
        self.seeds = tuple(seeds)
        if not self.seeds:
            raise invalid("seeds", seeds, "at least one integer")
        for seed in self.seeds:
            if not (is_whole(seed, 0) and seed < 2**32):
                raise invalid("seeds", seed, "integers from 0 to below 2**32")
        self.seeds = tuple(int(seed) for seed in self.seeds)
        self.quantizers = None if quantizers is None else tuple(quantizers)
        self.sparsities = None if sparsities is None else tuple(map(float, sparsities))
        self._check_choices()
        if self.quantizers is None and not callable(self._settings) and self.function is None:
            plan = self._settings.plan()
            if bit_ratios.NAME in self._settings.quantizer_options:
                raise InputError(
                    f"quantizer_options must not hold {bit_ratios.NAME}, which the search chooses, but are "
                    f"{self._settings.quantizer_options}."
                )
            options = {**self._settings.quantizer_options, bit_ratios.NAME: 0.5}
            made = resolve(plan.quantizer, options=options)
            if plan.estimator is not None and not isinstance(made, EstimatorQuantizer):
                raise invalid("estimator", plan.estimator, f'"none" for the quantizer {plan.quantizer}')

    def _check_choices(self) -> None:
        if self.quantizers is not None:
            if self.function is not None:
                raise invalid("quantizers", self.quantizers, "None for build(hp), which chooses itself")
            if not self.quantizers or len(set(self.quantizers)) < len(self.quantizers):
                raise invalid("quantizers", self.quantizers, "different aliases, at least one")
            if not callable(self._settings) and self._settings.quantizer_options:
                raise InputError(
                    "quantizer_options must be empty where the quantizer is chosen, but are "
                    f"{self._settings.quantizer_options}."
                )
            for alias in self.quantizers:
                resolve(alias)
        if self.sparsities is not None and not (
            self.sparsities
            and len(set(self.sparsities)) == len(self.sparsities)
            and all(0 <= each < 1 for each in self.sparsities)
        ):
            raise invalid("sparsities", self.sparsities, "different numbers from 0 to below 1, at least one")

    @property
    def declares_itself(self) -> bool:
        """Whether all hyper-parameters are known without building a network."""
        return self.function is None and not self.per_layer and not callable(self._settings)

    @property
    def portable(self) -> bool:
        """Whether `describe` says everything, so another process can make the same."""
        return self.function is None and not callable(self._settings)

    @property
    def data_dir(self) -> str | None:
        """The folder of the data sets that the settings name."""
        given = None if callable(self._settings) else self._settings.data_dir
        return None if given is None else os.fspath(given)

    def describe(self) -> dict[str, Any]:
        """What tells two searches apart, as JSON values."""
        settings: Any = getattr(self._settings, "__name__", "a function")
        if not callable(self._settings):
            # Not the plan: a search may change the epochs, with which milestones and warm-up then move.
            settings = self._settings.as_given()
            # Where the data lies changes no result, and differs between machines.
            settings.pop("data_dir")
        return {
            "model": self.model,
            "settings": settings,
            "ratios": None if self.ratios is None else list(self.ratios),
            "between": [self.low, self.high] if self.ratios is None else None,
            "per_layer": self.per_layer,
            "seeds": list(self.seeds),
            "quantizers": None if self.quantizers is None else list(self.quantizers),
            "sparsities": None if self.sparsities is None else list(self.sparsities),
        }

    @classmethod
    def from_description(cls, description: dict[str, Any], data_dir: Path | None = None) -> "HyperModel":
        """The hyper-model that `describe` described, with its data in `data_dir`."""
        settings = Settings.from_json(json.dumps(description["settings"]))
        low, high = description["between"] or (0.1, 0.9)
        return cls(
            description["model"],
            settings.replace(data_dir=None if data_dir is None else str(data_dir)),
            ratios=description["ratios"],
            low=low,
            high=high,
            per_layer=description["per_layer"],
            seeds=description["seeds"],
            quantizers=description.get("quantizers"),
            sparsities=description.get("sparsities"),
        )

    def declare_hyperparameters(self, hp: Any) -> None:
        """Registers the seed, the quantizer, and what takes no network to name its layers."""
        self._seed(hp)
        self._quantizer(hp)
        if not self.per_layer:
            self._ratio(hp, bit_ratios.NAME)
            self._sparsity(hp, SPARSITY)

    def _seed(self, hp: Any) -> int:
        return int(_among(hp, SEED, self.seeds))

    def _quantizer(self, hp: Any) -> str | None:
        return None if self.quantizers is None else str(hp.Choice(QUANTIZER, list(self.quantizers)))

    def _ratio(self, hp: Any, name: str) -> float | None:
        """The ratio `name`, None where the trial's quantizer has none."""
        if self.quantizers is None:
            return self._chosen_ratio(hp, name)
        having = [alias for alias in self.quantizers if hasattr(resolve(alias), bit_ratios.NAME)]
        if not having:
            return None
        with hp.conditional_scope(QUANTIZER, having):
            ratio = self._chosen_ratio(hp, name)
        return ratio if self._quantizer(hp) in having else None

    def _chosen_ratio(self, hp: Any, name: str) -> float:
        if self.ratios is None:
            return float(hp.Float(name, self.low, self.high) or 0)
        return float(_among(hp, name, self.ratios) or 0)

    def _sparsity(self, hp: Any, name: str) -> float:
        if self.sparsities is None:
            return 0.0
        return float(hp.Choice(name, list(self.sparsities)))

    def settings(self, hp: Any) -> Settings:
        """The training of the trial `hp`.

        Raises:
            InputError: values out of range.
        """
        settings = self._settings(hp) if callable(self._settings) else self._settings
        settings = settings.replace(model=self.model, seed=self._seed(hp))
        if self.quantizers is not None:
            settings = settings.replace(quantizer=self._quantizer(hp))
        if not self.per_layer:
            ratio = self._ratio(hp, bit_ratios.NAME)
            options = {**settings.quantizer_options, **({} if ratio is None else {bit_ratios.NAME: ratio})}
            settings = settings.replace(quantizer_options=options if self.function is None else {})
        settings.plan()
        return settings

    def builder(self, hp: Any) -> building.Builder | None:
        """What builds the trial's network in place of the zoo; None where the settings say all of it.

        What it builds raises `BuildError` where that fails.
        """
        self._kernels = None
        if self.function is None and not self.per_layer and self.sparsities is None:
            return None

        def build(**arguments: Any) -> tf.keras.Model:
            try:
                return self._assemble(hp, arguments)
            except Exception as error:
                reason = f"{type(error).__name__}: {error}"
                raise BuildError(f"the model could not be built: {reason}") from error

        return build

    def _assemble(self, hp: Any, arguments: dict[str, Any]) -> tf.keras.Model:
        if self.function is None:
            from larq_equalbits import zoo

            options = recipes.model_options(self.settings(hp).recipe)
            model = zoo.get(self.model)(**{**options, **arguments})
        else:
            model = self.function(hp)
            if not isinstance(model, tf.keras.Model):
                raise InputError(f"build(hp) must return a Keras 2 model, but got {model!r}.")
            if getattr(model, "optimizer", None) is not None:
                warnings.warn(
                    f"{self.model}: what the model was compiled with is replaced by the recipe's optimizer and "
                    "loss; set those in the settings.",
                    stacklevel=2,
                )
        kernels = quantized_kernels(model)
        self._kernels = [each for kernel in kernels for each in (kernel.name, kernel.layer.name)]
        self._give_ratios(hp, model)
        return self._pruned(hp, model, list(dict.fromkeys(kernel.layer.name for kernel in kernels)))

    def _give_ratios(self, hp: Any, model: tf.keras.Model) -> None:
        if not self.per_layer:
            ratio = self._ratio(hp, bit_ratios.NAME)
            if ratio is not None:
                bit_ratios.apply(model, ratio)
        elif self.quantizers is None or hasattr(resolve(self._quantizer(hp)), bit_ratios.NAME):
            names = [kernel.name for kernel in bit_ratios.tunable(model)]
            ratios = {name: self._ratio(hp, f"{bit_ratios.NAME}/{name}") for name in names}
            bit_ratios.apply(model, {name: ratio for name, ratio in ratios.items() if ratio is not None})

    def _pruned(self, hp: Any, model: tf.keras.Model, layers: list[str]) -> tf.keras.Model:
        if self.sparsities is None:
            return model
        named = {name: f"{SPARSITY}/{name}" if self.per_layer else SPARSITY for name in layers}
        chosen = {layer: self._sparsity(hp, name) for layer, name in named.items()}
        for sparsity in sorted(set(chosen.values()) - {0.0}):
            others = tuple(layer for layer in layers if chosen[layer] != sparsity)
            model = pruning.prune(model, sparsity, skip=others)
        return model

    def own_values(self, values: dict[str, Any]) -> dict[str, Any]:
        """`values` without those of layers that the network built last does not have."""

        def own(name: str) -> bool:
            kind, _, layer = name.partition("/")
            return (
                self._kernels is None
                or kind not in (bit_ratios.NAME, SPARSITY)
                or layer in ("", *self._kernels)
            )

        return {name: value for name, value in values.items() if own(name)}

    def images(self, settings: Settings, *, download: bool = False) -> data.Data:
        """The trial's data.

        Raises:
            InputError: it is not there, or not such.
        """
        return building.images(building.fitted(settings, download=download), download=download)

    def check_data(self, download: bool = False) -> None:
        """Opens the data, so what is missing is said before the first trial.

        Raises:
            InputError: it is not there, or not such.
        """
        if not callable(self._settings):
            self.images(self._settings, download=download)

    def build(self, hp: Any) -> tf.keras.Model:
        """The trial's network, compiled as the recipe says, its weights drawn from the trial's seed.

        Raises:
            InputError: an unknown network or quantizer, or data that is not there.
            BuildError: the network cannot be built.
        """
        settings = self.settings(hp)
        plan = settings.plan()
        images = self.images(settings)
        tf.keras.utils.set_random_seed(settings.seed)
        model = building.build(settings, plan, images, self.builder(hp))
        building.compile_model(model, plan, building.schedule(plan, images.steps_per_epoch))
        return model

    def fit(self, hp: Any, model: tf.keras.Model, *args: Any, **kwargs: Any) -> Any:
        """Trains as the settings say, with `BitLogger`; arguments given to `search` come first.

        Returns:
            Keras' History.
        """
        settings = self.settings(hp)
        plan = settings.plan()
        if not args and "x" not in kwargs:
            images = self.images(settings)
            kwargs = {"x": images.train, "validation_data": images.validation, **kwargs}
        kwargs.setdefault("epochs", plan.epochs)
        own = building.own_callbacks(plan, model, None)
        given = kwargs.pop("callbacks", None) or []
        kinds = {type(callback) for callback in given}
        own = [callback for callback in own if type(callback) not in kinds]
        return model.fit(*args, callbacks=[*own, *given], **kwargs)


def _among(hp: Any, name: str, values: Sequence[float]) -> Any:
    """The hyper-parameter `name`, which has nothing to choose where there is one value."""
    return hp.Fixed(name, values[0]) if len(values) == 1 else hp.Choice(name, list(values))
