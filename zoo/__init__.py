"""The papers' networks, built from plain Larq layers: every builder takes the same keyword arguments."""

from larq_equalbits.zoo.blocks import Builder
from larq_equalbits.zoo.conv import conv2, conv4, conv6, conv8
from larq_equalbits.zoo.inception import inception_v3
from larq_equalbits.zoo.resnet import resnet18, resnet20, resnet34
from larq_equalbits.zoo.shufflenet import shufflenet
from larq_equalbits.zoo.vgg import vgg16, vgg_small

from larq_equalbits._errors import invalid

_BUILDERS: dict[str, Builder] = {
    builder.__name__: builder
    for builder in (
        conv2,
        conv4,
        conv6,
        conv8,
        vgg_small,
        vgg16,
        resnet18,
        resnet20,
        resnet34,
        inception_v3,
        shufflenet,
    )
}

__all__ = [
    "conv2",
    "conv4",
    "conv6",
    "conv8",
    "get",
    "inception_v3",
    "list_models",
    "resnet18",
    "resnet20",
    "resnet34",
    "shufflenet",
    "vgg16",
    "vgg_small",
]
__dir__ = __all__.copy


def list_models() -> list[str]:
    """The names of all networks.

    Examples:
        >>> list_models()[:3]
        ['conv2', 'conv4', 'conv6']
    """
    return list(_BUILDERS)


def get(name: str) -> Builder:
    """The builder of the network called `name`.

    Raises:
        InputError: for an unknown name.

    Examples:
        >>> get("conv2") is conv2
        True
    """
    if name not in _BUILDERS:
        raise invalid("model", name, f"one of {list_models()}")
    return _BUILDERS[name]
