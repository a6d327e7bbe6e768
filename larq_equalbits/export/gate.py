"""The gate: a file passes where it decides as Keras does, on inputs that are given or on random ones."""

import dataclasses
import math
import time
from collections.abc import Iterator
from numbers import Real
from typing import Any

import numpy as np
import tensorflow as tf

from larq_equalbits._errors import ConversionError, invalid, is_number
from larq_equalbits.export.feeding import input_specs
from larq_equalbits.export.judging import Judge, OutputVerification
from larq_equalbits.export.results import ConversionReport, Verification
from larq_equalbits.export.verification import NotFiniteError, keras_outputs, verify

# Random inputs, in batches, until there are enough or their time is over.
_SAMPLES = 32
_BATCH = 8
_SECONDS = 5.0
# Random inputs lie closer together than real ones, so rounding decides more often, and integers still more often.
_TOLERANCE = 0.1
_INTEGER_TOLERANCE = 0.25
_NUDGE = 1e-5
# What is tried, in this order: a logarithm or a root takes positive numbers alone, an Embedding indices.
_KINDS = ("normal", "positive", "indices")
_LEAVE_OUT = (
    "No inputs were given to compare on: pass verify_on with real ones (--dataset), or pass verify_on=False "
    "(--no-verify) to leave the comparison out."
)


def check(tolerance: float, bound: float | None) -> None:
    """Checks what a file is allowed.

    Raises:
        InputError: a tolerance that is not between 0 and 1, or a bound that is negative.
    """
    if not (is_number(tolerance) and 0 <= tolerance <= 1):
        raise invalid(
            "tolerance", tolerance, "between 0 and 1: the share of decisions that may differ from Keras'"
        )
    if bound is not None and not (isinstance(bound, Real) and bound >= 0):
        raise invalid("bound", bound, "None or a number from 0: deviations that outputs may be from Keras'")


def refusal(verification: Verification, tolerance: float, bound: float) -> str:
    """What is wrong with a file that is not within `tolerance` and `bound`, and what would accept it."""
    outputs = verification.outputs
    wrong = [output for output in outputs if not output.within(tolerance, bound)]
    where = f"; {verification.first_difference}" if verification.first_difference else ""
    enough = math.ceil(1e4 * max(1 - output.agreement for output in outputs)) / 1e4
    largest = math.ceil(1e4 * max(output.distance for output in outputs)) / 1e4
    accept = [
        *([("tolerance", f"{enough:g}")] if enough > tolerance else []),
        *([("bound", f"{largest:g}")] if largest > bound else []),
    ]
    arguments = ", ".join(f"{name}={value}" for name, value in accept)
    options = " ".join(f"--{name} {value}" for name, value in accept)
    images = verification.images
    return (
        "; ".join(output.describe(images, tolerance, bound) for output in wrong)
        + f"; tolerance allows {tolerance:.2%}{where}. To accept that, pass {arguments} ({options})."
    )


def verified(
    model: tf.keras.Model,
    report: ConversionReport,
    inputs: Any = None,
    tolerance: float = 0.0,
    *,
    bound: float | None = None,
    decisions: Any = None,
    given: bool = True,
) -> ConversionReport:
    """`report` with the verification of its file.

    Where outputs for random inputs differ because rounding decides them (of an untrained deep network for instance),
    which shows where Keras itself answers as differently for inputs that are changed by a hundred-thousandth, the file
    passes.

    Args:
        model: the model that was converted.
        report: the conversion.
        inputs: as `verify` takes them; a few dozen random ones for None.
        tolerance: see `convert`; of inputs that were not given a tenth at least, of a file with integers a quarter.
        bound: see `convert`.
        decisions: see `verify`.
        given: whether the caller of `convert` gave inputs to compare on.

    Raises:
        InputError: a tolerance that is not between 0 and 1, and what `verify` raises.
        ConversionError: more decisions than the tolerance allows differ from Keras', outputs are further from Keras'
            than the bound, or outputs are not finite; says so where the inputs were not given.
    """
    check(tolerance, bound)
    kind = ""
    if inputs is None:
        verification, kind = _on_samples(model, report, decisions)
    else:
        verification = verify(model, report.tflite, inputs, decisions=decisions)
    if not given:
        tolerance = max(tolerance, _INTEGER_TOLERANCE if verification.integers else _TOLERANCE)
    limit = verification.bound if bound is None else bound
    if not verification.within(tolerance, limit) and not (
        kind and _is_rounding(model, verification.outputs, kind)
    ):
        wrong = refusal(verification, tolerance, limit)
        raise ConversionError(wrong if given else f"{wrong} {_LEAVE_OUT}")
    return dataclasses.replace(report, verification=dataclasses.replace(verification, generated=not given))


def _on_samples(model: tf.keras.Model, report: ConversionReport, decisions: Any) -> tuple[Verification, str]:
    """The verification on the first kind of random inputs that the model takes, and that kind."""
    failure = ""
    for kind in _KINDS:
        try:
            return verify(
                model, report.tflite, _in_time(random_inputs(model, kind)), decisions=decisions
            ), kind
        except (NotFiniteError, tf.errors.InvalidArgumentError) as error:
            failure = failure or str(error).partition("\n")[0]
    raise ConversionError(f"{failure} {_LEAVE_OUT}")


def _in_time(batches: Iterator[dict[str, np.ndarray]]) -> Iterator[dict[str, np.ndarray]]:
    start = time.monotonic()
    for batch in batches:
        yield batch
        if time.monotonic() - start > _SECONDS:
            return


def random_inputs(model: tf.keras.Model, kind: str = "normal") -> Iterator[dict[str, np.ndarray]]:
    """Batches of seeded inputs for `model`, by name.

    Floats are as `kind` says: "normal", "positive" (uniform from 0 to 1) or "indices" (whole numbers that every
    Embedding of the model knows). Bytes are from 0 to 255, and other integers are indices always.
    """
    random = np.random.default_rng(0)
    sizes = [
        layer.input_dim for layer in model._flatten_layers() if isinstance(layer, tf.keras.layers.Embedding)
    ]
    specs = input_specs(model)
    # A model may take one number of inputs at a time alone.
    size = next((spec.shape[0] for spec in specs.values() if spec.shape[0]), _BATCH)
    for _ in range(math.ceil(_SAMPLES / size)):
        batch = {}
        for name, spec in specs.items():
            shape = (size, *spec.shape[1:])
            if kind == "indices" or not spec.dtype.is_floating:
                highest = 256 if spec.dtype == tf.uint8 else min(sizes, default=2)
                batch[name] = random.integers(0, highest, shape).astype("float32")
            elif kind == "positive":
                batch[name] = random.uniform(size=shape).astype("float32")
            else:
                batch[name] = random.normal(size=shape).astype("float32")
        yield batch


def _is_rounding(model: tf.keras.Model, found: list[OutputVerification], kind: str) -> bool:
    """Whether Keras itself answers as differently for inputs that are nudged."""
    random = np.random.default_rng(1)
    judge = Judge([output.name for output in found], {output.name: output.rule for output in found})
    for batch in random_inputs(model, kind):
        nudged = {
            name: values * (1 + _NUDGE * random.normal(size=values.shape)).astype("float32")
            if kind != "indices" and input_specs(model)[name].dtype.is_floating
            else values
            for name, values in batch.items()
        }
        judge.add(keras_outputs(model, batch), keras_outputs(model, nudged))
    return all(
        own.differing * each.decisions >= each.differing * own.decisions and 2 * own.distance >= each.distance
        for own, each in zip(judge.verdicts(), found, strict=True)
    )
