"""The forms of a network: whose order of layers it has, and how its weights start."""

import dataclasses
from typing import Any

from larq_equalbits._errors import invalid

# Uniform within 1/sqrt(fan_in), which is what PyTorch gives a layer that nobody initializes (Kaiming, a = sqrt(5)).
_PYTORCH = {
    "class_name": "VarianceScaling",
    "config": {"scale": 1 / 3, "mode": "fan_in", "distribution": "uniform"},
}
_KAIMING = {
    "class_name": "VarianceScaling",
    "config": {"scale": 2.0, "mode": "fan_in", "distribution": "untruncated_normal"},
}


@dataclasses.dataclass(frozen=True)
class Form:
    """An order of layers.

    Attributes:
        pools_first: pooling comes before normalization, not after it.
        unit_activation: what follows normalization in a VGG with binary activations: "prelu", "hard_tanh" or "".
        block_activation: that of a ResNet's block, "prelu" or "hard_tanh".
        adds_first: a block's activation follows the addition; otherwise it precedes the normalization, and the two
            convolutions of a block share it.
        stem_activation: what follows the stem of a ResNet.
        plain_shortcuts: where ResNet-20 changes size, its shortcut takes every second pixel and adds channels of
            zeros ("option A"); otherwise a float 1x1 convolution with normalization.
        normalizes_mean: a normalization before the classifier of a ResNet.
        pad_value: of binary activations, 0 or 1.
        standardizes: activations are standardized per sample before their sign.
        initializer: of kernels.
        vgg_initializers: of the kernels and of the classifier of a VGG where they differ.
    """

    pools_first: bool = True
    unit_activation: str = "prelu"
    block_activation: str = "prelu"
    adds_first: bool = True
    stem_activation: str = "relu"
    plain_shortcuts: bool = True
    normalizes_mean: bool = True
    pad_value: float = 0.0
    standardizes: bool = False
    initializer: Any = dataclasses.field(default_factory=lambda: _KAIMING)
    vgg_initializers: tuple[Any, Any] | None = (
        {
            "class_name": "VarianceScaling",
            "config": {"scale": 2.0, "mode": "fan_out", "distribution": "untruncated_normal"},
        },
        {"class_name": "RandomNormal", "config": {"stddev": 0.01}},
    )


_FORMS = {
    "equal-bits": Form(
        adds_first=False,
        stem_activation="prelu",
        plain_shortcuts=False,
        normalizes_mean=False,
        initializer=_PYTORCH,
        vgg_initializers=None,
    ),
    "siman": Form(standardizes=True),
    "ir-net": Form(unit_activation="hard_tanh", block_activation="hard_tanh", stem_activation="hard_tanh"),
    "fused": Form(
        pools_first=False,
        unit_activation="",
        stem_activation="prelu",
        plain_shortcuts=False,
        normalizes_mean=False,
        pad_value=1.0,
        initializer=_PYTORCH,
        vgg_initializers=None,
    ),
}
NAMES = tuple(_FORMS)


def get(name: Any) -> Form:
    """The form called `name`.

    Raises:
        InputError: an unknown name.

    Reference:
        The published code of Li et al. (Equal Bits, AAAI 2022), Lin et al. (SiMaN, TPAMI 2022) and Qin et al.
        (IR-Net, CVPR 2020). "fused" is ours: LCE fuses every normalization into the convolution before it.
    """
    if not (isinstance(name, str) and name in _FORMS):
        raise invalid("form", name, f"one of {', '.join(NAMES)}")
    return _FORMS[name]
