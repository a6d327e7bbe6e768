"""A filter that is zero leaves the network, with the inputs that it fed, where the layer after it allows.

What such a filter yields is known: its bias, and what normalization, pooling and activation make of that. The layer
that takes it adds the same amount at every position, so the amount goes into its bias. Exact but for the rounding
of that sum. A filter stays where its output is needed elsewhere (a skip), or where padding makes the amount another
at the border: there the constant has to be the padding's value.
"""

from typing import Any

import larq
import numpy as np
import tensorflow as tf

from larq_equalbits.export.graph import as_written
from larq_equalbits.export.lowering import Leaf, Lowering
from larq_equalbits.export.rewrites.batch_norm import over_channels

_KERAS = tf.keras.layers
_PRODUCERS = (larq.layers.QuantConv2D, larq.layers.QuantDense)
_CONSUMERS = (*_PRODUCERS, _KERAS.Conv2D, _KERAS.Dense)
_POOLING = (
    _KERAS.MaxPooling2D,
    _KERAS.AveragePooling2D,
    _KERAS.GlobalMaxPooling2D,
    _KERAS.GlobalAveragePooling2D,
    _KERAS.Flatten,
)
_ELEMENTWISE = (_KERAS.ReLU, _KERAS.LeakyReLU, _KERAS.Dropout)
# Of any other function nobody knows whether it mixes channels, as a softmax does.
_ELEMENTWISE_FUNCTIONS = (
    None,
    *(
        getattr(of, name)
        for of in (tf.keras.activations, tf.nn)
        for name in ["elu", "gelu", "relu", "selu", "sigmoid", "softplus", "softsign", "tanh"]
    ),
    *(
        getattr(tf.keras.activations, name)
        for name in ["exponential", "hard_sigmoid", "linear", "mish", "swish"]
    ),
    *(tf.nn.relu6, tf.nn.leaky_relu, tf.nn.silu, tf.identity, tf.sign, tf.abs),
    *(larq.activations.hard_tanh, larq.activations.leaky_tanh),
)
_ELEMENTWISE_QUANTIZERS = (
    larq.quantizers.SteSign,
    larq.quantizers.ApproxSign,
    larq.quantizers.SwishSign,
    larq.quantizers.SteHeaviside,
)
_OF_NORMALIZATION = ("gamma", "beta", "moving_mean", "moving_variance")


def _is_elementwise(function: Any) -> bool:
    """Whether an activation or a quantizer of inputs computes each number from that number alone."""
    if isinstance(function, larq.quantizers.DoReFa):
        return as_written(function) and function.mode == "activations"
    if isinstance(function, larq.quantizers.SteTern):
        return as_written(function) and not function.ternary_weight_networks
    if isinstance(function, _ELEMENTWISE_QUANTIZERS):
        return as_written(function)
    return any(function is each for each in _ELEMENTWISE_FUNCTIONS)


def _treats_channels_alone(lowering: Lowering, leaf: Leaf) -> bool:
    """Whether `leaf` treats each channel alone, and works for any number of them once it is cut to it."""
    layer = leaf.layer
    if type(layer) in _POOLING:
        return layer.data_format == "channels_last"
    if type(layer) is _KERAS.Activation:
        return _is_elementwise(layer.activation)
    return type(layer) in _ELEMENTWISE or over_channels(lowering, leaf)


def _path(lowering: Lowering, producer: Leaf) -> tuple[list[Leaf], Leaf | None]:
    """The layers after `producer` that keep its channels, and the layer that then mixes them, if there is one."""
    between: list[Leaf] = []
    leaf = lowering.consumer(producer)
    while leaf is not None and type(leaf.layer) not in _CONSUMERS:
        if not _treats_channels_alone(lowering, leaf):
            return between, None
        between.append(leaf)
        leaf = lowering.consumer(leaf)
    mixes = leaf is not None and _plain(leaf.layer) and _is_elementwise(_input_quantizer(leaf.layer))
    return between, leaf if mixes else None


def _input_quantizer(layer: Any) -> Any:
    return getattr(layer, "input_quantizer", None)


def _bias(layer: Any, size: int) -> np.ndarray:
    return layer.bias.numpy() if layer.use_bias else np.zeros(size, "float32")


