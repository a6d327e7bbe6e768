"""The runs that docs/results.md needs, in the order in which they are trained: the first groups tell most.

Settings, seeds and order were committed before the first run was trained.
"""

import csv
import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

QUANTIZERS = ("siman", "ir_net", "bi_half", "ste_sign")
# One network for all that are compared, where a group does not say otherwise.
COMMON: dict[str, Any] = {
    "model": "resnet20",
    "dataset": "cifar10",
    "batch_size": 128,
    "validation_fraction": 0.0,
    "train_images": 10_000,
}
# What `search_layers.py` tried.
SEARCH = Path(__file__).resolve().parents[2] / "docs" / "data" / "layers-search.csv"


@dataclasses.dataclass(frozen=True)
class PlannedRun:
    """A run of the plan.

    Attributes:
        group: name of its group.
        variant: what is compared in the group.
        seed: of the run.
        fields: of `training.Settings`.
        pruning: (criterion, sparsity) of `pruning.prune`, or None.
        layers: a bit ratio for each of the binary kernels, in their order, or None.
    """

    group: str
    variant: str
    seed: int
    fields: Mapping[str, Any]
    pruning: tuple[str, float] | None = None
    layers: tuple[float, ...] | None = None

    @property
    def name(self) -> str:
        """Group, variant and seed, as in the name of its file."""
        return f"{self.group}-{self.variant}-{self.seed}"


@dataclasses.dataclass(frozen=True)
class Group:
    """Runs that are compared with each other, every seed of all variants after the other.

    Attributes:
        name: short, as in the names of files.
        title: what is compared, in words.
        variants: by name, the fields in which a variant differs from `COMMON`; "pruning" and "layers" are no fields of
            settings.
        seeds: how many.
        claims: of the papers, as (words, the variant that is more accurate, the other one).
        first_seed: from where the seeds count.
    """

    name: str
    title: str
    variants: Mapping[str, Mapping[str, Any]]
    seeds: int
    claims: tuple[tuple[str, str, str], ...] = ()
    first_seed: int = 0

    def runs(self) -> Iterator[PlannedRun]:
        """The group's runs in their order: seed by seed, so a break leaves whole comparisons."""
        for seed in range(self.first_seed, self.first_seed + self.seeds):
            for variant, given in self.variants.items():
                fields = {**COMMON, **given, "seed": seed}
                pruning, layers = fields.pop("pruning", None), fields.pop("layers", None)
                yield PlannedRun(self.name, variant, seed, fields, pruning, layers)


def _one_recipe(epochs: int, **fields: Any) -> dict[str, dict[str, Any]]:
    """The four quantizers in SiMaN's network and by SiMaN's recipe, so nothing but the quantizer differs."""
    return {name: {"recipe": "siman", "quantizer": name, "epochs": epochs, **fields} for name in QUANTIZERS}


def _papers_recipes(epochs: int) -> dict[str, dict[str, Any]]:
    """SiMaN and Equal Bits, each by its own recipe on all images, as a user would train them."""
    recipes = {"siman": "siman", "bi_half": "equal-bits"}
    return {
        name: {"recipe": recipe, "batch_size": None, "train_images": None, "epochs": epochs}
        for name, recipe in recipes.items()
    }


def _pruned() -> dict[str, dict[str, Any]]:
    variants: dict[str, dict[str, Any]] = {}
    for sparsity in (0.3, 0.5, 0.8):
        for name, criterion in (("bi_half", "rank"), ("ste_sign", "magnitude")):
            fields = {"quantizer": name, "epochs": 10, "pruning": (criterion, sparsity)}
            variants[f"{name}_{sparsity}"] = fields
        variants[f"mpt_{sparsity}"] = {"recipe": "mpt", "epochs": 10, "score_sparsity": sparsity}
    return variants


def _layers() -> dict[str, dict[str, Any]]:
    """Sets of ratios for ResNet-20's 18 binary kernels: one half, one that is near it, and the search's best."""
    sets: dict[str, tuple[float, ...]] = {"half": (0.5,) * 18, "alternating": (0.45, 0.55) * 9}
    if SEARCH.is_file():
        with SEARCH.open(newline="") as file:
            best = max(csv.DictReader(file), key=lambda row: float(row["val_accuracy"]))
        sets["searched"] = tuple(float(best[layer]) for layer in best if layer != "val_accuracy")
    return {name: {"epochs": 3, "layers": ratios} for name, ratios in sets.items()}


_RIVALS = (
    ("SiMaN, Table 2: SiMaN is more accurate than IR-Net", "siman", "ir_net"),
    ("SiMaN is more accurate than Equal Bits (neither paper says so)", "siman", "bi_half"),
    ("Equal Bits: bi_half is more accurate than sign", "bi_half", "ste_sign"),
)

