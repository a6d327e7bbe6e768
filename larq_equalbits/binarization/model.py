"""Makes a model binary: decides for each layer, copies the model, keeps the weights, and says what was done."""

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

import tensorflow as tf
from larq.quantized_variable import QuantizedVariable

from larq_equalbits._errors import InputError, invalid
from larq_equalbits._keras import building, cloning, signs
from larq_equalbits._keras.quantizers import resolve
from larq_equalbits.binarization import layers, tracing
from larq_equalbits.binarization.changes import BinarizationReport, LayerChange
from larq_equalbits.binarization.ends import find as find_ends
from larq_equalbits.export.graph import leaves
from larq_equalbits.pruning.wrapper import is_pruned
from larq_equalbits.zoo.arguments import is_clipped

Choice = Iterable[str] | Callable[[tf.keras.layers.Layer], bool] | None


@dataclasses.dataclass
class _Decision:
    """What is to become of a layer."""

    binary: bool = False
    input_quantizer: Any = None
    linear: bool = False
    signed: bool = False
    reasons: list[str] = dataclasses.field(default_factory=list)


def binarize(
    model: tf.keras.Model,
    quantizer: Any = "bi_half",
    input_quantizer: Any = "ste_sign",
    skip: Choice = None,
    *,
    only: Choice = None,
    rectifier: Any = "linear",
    pad_values: float = 1.0,
) -> tf.keras.Model:
    """A copy of `model` with Larq layers and a quantizer of ours, ready to be fine-tuned.

    Convolutions (1-D to 3-D, transposed, separable), dense and locally connected layers become Larq's. In a network
    that has Larq's quantizers already the new ones take their place, and layers without one stay as they are. So do
    frozen layers (``trainable=False``), depthwise convolutions, which LCE keeps float, and, where inputs are to be
    binary, convolutions in groups, which LCE cannot run. Weights and names are kept, `model` stays as it was, and the
    copy is uncompiled. Its attribute `binarization` is a `BinarizationReport` of what was replaced and what was not,
    and why; a saved model does not keep it.

    The first and the last layer stay float: those that no other layer with a kernel precedes, and that none follows
    (of several inputs or outputs, those of each), at inference or in training. So does a layer that is called by
    neither, since it may be one of them.

    A ReLU makes a poor input of a sign: it is never negative, so every code would be +1. Where a ReLU (a layer,
    an activation of a layer, or `tf.nn.relu` in a functional model) reaches a binary input directly, or through
    pooling, reshaping, splitting, adding or concatenating, `rectifier` takes its place. After a normalization it
    stays. A layer whose input something else keeps from being negative (a sigmoid, a ReLU in the code of a
    subclassed model) keeps a float input. So does a layer that takes the model's input, where it is made binary.

    Args:
        model: functional, Sequential, nested, or subclassed where its layers are held in attributes, lists or
            dicts and `from_config(get_config())` makes the model and such layers again. It has to be built.
        quantizer: of kernels, by name or as an object (each layer gets its own copy). Those with a clipped gradient
            bring Larq's `weight_clip` along where a kernel has no constraint.
        input_quantizer: of the inputs of binary layers (1/1); None for float activations (1/32).
        skip: layers to leave as they are, in place of the first and the last: their names, with or without those of
            the models around them, or a function that answers True for them. ``()`` makes the first and the last
            binary too.
        only: the layers to make binary, in the same way, whether first, last, frozen, depthwise, in groups or without
            a quantizer in a network of Larq's; all others stay.
        rectifier: the activation that takes the place of a ReLU before a binary input; None keeps the ReLU.
        pad_values: of binary inputs of convolutions with padding "same", 1 or -1 for a code, 0 as in Keras. With 1,
            LCE passes packed bits from one convolution to the next.

    Raises:
        InputError: not a Keras model, or one that is not built, is pruned, or cannot be made again; an unknown
            quantizer, activation or layer name; no layer left to make binary.

    Examples:
        >>> layers = [tf.keras.layers.Dense(4, name=name) for name in ("first", "second", "last")]
        >>> twin = binarize(tf.keras.Sequential([tf.keras.Input((4,)), *layers]))
        >>> [type(layer).__name__ for layer in twin.layers]
        ['Dense', 'QuantDense', 'Dense']
    """
    _check(model, skip, only, pad_values)
    if quantizer is None:
        raise invalid("quantizer", quantizer, "a quantizer, by name or as an object")
    kernels, inputs = resolve(quantizer), resolve(input_quantizer, "input_quantizer")
    activation = _activation(rectifier)
    named = leaves(model)
    decisions = _decide(model, named, inputs, skip, only, rectifier)

    def replace(layer: tf.keras.layers.Layer) -> tf.keras.layers.Layer | None:
        decision = decisions.get(id(layer))
        if decision is None or not (decision.binary or decision.linear):
            return None
        changes = {"activation": activation} if decision.linear else {}
        if decision.binary:
            made = layers.twin(
                layer, kernels, decision.input_quantizer, pad_values, is_clipped(kernels), **changes
            )
        elif "activation" in layer.get_config():
            made = type(layer).from_config({**layer.get_config(), **changes})
        elif _is_function(layer):
            made = type(layer)(tf.keras.activations.get(rectifier), name=layer.name)
        else:
            made = tf.keras.layers.Activation(activation, name=layer.name, dtype=layer.dtype_policy)
        replaced.append((layer, made))
        return made

    replaced: list[tuple[tf.keras.layers.Layer, tf.keras.layers.Layer]] = []
    changed = {identity for identity, one in decisions.items() if one.binary or one.linear}

    def inside(layer: tf.keras.layers.Layer) -> bool:
        return any(id(inner) in changed for inner in layer._flatten_layers(include_self=False))

    copy, pairs = cloning.clone(model, replace, inside)
    if not copy.built or any(not made.built for _, made in replaced):
        building.run(copy, building.specification(model))
    cloning.copy_weights(pairs)
    for layer, made in replaced:
        _copy_weights(layer, made)
    copy.binarization = _report(named, decisions, {id(layer): made for layer, made in replaced})
    return copy


