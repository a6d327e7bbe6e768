"""What options and arguments choose among, as far as it is known without TensorFlow, which takes seconds to load."""

import re
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation

from larq_equalbits._errors import InputError, invalid

MODELS = (
    "conv2", "conv4", "conv6", "conv8", "vgg_small", "vgg16", "resnet18", "resnet20", "resnet34", "inception_v3",
    "shufflenet",
)  # fmt: skip
RECIPES = ("equal-bits", "siman", "ir-net", "mpt")
# Of kernels: ours, then Larq's.
QUANTIZERS = (
    "bi_half", "siman", "ir_net", "rbnn", "ste_sign", "approx_sign", "swish_sign", "magnitude_aware_sign", "ste_tern",
    "ste_heaviside", "dorefa_quantizer",
)  # fmt: skip
DATASETS = ("digits", "cifar10", "cifar100", "imagenet2012")
OPTIMIZERS = ("sgd", "adam")
DECAYS = ("equal_bits", "siman", "none")
SCHEDULES = ("constant", "step", "cosine", "cosine_by_epoch")
AUGMENTATIONS = ("none", "crop", "crop_flip", "resized_crop")
REWRITES = (
    "sign_of_input", "zero_filters", "scale_before_sign", "next_to_zero", "before_sign", "zero_padding", "convolution",
    "dense", "conv1d", "separable", "batch_norm_before_pooling", "ternary_batch_norm", "grouped_batch_norm",
    "not_binary",
)  # fmt: skip
PRECISIONS = ("float32", "mixed_bfloat16")
STRATEGIES = ("mirrored", "multiworker")

# Of a sweep on one machine.
MOST_WORKERS = 1_000
_TARGETS = '"local", "program", "ssh:USER@HOST[:PORT]" or "adb[:SERIAL]"'
# What an objective's name ends in, and which direction is better.
_BETTER = {"accuracy": "max", "entropy": "max", "loss": "min", "bytes": "min", "instructions": "min"}


def target(text: str) -> tuple[str, str]:
    """The kind of a device's target, and what comes after its colon; InputError where `text` is no target."""
    kind, colon, rest = re.sub(r"^ssh(?:://|\s+)", "ssh:", text.strip()).partition(":")
    if not (
        (kind in ("local", "program") and not colon)
        or (kind == "adb" and (rest or not colon))
        or (kind == "ssh" and rest)
    ):
        raise invalid("target", text, _TARGETS)
    return kind, rest


def direction(objective: str, given: str | None) -> str:
    """`given`, or the better direction of an objective of this name.

    Raises:
        InputError: neither "min" nor "max", or none for a name of which it is not known.
    """
    if given is None:
        given = next((better for ending, better in _BETTER.items() if str(objective).endswith(ending)), None)
    if given not in ("min", "max"):
        raise invalid("direction", given, f'"min" or "max" for the objective {objective!r}')
    return given


def ratios(text: str) -> tuple[float, ...]:
    """The ratios of a text: ``first:last:step`` (exact in decimal, `last` included) or numbers with commas.

    Examples:
        >>> ratios("0.1:0.5:0.2")
        (0.1, 0.3, 0.5)

    Raises:
        InputError: neither of the two, a step that is not positive, or as `check_ratios`.
    """
    wanted = "first:last:step or numbers with commas between, such as 0.1:0.9:0.1"
    try:
        if ":" in text:
            first, last, step = (Decimal(part) for part in text.split(":"))
            if not (step > 0 and first.is_finite() and last.is_finite()):
                raise invalid("ratios", text, wanted + ", with a positive step")
            if not (0 <= first <= 1 and 0 <= last <= 1):
                raise invalid("ratios", text, "from 0 to 1")
            count = int((last - first) / step) + 1 if last >= first else 0
            if count > 10_000:
                raise invalid("ratios", text, f"at most 10,000 ratios, not {count}")
            return check_ratios([float(first + index * step) for index in range(count)])
        return check_ratios([float(Decimal(part)) for part in text.split(",") if part.strip()])
    except InputError:
        raise
    except (InvalidOperation, OverflowError, ValueError) as error:
        raise invalid("ratios", text, wanted) from error


def check_ratios(given: Sequence[float]) -> tuple[float, ...]:
    """`given` ratios as floats; InputError for none, one outside [0, 1], or one twice."""
    try:
        values = tuple(float(ratio) for ratio in given)
    except (TypeError, ValueError, OverflowError) as error:
        raise invalid("ratios", given, "numbers from 0 to 1") from error
    if not values:
        raise invalid("ratios", given, "at least one number from 0 to 1")
    for value in values:
        if not 0 <= value <= 1:
            raise invalid("ratios", value, "from 0 to 1")
    if len(set(values)) < len(values):
        raise invalid("ratios", list(values), "different numbers")
    return values
