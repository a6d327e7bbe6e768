"""Float layers in 8-bit integers: ranges measured on real inputs, and fake-quant operators that carry them.

LCE's converter has no quantization after training of its own. It makes a layer an integer one where fake-quant
operators stand around it: on its input, its kernel and its output. The ranges of inputs and outputs are the least and
the largest values seen while the model runs on given data; those of a kernel are its largest magnitudes, of every
filter of a convolution, of the whole kernel of a dense or depthwise layer. A normalization after such a layer goes
into its kernel and bias first, and a ReLU after it into its range, so one integer operator remains. Where
nothing but signs read the output, small values need the resolution, and large ones may saturate: the range is
narrowed.
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import larq
import numpy as np
import tensorflow as tf

from larq_equalbits._errors import invalid
from larq_equalbits._keras.layers import KERNELS, TWINS, kernel_arguments
from larq_equalbits.export.functions import Range, arrange, bounded, eagerly, output_names
from larq_equalbits.export.lowering import Leaf, Lowering, identity
from larq_equalbits.export.rewrites.batch_norm import affine, over_channels
from larq_equalbits.export.rewrites.before_sign import only_signs

_KERAS = tf.keras.layers
_KERNELS = {
    kind: KERNELS[kernel_arguments(plain)[0]][0]
    for plain in (_KERAS.Conv2D, _KERAS.Dense, _KERAS.DepthwiseConv2D)
    for kind in (plain, TWINS[plain])
}
_BY_FILTER = (_KERAS.Conv2D, larq.layers.QuantConv2D)
# TensorFlow Lite's integer softmax yields multiples of this alone.
_PROBABILITIES = (0.0, 255 / 256)
_NARROWED_BEFORE_SIGN = 1 / 32


@dataclasses.dataclass
class Seen:
    """The least and the largest value that went by, with 0, which integers must hold exactly."""

    low: float = 0.0
    high: float = 0.0

    def see(self, values: tf.Tensor) -> None:
        """Widens the range to that of `values`; InputError for NaN or infinity among them."""
        if not np.isfinite(values).all():
            raise invalid(
                "calibrate_on", "NaN or infinity in an input or in what a layer answers", "finite numbers"
            )
        self.low = min(self.low, float(tf.reduce_min(values)))
        self.high = max(self.high, float(tf.reduce_max(values)))

    def range(self) -> Range:
        """The range, never empty."""
        return self.low, max(self.high, self.low + 1e-6)


def candidates(lowering: Lowering) -> list[Leaf]:
    """The layers of a lowered model that can compute with integers: float kernels, or binary ones with float input."""
    return [leaf for leaf in lowering.leaves.values() if why_not(leaf) == ""]


def why_not(leaf: Leaf) -> str:
    """Why `leaf` has no form in integers; "" where it has one."""
    layer = leaf.layer
    if type(layer) not in _KERNELS:
        return f"no integer form of {type(layer).__name__}"
    if getattr(layer, "groups", 1) != 1 or getattr(layer, "data_format", "channels_last") != "channels_last":
        return "no integer form of groups or channels_first"
    if getattr(layer, "input_quantizer", None) is not None:
        return "its input is quantized"
    activation = getattr(layer, "activation", None)
    if activation not in (None, tf.keras.activations.linear, tf.keras.activations.relu):
        return f"its activation {getattr(activation, '__name__', activation)} is float"
    return ""


def _kernel(leaf: Leaf) -> np.ndarray:
    name = _KERNELS[type(leaf.layer)]
    if name in leaf.kernels:
        return leaf.kernels[name]
    return np.asarray(leaf.replaced.get(name, getattr(leaf.layer, name)))


def fold(lowering: Lowering) -> None:
    """Puts the normalization after each candidate into its kernel and its bias."""
    for leaf in candidates(lowering):
        norm, layer = lowering.consumer(leaf), leaf.layer
        linear = getattr(layer, "activation", None) in (None, tf.keras.activations.linear)
        if norm is None or not linear or not over_channels(lowering, norm):
            continue
        name, kernel = _KERNELS[type(layer)], _kernel(leaf)
        factor, offset = affine(norm.layer)
        bias = offset + (layer.bias.numpy() * factor if layer.use_bias else 0.0)
        shape = kernel.shape[2:] if name == "depthwise_kernel" else (factor.size,)
        scaled = (kernel * factor.reshape(shape)).astype(kernel.dtype)
        lowering.replace_kernel(leaf, scaled, name)
        lowering.replace(leaf, "bias", tf.constant(bias.astype(kernel.dtype)))
        lowering.replace(leaf, "use_bias", True)
        norm.call = identity
        leaf.rewrite.append("batch normalization folded")
        norm.rewrite.append(f"folded into {leaf.name}")


def _tail(lowering: Lowering, leaf: Leaf) -> Leaf:
    """The leaf whose output is that of the integer operator: past a folded normalization and a ReLU."""
    following = lowering.consumer(leaf)
    if following is not None and following.call is identity:
        leaf, following = following, lowering.consumer(following)
    if following is not None and (
        type(following.layer) is _KERAS.ReLU
        or (
            type(following.layer) is _KERAS.Activation
            and following.layer.activation is tf.keras.activations.relu
        )
    ):
        return following
    return leaf


def _watched(leaf: Leaf, inside: Seen | None, outside: Seen | None) -> Callable[..., tf.Tensor]:
    call = leaf.call

    def watched(inputs: tf.Tensor, *args: Any, **kwargs: Any) -> tf.Tensor:
        outputs = call(inputs, *args, **kwargs)
        for seen, values in ((inside, inputs), (outside, outputs)):
            if seen is not None:
                seen.see(values)
        return outputs

    return watched


def _bounded_kernel(kernel: np.ndarray, by_filter: bool) -> tf.Tensor:
    if not by_filter:
        largest = max(float(np.abs(kernel).max()), 1e-12)
        return tf.quantization.fake_quant_with_min_max_args(kernel, -largest, largest, narrow_range=True)
    each = np.maximum(np.abs(kernel).reshape(-1, kernel.shape[-1]).max(axis=0), 1e-12)
    return tf.quantization.fake_quant_with_min_max_vars_per_channel(kernel, -each, each, narrow_range=True)


def _in_integers(leaf: Leaf, inside: Range) -> Callable[..., tf.Tensor]:
    call, layer, kernel = leaf.call, leaf.layer, _kernel(leaf)
    name = _KERNELS[type(layer)]

    def computed(inputs: tf.Tensor, *args: Any, **kwargs: Any) -> tf.Tensor:
        attributes = vars(layer)
        former = attributes[name]
        attributes[name] = _bounded_kernel(kernel, isinstance(layer, _BY_FILTER))
        try:
            return call(bounded(inputs, inside), *args, **kwargs)
        finally:
            attributes[name] = former

    return computed


def _bounded_output(leaf: Leaf, outside: Range) -> Callable[..., tf.Tensor]:
    call = leaf.call

    def computed(*args: Any, **kwargs: Any) -> tf.Tensor:
        return bounded(call(*args, **kwargs), outside)

    return computed


@dataclasses.dataclass(frozen=True)
class Ranges:
    """The ranges of a model's inputs and outputs, by name."""

    inputs: Mapping[str, Range]
    outputs: Mapping[str, Range]