def _constants(
    lowering: Lowering, producer: Leaf, between: list[Leaf], zero: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """For each input channel of what follows `between`: whether a filter of `zero` alone feeds it, and its value."""
    layer = producer.layer
    shape = (1, *lowering.graph.output_shape(layer)[1:])
    values = tf.broadcast_to(tf.constant(_bias(layer, zero.size)), shape)
    if layer.activation is not None:
        values = layer.activation(values)
    for leaf in between:
        if type(leaf.layer) is _KERAS.Flatten:
            zero = np.broadcast_to(zero, values.shape[1:]).reshape(-1)
        normalizes = isinstance(leaf.layer, _KERAS.BatchNormalization)
        values = leaf.call(values, training=False) if normalizes else leaf.call(values)
    rows = values.numpy().reshape(-1, zero.size)
    # Average pooling may round what it averages: such a channel is no constant.
    return zero & (rows == rows[:1]).all(axis=0), rows[0]


def _kernel(leaf: Leaf) -> np.ndarray:
    return leaf.kernels["kernel"] if "kernel" in leaf.kernels else leaf.layer.kernel.numpy()


def _amount(consumer: Leaf, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """By input channel what `consumer` adds to each of its filters (in, out), and where it is so at every position."""
    layer, kernel = consumer.layer, _kernel(consumer)
    quantizer = _input_quantizer(layer)
    if quantizer is not None:
        values = np.asarray(quantizer(tf.constant(values)))
    by_channel = kernel.reshape(-1, *kernel.shape[-2:]).sum(axis=0, dtype=np.float64)
    everywhere = np.ones(values.size, bool)
    if kernel.ndim == 4 and layer.padding == "same" and max(layer.kernel_size) > 1:
        everywhere = values == getattr(layer, "pad_values", 0.0)
    return by_channel * values[:, None], everywhere


def _cut_filters(lowering: Lowering, leaf: Leaf, kept: np.ndarray) -> None:
    layer = leaf.layer
    if layer.use_bias:
        lowering.replace(leaf, "bias", tf.constant(layer.bias.numpy()[kept]))
    lowering.replace(leaf, "units" if hasattr(layer, "units") else "filters", int(kept.sum()))
    lowering.replace_kernel(leaf, _kernel(leaf)[..., kept])


def _cut_between(lowering: Lowering, leaf: Leaf, kept: np.ndarray) -> None:
    lowering.replace(leaf, "_input_spec", None)
    if isinstance(leaf.layer, _KERAS.BatchNormalization):
        lowering.replace(leaf, "_param_shape", [int(kept.sum())])
        for name in _OF_NORMALIZATION:
            value = getattr(leaf.layer, name)
            if value is not None:
                lowering.replace(leaf, name, tf.constant(np.asarray(value)[kept]))


def _cut_inputs(lowering: Lowering, leaf: Leaf, kept: np.ndarray, amount: np.ndarray) -> None:
    layer, kernel = leaf.layer, _kernel(leaf)
    total = amount[~kept].sum(axis=0)
    if total.any():
        bias = (_bias(layer, total.size) + total).astype(kernel.dtype)
        lowering.replace(leaf, "bias", tf.constant(bias))
        lowering.replace(leaf, "use_bias", True)
    lowering.replace(leaf, "_input_spec", None)
    lowering.replace_kernel(leaf, kernel[..., kept, :])


def _drop(lowering: Lowering, leaf: Leaf) -> None:
    zero = ~_kernel(leaf).any(axis=tuple(range(_kernel(leaf).ndim - 1)))
    between, consumer = _path(lowering, leaf)
    if not zero.any() or consumer is None or not _is_elementwise(leaf.layer.activation):
        return
    # Which outputs are one constant is known of images of one size alone.
    if None in lowering.graph.output_shape(leaf.layer)[1:]:
        return
    fed, values = _constants(lowering, leaf, between, zero)
    amount, everywhere = _amount(consumer, values)
    # A filter feeds several inputs where its positions were flattened; it goes if all of them can.
    zero = (fed & everywhere).reshape(-1, zero.size).all(axis=0)
    # A convolution needs at least one filter.
    zero[0] &= not zero.all()
    if not zero.any():
        return
    kept = ~zero
    _cut_filters(lowering, leaf, kept)
    leaf.moved = True
    for each in between:
        each.moved = True
        _cut_between(lowering, each, kept)
    inputs = np.broadcast_to(kept, (fed.size // kept.size, kept.size)).reshape(-1)
    _cut_inputs(lowering, consumer, inputs, amount)
    count = int(zero.sum())
    leaf.rewrite.append(f"{count} of {zero.size} filters are zero and dropped")
    consumer.rewrite.append(f"without the inputs from {count} zero filters of {leaf.name}")


def apply(lowering: Lowering) -> None:
    """Drops the zero filters of each convolution and dense layer with a quantized kernel."""
    for leaf in lowering.leaves.values():
        if type(leaf.layer) in _PRODUCERS and "kernel" in leaf.kernels and _plain(leaf.layer):
            _drop(lowering, leaf)


def _plain(layer: Any) -> bool:
    return (
        getattr(layer, "data_format", "channels_last") == "channels_last" and getattr(layer, "groups", 1) == 1
    )
