"""The papers' training recipes as data: any field can be overridden in `training.Settings`."""

import dataclasses
from typing import Any

from larq_equalbits._errors import invalid

LARGE_DATASETS = ("imagenet2012",)
# What switches a part of a recipe off, and the parts that can be switched off.
OFF = "none"
PARTS = ("constraint", "estimator", "percentile", "score_sparsity")
# (t at the start, t at the end) of the gradient, where a quantizer is trained by another paper's recipe.
_ESTIMATORS = {"ir_net": (1e-3, 10.0), "rbnn": (1e-2, 10.0)}


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How a network is trained.

    Attributes:
        quantizer: alias of the kernels' quantizer.
        epochs: passes over the training images, at least 1.
        batch_size: images per step, of all machines together, at least 1.
        optimizer: "sgd" or "adam".
        learning_rate: the highest learning rate, at least 0.
        momentum: of SGD, 0 to below 1.
        weight_decay: L2 factor as in PyTorch, at least 0.
        decay: what decays, "equal_bits", "siman" or "none".
        schedule: "constant", "step", "cosine", or "cosine_by_epoch", whose rate stands still within an epoch.
        milestones: epochs after which the step schedule multiplies the rate.
        factor: what it multiplies the rate by.
        warmup_epochs: epochs of linear rise, at least 0.
        constraint: alias of a constraint on the latent kernels, or None.
        estimator: (t at the start, t at the end) of IR-Net's and RBNN's gradient, or None.
        percentile: SiMaN's clamp at the start in percent, falling to 0, or None.
        score_sparsity: share of zeros where scores are learned for frozen weights (MPT), or None.
    """

    quantizer: str = "bi_half"
    epochs: int = 350
    batch_size: int = 128
    optimizer: str = "sgd"
    learning_rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    decay: str = "equal_bits"
    schedule: str = "cosine"
    milestones: tuple[float, ...] = ()
    factor: float = 0.1
    warmup_epochs: float = 0
    constraint: str | None = None
    estimator: tuple[float, float] | None = None
    percentile: float | None = None
    score_sparsity: float | None = None


_EQUAL_BITS = Recipe(schedule="step", milestones=(150, 250, 320))
_SIMAN = Recipe(
    quantizer="siman",
    epochs=400,
    batch_size=256,
    decay="siman",
    warmup_epochs=5,
    constraint="magnitude_clip",
    percentile=15.0,
)
_IR_NET = Recipe(quantizer="ir_net", epochs=400, weight_decay=1e-4, estimator=(1e-3, 10.0))
_MPT = Recipe(quantizer="ste_sign", epochs=100, weight_decay=1e-4, score_sparsity=0.5)

_SMALL = {"equal-bits": _EQUAL_BITS, "siman": _SIMAN, "ir-net": _IR_NET, "mpt": _MPT}
_LARGE = {
    "equal-bits": dataclasses.replace(
        _EQUAL_BITS, epochs=100, batch_size=256, weight_decay=1e-4, milestones=(30, 60, 80, 95)
    ),
    "siman": dataclasses.replace(_SIMAN, epochs=150, batch_size=512, weight_decay=1e-4, warmup_epochs=0),
}
NAMES = tuple(_SMALL)
_MODEL_OPTIONS: dict[str, dict[str, Any]] = {
    "equal-bits": {"form": "equal-bits"},
    "siman": {"form": "siman", "input_quantizer": "approx_sign"},
    "ir-net": {"form": "ir-net"},
    "mpt": {
        "binarize_first_last": True,
        "affine": False,
        "input_quantizer": "approx_sign",
        "kernel_initializer": "he_normal",
    },
}


def get(name: str, *, dataset: str = "cifar10", model: str = "", binarize_activations: bool = True) -> Recipe:
    """The recipe of a paper for a data set.

    Args:
        name: "equal-bits", "siman", "ir-net" or "mpt".
        dataset: ImageNet has values of its own where the paper gives them.
        model: IR-Net trains its VGG-small in another way than its ResNet-20.
        binarize_activations: MPT trains fully binary networks with Adam, binary weights alone with SGD.

    Raises:
        InputError: an unknown recipe.

    Reference:
        The published code of Li et al. (Equal Bits, AAAI 2022), Lin et al. (SiMaN, TPAMI 2022), Qin et al.
        (IR-Net, CVPR 2020) and Diffenderfer and Kailkhura (MPT, ICLR 2021).
    """
    if name not in _SMALL:
        raise invalid("recipe", name, f"one of {', '.join(NAMES)}")
    recipe = _LARGE.get(name, _SMALL[name]) if dataset in LARGE_DATASETS else _SMALL[name]
    if name == "ir-net" and model == "vgg_small":
        recipe = dataclasses.replace(recipe, epochs=300, learning_rate=0.007, estimator=(1e-1, 10.0))
    if name == "mpt" and binarize_activations:
        recipe = dataclasses.replace(recipe, optimizer="adam")
    return recipe


def model_options(name: str) -> dict[str, Any]:
    """The arguments of a zoo's builder by which a paper's networks differ from the zoo's defaults.

    Each paper's networks have the form of its own code. Multi-prize tickets prune and binarize the first and the last
    layer too, normalize without learning a scale or an offset, and start from Kaiming's normal weights. The activations
    of SiMaN and of multi-prize tickets are signs with the gradient 2 - 2|x| of Bi-Real Net.

    Args:
        name: of the recipe.
    """
    return dict(_MODEL_OPTIONS.get(name, {}))


def overridden(recipe: Recipe, **fields: Any) -> Recipe:
    """`recipe` with the fields that are not None; "none" switches one of `PARTS` off.

    Milestones and warm-up keep their share of the training where only `epochs` changes. Constraint, percentile
    and estimator belong to the recipe's quantizer: another one gets its own estimator, if it has one, and
    neither of the others. The percentile belongs to the recipe's constraint in the same way.
    """
    given = {name: value for name, value in fields.items() if value is not None}
    quantizer = given.get("quantizer", recipe.quantizer)
    base = recipe
    if quantizer != recipe.quantizer:
        estimator = _ESTIMATORS.get(quantizer)
        base = dataclasses.replace(base, constraint=None, percentile=None, estimator=estimator)
    if given.get("constraint", base.constraint) != base.constraint:
        base = dataclasses.replace(base, percentile=None)
    off = {name: None for name in PARTS if given.get(name) == OFF}
    changed = dataclasses.replace(base, **{**given, **off})
    share = changed.epochs / recipe.epochs
    if "milestones" not in given:
        changed = dataclasses.replace(changed, milestones=tuple(m * share for m in recipe.milestones))
    if "warmup_epochs" not in given:
        changed = dataclasses.replace(changed, warmup_epochs=recipe.warmup_epochs * share)
    return changed