def _check(model: Any, skip: Choice, only: Choice, pad_values: Any) -> None:
    if not isinstance(model, tf.keras.Model):
        raise invalid("model", model, "a Keras model of tf.keras (Keras 2)")
    for argument, choice in (("skip", skip), ("only", only)):
        if isinstance(choice, str) or not (
            choice is None or callable(choice) or isinstance(choice, Iterable)
        ):
            raise invalid(argument, choice, "names of layers in a list, a function of a layer, or None")
    if pad_values not in (-1, 0, 1):
        raise invalid("pad_values", pad_values, "-1, 0 or 1")
    pruned = [layer.name for layer in model._flatten_layers() if is_pruned(layer)]
    if pruned:
        raise InputError(
            f"model {model.name!r} must not be pruned yet, but layer {pruned[0]!r} is, whose zeros a new quantizer "
            "would not keep: binarize before pruning."
        )


def _activation(rectifier: Any) -> Any:
    try:
        return tf.keras.activations.serialize(tf.keras.activations.get(rectifier))
    except (ValueError, TypeError):
        raise invalid("rectifier", rectifier, "the name of a Keras activation, or None") from None


def _decide(
    model: tf.keras.Model,
    named: dict[str, tf.keras.layers.Layer],
    input_quantizer: Any,
    skip: Choice,
    only: Choice,
    rectifier: Any,
) -> dict[int, _Decision]:
    trace = tracing.trace(model, named.values())
    weighted = {
        name: layer
        for name, layer in named.items()
        if layers.kernel_size(layer) or (layers.has_twin(layer) and not layer.built)
    }
    ends = find_ends(model, (layer for layer in weighted.values() if layer.built), trace.graph)
    skipped, chosen = _chosen("skip", skip, weighted), _chosen("only", only, weighted)
    signed = signs.takers(trace.calls)
    larqs = any(map(layers.is_binary, weighted.values()))
    decisions: dict[int, _Decision] = {}
    for layer in weighted.values():
        decision = decisions[id(layer)] = _Decision()
        was_binary = layers.is_binary(layer)
        end = [word for word, group in (("first", ends.first), ("last", ends.last)) if id(layer) in group]
        if not layers.has_twin(layer):
            decision.reasons.append(f"Larq has no layer for {type(layer).__name__}")
        elif getattr(layer, "implementation", None) == 3:
            decision.reasons.append("its kernel is a flat list (implementation=3), so no filter is known")
        elif not layer.built:
            decision.reasons.append("never called, so it has no weights")
        elif chosen is None and not layer.trainable:
            decision.reasons.append("frozen (trainable=False)")
        elif chosen is not None and id(layer) not in chosen:
            decision.reasons.append("not among only")
        elif skipped is not None and id(layer) in skipped:
            decision.reasons.append("in skip")
        elif end and skip is None and chosen is None and not was_binary:
            decision.reasons.append(f"{' and '.join(end)} layer")
        elif larqs and chosen is None and not was_binary:
            decision.reasons.append("without a quantizer in a network of Larq's")
        elif chosen is None and type(layer) is tf.keras.layers.DepthwiseConv2D:
            decision.reasons.append("depthwise, which LCE keeps float")
        elif chosen is None and not was_binary and input_quantizer and getattr(layer, "groups", 1) > 1:
            decision.reasons.append("in groups, which LCE cannot run: a layer for each group can be binary")
        elif id(layer) not in ends.called and skip is None and chosen is None and not was_binary:
            decision.reasons.append("not called when the model is, so it may be a first or a last layer")
        else:
            decision.binary = True
            if was_binary and layer.input_quantizer is None and id(layer) in signed:
                decision.signed = True
                decision.reasons.append("the sign of its input is taken before it, and stays")
            elif was_binary and layer.input_quantizer is None:
                decision.reasons.append("input was float")
            elif id(layer) in ends.first and not getattr(layer, "input_quantizer", None):
                decision.reasons.append("takes the model's input")
            else:
                decision.input_quantizer = input_quantizer
    if not any(decision.binary for decision in decisions.values()):
        why = "; ".join(
            f"{name}: {', '.join(decisions[id(layer)].reasons)}" for name, layer in weighted.items()
        )
        raise InputError(
            f"model {model.name!r} must have a layer to make binary, but has {why or 'none with a kernel'}. "
            "With skip=() the first and the last layer become binary too, with only=[...] any that Larq has."
        )
    for layer in weighted.values():
        decision = decisions[id(layer)]
        roots = trace.never_negative(layer) if decision.input_quantizer is not None else set()
        if roots and rectifier is None:
            decision.reasons.append("input is never negative: its codes are all +1")
        elif roots:
            _make_room_for_signs(decision, roots, decisions)
    return decisions