def insert(model: tf.keras.Model, lowering: Lowering, batches: Iterable[Mapping[str, np.ndarray]]) -> Ranges:
    """Gives the candidates of a lowered `model` the form in integers, with the ranges seen on `batches`.

    Args:
        model: the model, lowered.
        lowering: its leaves; those whose range was never seen stay float.
        batches: inputs by name.

    Raises:
        InputError: no batches, or values that are not finite.
    """
    fold(lowering)
    chosen = candidates(lowering)
    inside: dict[int, Seen] = {id(leaf): Seen() for leaf in chosen}
    outside: dict[int, Seen] = {id(_tail(lowering, leaf)): Seen() for leaf in chosen}
    touched = [leaf for leaf in lowering.leaves.values() if id(leaf) in inside or id(leaf) in outside]
    calls = {id(leaf): leaf.call for leaf in touched}
    inputs: dict[str, Seen] = {}
    outputs: dict[str, Seen] = {}
    certain = True
    for leaf in touched:
        leaf.call = _watched(leaf, inside.get(id(leaf)), outside.get(id(leaf)))
    with eagerly():
        for batch in batches:
            for key, value in batch.items():
                inputs.setdefault(key, Seen()).see(value)
            answers = tf.nest.flatten(model(arrange(model, batch), training=False))
            for key, answer in zip(output_names(model, len(answers)), answers, strict=True):
                if not answer.dtype.is_floating:
                    # Classes or truth values, which are no matter of ranges.
                    continue
                outputs.setdefault(key, Seen()).see(answer)
                certain = certain and bool(tf.reduce_all(tf.abs(tf.reduce_sum(answer, axis=-1) - 1) < 1e-3))
    if not inputs:
        raise invalid("calibrate_on", "no inputs", "at least one batch of inputs")
    for leaf in touched:
        leaf.call = calls[id(leaf)]
    for leaf in touched:
        if id(leaf) in inside:
            leaf.call = _in_integers(leaf, inside[id(leaf)].range())
            leaf.rewrite.append("8-bit integers")
        if id(leaf) in outside:
            low, high = outside[id(leaf)].range()
            share = _NARROWED_BEFORE_SIGN if only_signs(lowering, leaf) else 1.0
            leaf.call = _bounded_output(leaf, (share * low, share * high))
    probabilities = certain and all(seen.low == 0 and seen.high <= 1 for seen in outputs.values())
    return Ranges(
        {key: seen.range() for key, seen in inputs.items()},
        {key: _PROBABILITIES if probabilities else seen.range() for key, seen in outputs.items()},
    )
