"""Which layer each operator of a file computes: told by its bits, its name scope or the number of its weights."""

import re
from typing import Any

import numpy as np

from larq_equalbits.export import accounting, auditing, lce
from larq_equalbits.export.flatbuffer import Model
from larq_equalbits.export.lowering import Leaf


def _fingerprint(negative: np.ndarray) -> tuple[tuple[int, ...], bytes]:
    """What tells kernels apart whose filters, (out, n) with True for -1, may each be given the other sign.

    LCE turns a filter over where a negative factor comes after it and before a sign.
    """
    return negative.shape, np.packbits(negative ^ negative[:, :1]).tobytes()


def _binary_kernels(leaf: Leaf) -> list[np.ndarray]:
    """The kernels (n, out) that the leaf hands to binary convolutions."""
    if leaf.parts is not None:
        found = leaf.parts.kernels
    else:
        found = [kernel for kernel in leaf.kernels.values() if kernel.ndim == 4]
    return [kernel.reshape(-1, kernel.shape[-1]) for kernel in found]


def _binary_owners(model: Model, leaves: list[Leaf]) -> tuple[dict[int, Leaf], dict[str, Leaf]]:
    """The leaf of each binary convolution, by the operator's position; and which leaf computes for which other.

    The converter merges two layers of equal kernels that take the same input: one operator then computes both.

    Its bits tell. Among leaves of equal bits the scope in the name of its input or output does, as far as one is left
    in it: the input is often named after the layer itself, the output after the next one, whose sign it takes too.
    """
    alike: dict[Any, dict[str, Leaf]] = {}
    for leaf in leaves:
        for kernel in _binary_kernels(leaf):
            alike.setdefault(_fingerprint(kernel.T < 0), {})[leaf.name] = leaf
    found: dict[Any, list[int]] = {}
    for position, operator in enumerate(model.operators):
        if operator.name == lce.BINARY_OPERATOR:
            found.setdefault(_fingerprint(auditing.filters(model, operator)), []).append(position)
    owners: dict[int, Leaf] = {}
    merged: dict[str, Leaf] = {}
    for fingerprint in found.keys() & alike.keys():
        candidates = alike[fingerprint]
        taken: dict[str, list[int]] = {name: [] for name in candidates}
        for position in found[fingerprint]:
            operator = model.operators[position]
            for tensor in (operator.inputs[0], operator.outputs[0]):
                numbers = [n for n in auditing.scopes(model, tensor) if n < len(leaves)]
                named = [leaves[number].name for number in numbers if leaves[number].name in taken]
                if named:
                    break
            taken[min(named or taken, key=lambda name: len(taken[name]))].append(position)
        for name, positions in taken.items():
            # A layer whose sign the converter merged with that of another has no scope left.
            richest = max(taken.values(), key=len)
            if not positions and len(richest) > 1:
                positions.append(richest.pop())
            owners.update(dict.fromkeys(positions, candidates[name]))
        first = owners[found[fingerprint][0]]
        merged.update({name: first for name, positions in taken.items() if not positions})
    return owners, merged


def owners(model: Model, leaves: list[Leaf]) -> tuple[dict[int, Leaf], dict[str, Leaf]]:
    """The leaf of each operator with weights, by the operator's position; and which leaf computes for which other.

    A binary convolution is known by its bits, everything else by its name scope, and what computes an output of the
    model (which carries the output's name) by its constants where another call of the layer has a name scope, or by the
    number of its weights.
    """
    owners, merged = _binary_owners(model, leaves)
    nameless: list[tuple[int, list[Leaf]]] = []
    for position, operator in enumerate(model.operators):
        if operator.name != lce.BINARY_OPERATOR and accounting.has_weights(model, operator):
            numbers = auditing.scopes(model, operator.outputs[0])
            scoped = [leaves[number] for number in numbers if number < len(leaves)]
            scoped = scoped or _recurrent(leaves, model.tensors[operator.outputs[0]].name)
            # A fused operator carries the scopes of all its layers, as far as the converter leaves their names: the one
            # with a kernel is meant.
            with_kernel = sorted(filter(_kernel_size, scoped), key=lambda leaf: not leaf.kernels)
            if with_kernel:
                owners[position] = with_kernel[0]
            else:
                nameless.append((position, scoped))
    # A layer that is called again computes with the same constants.
    by_constants = {
        auditing.kernel_buffers(model, model.operators[position]): leaf
        for position, leaf in owners.items()
        if model.operators[position].name != lce.BINARY_OPERATOR
    }
    for position, scoped in nameless:
        constants = auditing.kernel_buffers(model, model.operators[position])
        if constants and constants in by_constants:
            owners[position] = by_constants[constants]
            continue
        weights = auditing.kernel_size(model, model.operators[position])
        taken = {id(leaf) for leaf in owners.values()}
        alike = [leaf for leaf in leaves if id(leaf) not in taken and _kernel_size(leaf) == weights]
        if alike or scoped:
            owners[position] = by_constants[constants] = (alike or scoped)[0]
    return owners, merged


def _recurrent(leaves: list[Leaf], name: str) -> list[Leaf]:
    """The cells whose layers stand in the name of a tensor: Keras' loops compute for the cell without calling it."""
    parts = set(re.split("[/;]", name))
    return [leaf for leaf in leaves if leaf.name.split("/")[-2:-1] and leaf.name.split("/")[-2] in parts]


def _kernel_size(leaf: Leaf) -> int:
    """The number of weights in the largest kernel of the leaf, 0 without one."""
    own = [kernel.size for kernel in leaf.kernels.values()]
    for name in ("kernel", "depthwise_kernel", "pointwise_kernel"):
        kernel = leaf.replaced.get(name, getattr(leaf.layer, name, None))
        if kernel is not None and name not in leaf.kernels:
            own.append(int(np.prod(kernel.shape)))
    return max(own, default=0)