def _make_room_for_signs(
    decision: _Decision, roots: set[tracing.Root], decisions: dict[int, _Decision]
) -> None:
    fixed = [root.layer for root in roots if not _is_replaceable(root)]
    if fixed:
        sources = sorted({"the model's own code" if one is None else one.name for one in fixed})
        decision.input_quantizer = None
        decision.reasons.append(f"input is never negative, by {', '.join(sources)}")
        return
    for root in roots:
        source = decisions.setdefault(id(root.layer), _Decision())
        if not source.linear:
            source.linear = True
            source.reasons.append("ReLU replaced: it reaches a binary input")


def _is_replaceable(root: tracing.Root) -> bool:
    layer = root.layer
    if layer is None or not root.rectifier:
        return False
    if type(layer) is tf.keras.layers.ReLU or _is_function(layer):
        return True
    if not (layers.has_twin(layer) or type(layer) is tf.keras.layers.Activation):
        return False
    return layer.activation in (tf.keras.activations.relu, tf.nn.relu, tf.nn.relu6)


def _is_function(layer: tf.keras.layers.Layer) -> bool:
    """Whether Keras made `layer` of a TensorFlow function in a functional model."""
    return type(layer).__name__ == "TFOpLambda"


def _chosen(argument: str, choice: Choice, weighted: dict[str, tf.keras.layers.Layer]) -> set[int] | None:
    """The identities of the layers that `choice` means, None for no choice."""
    if choice is None:
        return None
    if callable(choice):
        return {id(layer) for layer in weighted.values() if choice(layer)}
    names = list(choice)
    unknown = [
        name for name in names if all(name not in (path, layer.name) for path, layer in weighted.items())
    ]
    if unknown:
        raise invalid(argument, unknown, f"names of layers with a kernel: {list(weighted)}")
    return {id(layer) for path, layer in weighted.items() if path in names or layer.name in names}


def _copy_weights(layer: tf.keras.layers.Layer, made: tf.keras.layers.Layer) -> None:
    if all(isinstance(getattr(one, "activation", None), tf.keras.layers.Layer) for one in (layer, made)):
        made.activation.set_weights(layer.activation.get_weights())
    for name in (*layers.ALL_KERNELS, "bias"):
        source, target = getattr(layer, name, None), getattr(made, name, None)
        if isinstance(source, QuantizedVariable):
            source = source.latent_variable
        if isinstance(target, QuantizedVariable):
            target = target.latent_variable
        if isinstance(source, tf.Variable) and target is not None:
            target.assign(source)


def _report(
    named: dict[str, tf.keras.layers.Layer],
    decisions: dict[int, _Decision],
    replaced: dict[int, tf.keras.layers.Layer],
) -> BinarizationReport:
    rows = []
    for name, layer in named.items():
        decision = decisions.get(id(layer))
        if decision is None:
            continue
        after = replaced.get(id(layer), layer)
        binary_input = decision.signed or getattr(after, "input_quantizer", None) is not None
        binary = decision.binary or layers.is_binary(layer)
        rows.append(
            LayerChange(
                name,
                type(layer).__name__,
                type(after).__name__,
                layers.kernel_size(layer),
                binary,
                binary_input,
                "; ".join(decision.reasons),
            )
        )
    return BinarizationReport(rows)
