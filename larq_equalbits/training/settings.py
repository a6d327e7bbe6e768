"""What a training run is told: a recipe, and everything in which this run differs from it."""

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from larq_equalbits import _files
from larq_equalbits._choices import DATASETS, DECAYS, OPTIMIZERS, PRECISIONS, SCHEDULES
from larq_equalbits._errors import LARGEST, InputError, fits, invalid, is_number, is_positive, is_whole
from larq_equalbits.training import recipes

# What the JSON of any run holds, by which it is told from another's.
KEYS = ("model", "dataset", "recipe")
# Where the data lies does not change what is learned from it.
_LOCAL = ("data_dir",)


@dataclasses.dataclass(frozen=True)
class Settings:
    """A training run, ready to be repeated.

    The fields from `quantizer` on are those of `training.recipes.Recipe`; one that is None is taken from the recipe,
    and the text "none" switches `constraint`, `estimator`, `percentile` or `score_sparsity` off. Where only `epochs`
    differs from the recipe, milestones and warm-up keep their share of the training. With another `quantizer` than the
    recipe's, the recipe's constraint, percentile and estimator do not apply; `ir_net` then gets the estimator
    (1e-3, 10) and `rbnn` (1e-2, 10).

    Attributes:
        model: a network of the zoo.
        dataset: one of `data.NAMES`, "tfds:NAME", or a folder of images for `data.from_folder`.
        image_size: as for `data.load`, for a folder or "tfds:NAME".
        data_dir: folder of the prepared data sets, None for the default of `data.load`.
        recipe: one of `training.recipes.NAMES`.
        seed: of the initial weights, the order of the images and their augmentation; an integer from 0.
        binarize_activations: False for binary weights alone (1/32).
        batch_size: images per step; None for the recipe's, or for one's own images fewer where they are few.
        quantizer_options: arguments of the quantizer, e.g. ``{"positive_ratio": 0.3}``.
        model_options: further arguments of the zoo's builder.
        augment: as for `data.load`.
        train_images: as for `data.load`; a smaller number makes a quick run.
        validation_fraction: as for `data.load`; with 0 the best model is chosen by training accuracy.
        precision: "float32" or "mixed_bfloat16", the Keras policy.
        deterministic: whether the run repeats bit for bit on the same machine.

    Examples:
        >>> settings = Settings(dataset="cifar10", model="resnet20", epochs=10)
        >>> settings.plan().quantizer, settings.replace(seed=1).differences(settings)
        ('bi_half', ['seed: 1 against 0'])
    """

    model: str = "conv2"
    dataset: str = "digits"
    data_dir: str | os.PathLike[str] | None = None
    recipe: str = "equal-bits"
    seed: int = 0
    binarize_activations: bool = True
    quantizer_options: dict[str, Any] = dataclasses.field(default_factory=dict)
    model_options: dict[str, Any] = dataclasses.field(default_factory=dict)
    augment: str | None = None
    validation_fraction: float = 0.1
    train_images: int | None = None
    precision: str = "float32"
    deterministic: bool = True
    image_size: int | None = None
    quantizer: str | None = None
    epochs: int | None = None
    batch_size: int | None = None
    optimizer: str | None = None
    learning_rate: float | None = None
    momentum: float | None = None
    weight_decay: float | None = None
    decay: str | None = None
    schedule: str | None = None
    milestones: tuple[float, ...] | None = None
    factor: float | None = None
    warmup_epochs: float | None = None
    constraint: str | None = None
    estimator: tuple[float, float] | str | None = None
    percentile: float | str | None = None
    score_sparsity: float | str | None = None

    def __post_init__(self) -> None:
        """Takes numpy's numbers as Python's, and a folder of images by its absolute path."""
        given = self.dataset
        if isinstance(given, str | os.PathLike) and given not in DATASETS:
            folder = _is_folder(given)
            object.__setattr__(self, "dataset", str(Path(given).resolve() if folder else given))
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            # JSON knows nothing of numpy's, nor does Keras as a seed.
            if isinstance(value, np.integer | np.floating | np.bool_):
                object.__setattr__(self, field.name, value.item())

    @property
    def dataset_name(self) -> str:
        """`dataset` as a part of a file's name: that of the folder alone."""
        return Path(self.dataset).name.removeprefix("tfds:")

    def replace(self, **changes: Any) -> "Settings":
        """These settings with some fields changed."""
        unknown = sorted(set(changes) - {field.name for field in dataclasses.fields(self)})
        if unknown:
            raise invalid("settings", unknown, f"among {[field.name for field in dataclasses.fields(self)]}")
        return dataclasses.replace(self, **changes)

    def plan(self) -> recipes.Recipe:
        """The recipe with this run's own values in it, checked.

        Raises:
            InputError: a value of another type, or out of its range.
        """
        self._check_types()
        # The recipe's milestones follow it.
        if self.epochs is not None and not 1 <= self.epochs <= 10**6:
            raise invalid("epochs", self.epochs, "an integer from 1 to a million")
        recipe = recipes.get(
            self.recipe,
            dataset=self.dataset,
            model=self.model,
            binarize_activations=self.binarize_activations,
        )
        names = [field.name for field in dataclasses.fields(recipes.Recipe)]
        plan = recipes.overridden(recipe, **{name: getattr(self, name) for name in names})
        self._check(plan)
        return plan

    def _check_types(self) -> None:
        for field in dataclasses.fields(self):
            value, kind = getattr(self, field.name), field.type
            if not fits(value, kind):
                raise invalid(field.name, value, f"of the type {getattr(kind, '__name__', kind)}")

    def _check(self, plan: recipes.Recipe) -> None:
        for name, value, choices in (
            ("optimizer", plan.optimizer, OPTIMIZERS),
            ("schedule", plan.schedule, SCHEDULES),
            ("decay", plan.decay, DECAYS),
            ("precision", self.precision, PRECISIONS),
        ):
            if value not in choices:
                raise invalid(name, value, f"one of {', '.join(choices)}")
        for name, count, low in (("batch_size", plan.batch_size, 1), ("seed", self.seed, 0)):
            if not is_whole(count, low):
                raise invalid(name, count, f"an integer of at least {low}")
        if self.seed >= 2**32:
            raise invalid("seed", self.seed, "below 2**32")
        for name in ("learning_rate", "weight_decay", "warmup_epochs"):
            value = getattr(plan, name)
            if not (is_number(value) and value >= 0):
                raise invalid(name, value, f"a number from 0 to {LARGEST:.2g}, float32's largest")
        if not (is_number(plan.momentum) and 0 <= plan.momentum < 1):
            raise invalid("momentum", plan.momentum, "a number from 0 to below 1")
        if not all(is_number(milestone) and 0 <= milestone <= 10**6 for milestone in plan.milestones):
            raise invalid("milestones", plan.milestones, "numbers of epochs, from 0 to a million")
        if plan.schedule == "step" and not plan.milestones:
            raise invalid("milestones", plan.milestones, "one or more epochs, for the schedule step")
        if not (is_positive(plan.factor) and plan.factor <= 1):
            raise invalid("factor", plan.factor, "a number above 0, at most 1")
        if plan.warmup_epochs >= plan.epochs:
            raise invalid("warmup_epochs", plan.warmup_epochs, f"fewer than the {plan.epochs} epochs")
        ends = plan.estimator
        if ends is not None and not (
            isinstance(ends, tuple | list) and len(ends) == 2 and all(map(is_positive, ends))
        ):
            raise invalid("estimator", ends, 'two positive numbers, t at the start and at the end, or "none"')
        for name, limit in (("percentile", 50), ("score_sparsity", 1)):
            share = getattr(plan, name)
            if share is not None and not (is_number(share) and 0 <= share < limit):
                raise invalid(name, share, f'a number from 0 to below {limit}, or "none"')

    def to_json(self) -> str:
        """All fields as JSON, those of the recipe with the values that this run uses."""
        values = {**dataclasses.asdict(self), **dataclasses.asdict(self.plan())}
        values.update({name: recipes.OFF for name in recipes.PARTS if getattr(self, name) == recipes.OFF})
        return self._dumps(values) + "\n"

    def as_given(self) -> dict[str, Any]:
        """All fields as JSON values, None for what the recipe decides."""
        return dict(json.loads(self._dumps(dataclasses.asdict(self))))

    def _dumps(self, values: dict[str, Any]) -> str:
        if self.data_dir is not None:
            values["data_dir"] = os.fspath(self.data_dir)
        try:
            return json.dumps(values, indent=2)
        except TypeError as error:
            raise InputError(f"settings must be plain values that JSON can hold, but {error}.") from error

    @classmethod
    def from_json(cls, text: str | bytes) -> "Settings":
        """The settings that `to_json` wrote.

        Raises:
            InputError: no settings, a field that settings do not have, or a value of another type.
        """
        values = _files.parse_json(text, "settings")
        if not set(KEYS) <= set(values):
            raise InputError(
                f"settings must be the JSON that a run wrote, with {', '.join(KEYS)}, but hold {list(values)}."
            )
        tuples = {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
        try:
            settings = cls(**{**values, **tuples})
        except TypeError as error:
            raise InputError(f"settings must be the JSON that a run wrote, but {error}.") from error
        settings._check_types()
        return settings

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes `to_json` to `path`, whole or not at all."""
        _files.write_text(path, self.to_json())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Settings":
        """Reads what `save` wrote.

        Raises:
            InputError: no such file, or not settings; names the file.
        """
        try:
            return cls.from_json(Path(path).read_bytes())
        except FileNotFoundError as error:
            raise InputError(f"folder must be that of a run, but there is no {os.fspath(path)}.") from error
        except InputError as error:
            raise InputError(f"{os.fspath(path)}: {error}") from error

    def differences(self, other: "Settings") -> list[str]:
        """What would make `other` learn something else, as "field: value against value"."""
        mine, others = (json.loads(settings.to_json()) for settings in (self, other))
        return [
            f"{name}: {mine[name]!r} against {others[name]!r}"
            for name in mine
            if name not in _LOCAL and mine[name] != others[name]
        ]


def _is_folder(name: str | os.PathLike[str]) -> bool:
    try:
        return Path(name).is_dir()
    except (OSError, ValueError):
        # Too long for a path, or with a character that none may have.
        return False
