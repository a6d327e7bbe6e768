"""Which runtimes know the operators of a file."""

import re

from larq_equalbits.export.flatbuffer import Model

LCE = "Larq Compute Engine"
OURS = "larq-equalbits-runtime"
PLAIN = ("TensorFlow Lite", "LiteRT")
AS_INT8 = 'binary_weights="int8" (--binary-weights int8) makes a file for TensorFlow Lite and LiteRT too'
NAMES = (LCE, OURS, *PLAIN)


def lce_operators(model: Model) -> list[str]:
    """The names of the operators of LCE in the file."""
    names = (operator.name for operator in model.whole.operators)
    return sorted({name for name in names if name.startswith("Lce")})


def of(model: Model) -> tuple[str, ...]:
    """The names among `NAMES` of what runs the file."""
    return (LCE, OURS) if lce_operators(model) else NAMES


def describe(model: Model) -> str:
    """The same as a clause, with what would help where weights alone keep others out."""
    clause = " and ".join(filter(None, [", ".join(of(model)[:-1]), of(model)[-1]]))
    if _unpacks_weights(model):
        clause += " (LCE unpacks the bits of float layers at every inference, ours once)"
    if lce_operators(model) == ["LceDequantize"]:
        clause += f"; {AS_INT8}"
    return clause


def refusal(said: str) -> str:
    """What to do about the words of a TensorFlow Lite that cannot take a file; "" where they do not tell."""
    unknown = re.search(r"unresolved custom op: (Lce\w+)", said, re.IGNORECASE)
    if not unknown:
        return ""
    advice = f"plain TensorFlow Lite has no {unknown[1]}: take {LCE}'s build of the program, or {OURS}"
    if unknown[1] == "LceDequantize":
        advice += f"; {AS_INT8}, where it has no binary operators"
    return advice


def _unpacks_weights(model: Model) -> bool:
    whole = model.whole
    return any(
        operator.name == "LceDequantize" and whole.tensors[operator.inputs[0]].bytes
        for operator in whole.operators
        if operator.inputs and operator.inputs[0] >= 0
    )