GROUPS = (
    Group("short", "Four quantizers, one recipe, 10,000 images, 3 epochs", _one_recipe(3), 4, _RIVALS),
    Group(
        "layers",
        "bi_half with a bit ratio for each layer, 10,000 images, 3 epochs",
        _layers(),
        3,
        tuple(
            (f"One half everywhere is more accurate than `{name}`", "half", name)
            for name in _layers()
            if name != "half"
        ),
    ),
    Group(
        "fresh",
        "The searched ratios again, with six seeds that the group above does not have, 10,000 images, 3 epochs",
        {name: fields for name, fields in _layers().items() if name != "alternating"},
        6,
        (("The searched ratios are more accurate than one half everywhere", "searched", "half"),),
        first_seed=3,
    ),
    Group(
        "form",
        "bi_half in the form of Equal Bits' paper and in the one made for LCE, 10,000 images, 3 epochs",
        {
            "paper": {"epochs": 3},
            "fused": {"epochs": 3, "model_options": {"form": "fused"}},
        },
        3,
        (("The paper's form is more accurate than `fused`", "paper", "fused"),),
    ),
    Group("recipe", "Four quantizers, one recipe, 10,000 images, 20 epochs", _one_recipe(20), 4, _RIVALS),
    Group(
        "ratio",
        "bi_half by share of +1, 10,000 images, 10 epochs",
        {
            f"ratio_{ratio}": {"quantizer_options": {"positive_ratio": ratio}, "epochs": 10}
            for ratio in (0.3, 0.4, 0.5, 0.6, 0.7)
        },
        3,
        tuple(
            (
                f"Equal Bits, Fig. 5: a share of one half is more accurate than {ratio}",
                "ratio_0.5",
                f"ratio_{ratio}",
            )
            for ratio in (0.3, 0.4, 0.6, 0.7)
        ),
    ),
    Group(
        "bfloat16",
        "float32 and mixed_bfloat16, SiMaN's recipe, 10,000 images, 3 epochs",
        {
            f"{name}{'' if precision == 'float32' else '_bfloat16'}": {
                **_one_recipe(3)[name],
                "precision": precision,
            }
            for name in ("siman", "bi_half")
            for precision in ("float32", "mixed_bfloat16")
        },
        6,
        tuple(
            (f"{name} is more accurate in float32 than in mixed_bfloat16", name, f"{name}_bfloat16")
            for name in ("siman", "bi_half")
        ),
        # Seeds that no earlier run with bfloat16 had.
        first_seed=4,
    ),
    Group("whole", "The papers' own recipes, 50,000 images, 20 epochs", _papers_recipes(20), 1),
    Group("headline", "The papers' own recipes, 50,000 images, 60 epochs", _papers_recipes(60), 1),
    Group(
        "long",
        "bi_half against ste_sign, Equal Bits' recipe, 10,000 images, 60 epochs",
        {name: {"quantizer": name, "epochs": 60} for name in ("bi_half", "ste_sign")},
        5,
        (("Equal Bits, Fig. 4: bi_half is more accurate than sign", "bi_half", "ste_sign"),),
    ),
    Group(
        "pruned",
        "Pruned networks by share of zeros, 10,000 images, 10 epochs",
        _pruned(),
        3,
        tuple(
            (
                f"Equal Bits, Fig. 8: at {sparsity} of zeros bi_half is more accurate than {rival}",
                f"bi_half_{sparsity}",
                f"{rival}_{sparsity}",
            )
            for sparsity in (0.3, 0.5, 0.8)
            for rival in ("ste_sign", "mpt")
        ),
    ),
    Group(
        "encoding",
        "SiMaN with and without L2 and with both encodings, 10,000 images, 20 epochs",
        {
            f"{encoding}{'_l2' if decay == 'equal_bits' else ''}": {
                "recipe": "siman",
                "epochs": 20,
                "decay": decay,
                "quantizer_options": {"encoding": encoding},
            }
            for decay in ("siman", "equal_bits")
            for encoding in ("half", "optimal")
        },
        4,
        (
            ("SiMaN, Table 1: half-half is more accurate than the optimal k", "half", "optimal"),
            ("Table 1: half-half is more accurate without L2", "half", "half_l2"),
            ("Table 1: the optimal k is more accurate without L2", "optimal", "optimal_l2"),
        ),
    ),
    Group(
        "vgg",
        "Four quantizers, one recipe, VGG-small, 10,000 images, 5 epochs",
        _one_recipe(5, model="vgg_small"),
        4,
        _RIVALS,
    ),
)


def runs() -> list[PlannedRun]:
    """All runs in their order."""
    return [run for group in GROUPS for run in group.runs()]
