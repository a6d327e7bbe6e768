"""Pruning the layers of a whole model, and getting plain layers back."""

from collections.abc import Callable
from typing import Any

import larq
import tensorflow as tf

from larq_equalbits.errors import InputError, invalid
from larq_equalbits.pruning import selection
from larq_equalbits.pruning.layers import input_shape_of, quantizer_arguments
from larq_equalbits.pruning.wrapper import PrunedBinary, is_pruned

Replace = Callable[[tf.keras.layers.Layer], tf.keras.layers.Layer | None]


def _is_container(layer: tf.keras.layers.Layer) -> bool:
    return isinstance(layer, tf.keras.Model)


def _clone(
    model: tf.keras.Model,
    replace: Replace,
    pairs: list[tuple[tf.keras.layers.Layer, tf.keras.layers.Layer]],
    made: dict[int, tf.keras.layers.Layer],
) -> tf.keras.Model:
    """`model` with the layers for which `replace` answers one replaced; `pairs` gets the copies of the others.

    `made` holds what stands for each layer already, so that layers stay shared across nested models.
    """

    def clone_layer(layer: tf.keras.layers.Layer) -> tf.keras.layers.Layer:
        if id(layer) not in made:
            if _is_container(layer):
                made[id(layer)] = _clone(layer, replace, pairs, made)
            else:
                replaced = replace(layer)
                made[id(layer)] = replaced if replaced is not None else _plain(layer)
        return made[id(layer)]

    def _plain(layer: tf.keras.layers.Layer) -> tf.keras.layers.Layer:
        copy = type(layer).from_config(layer.get_config())
        pairs.append((layer, copy))
        return copy

    if model._is_graph_network or isinstance(model, tf.keras.Sequential):
        if isinstance(model, NetworkPruned):
            model = tf.keras.Model(model.inputs, model.outputs, name=model.name)
        clone = tf.keras.models.clone_model(model, clone_function=clone_layer)
        if not model.trainable:
            clone.trainable = False
        return clone
    return _clone_subclassed(model, clone_layer)


def _clone_subclassed(
    model: tf.keras.Model, clone_layer: Callable[[tf.keras.layers.Layer], tf.keras.layers.Layer]
) -> tf.keras.Model:
    try:
        clone = type(model).from_config(model.get_config())
    except Exception as error:
        raise InputError(
            f"model {model.name!r} of class {type(model).__name__} must be one that from_config(get_config()) "
            f"makes anew, but this failed: {error}"
        ) from error
    _replace_attributes(model, clone, clone_layer)
    return clone


def _replace_attributes(
    source: tf.keras.layers.Layer,
    target: tf.keras.layers.Layer,
    clone_layer: Callable[[tf.keras.layers.Layer], tf.keras.layers.Layer],
) -> None:
    """Gives `target` copies of the layers that `source` holds in attributes, and in lists and dicts there."""

    def cloned(value: Any) -> Any:
        if isinstance(value, tf.keras.metrics.Metric):
            return None
        if isinstance(value, tf.keras.layers.Layer):
            return clone_layer(value)
        if isinstance(value, dict) and any(cloned_kind(item) for item in value.values()):
            return {key: cloned(item) if cloned_kind(item) else item for key, item in value.items()}
        if isinstance(value, list | tuple) and any(cloned_kind(item) for item in value):
            return [cloned(item) if cloned_kind(item) else item for item in value]
        return None

    def cloned_kind(value: Any) -> bool:
        return isinstance(value, tf.keras.layers.Layer | dict | list | tuple) and not isinstance(
            value, tf.keras.metrics.Metric
        )

    for name, value in list(vars(source).items()):
        if name.startswith(("_self_", "_keras_api", "_obj_")) or name in ("_layers", "_metrics"):
            continue
        replacement = cloned(value)
        if replacement is not None:
            setattr(target, name, replacement)


def _rewrite(model: tf.keras.Model, replace: Replace) -> tf.keras.Model:
    pairs: list[tuple[tf.keras.layers.Layer, tf.keras.layers.Layer]] = []
    clone = _clone(model, replace, pairs, {})
    for layer, copy in pairs:
        if layer.built and layer.weights:
            if not copy.built:
                shape = input_shape_of(layer)
                if shape is None:
                    raise InputError(f"layer {layer.name!r} must record the shape it was built with.")
                with tf.name_scope(layer.name):
                    copy.build(shape)
                copy.built = True
            copy.set_weights(layer.get_weights())
    return clone


def _layers(model: tf.keras.layers.Layer) -> list[tf.keras.layers.Layer]:
    return [layer for layer in model._flatten_layers() if not _is_container(layer)]


def prune(
    model: tf.keras.Model,
    sparsity: float | None = None,
    criterion: Any = "rank",
    granularity: str = "weight",
    scope: str | None = None,
    schedule: Any = None,
    skip: tuple[str, ...] = (),
) -> tf.keras.Model:
    """A copy of `model` in which every Larq layer with a binary kernel is wrapped in `PrunedBinary`.

    The weights are kept and `model` stays as it was. The copy is uncompiled. Sequential, functional and nested
    models are copied layer by layer; a subclassed one is made anew by its `from_config`, and the layers that it
    holds in attributes, lists and dicts are replaced by wrapped copies.

    Args:
        model: a Keras model, best built.
        sparsity: fraction of zeros in [0, 1) to reach, in every layer, or overall with scope "network".
        criterion: as for `PrunedBinary`, or a dict of criteria by layer name for masks.
        granularity: "weight", or "filter" for whole filters.
        scope: "filter", "layer", or "network", where the least important weights (or filters) of all layers
            together are pruned: those below one threshold, taken anew after every update of the
            optimizer (equal values at the threshold all survive). It needs the criterion "magnitude" or
            "score"; the latter is MPT's global variant. A functional or Sequential model then comes back as a
            `NetworkPruned`, which knows this when it is loaded again; a subclassed one needs `link` then.
        schedule: as for `PrunedBinary`.
        skip: names of layers to leave as they are.

    Raises:
        InputError: as `PrunedBinary`; for a model without a layer to prune, or with one that is pruned already;
            for a name in `skip` or `criterion` that no layer has.
    """
    candidates = [layer for layer in _layers(model) if quantizer_arguments(layer) or is_pruned(layer)]
    names = {layer.name for layer in candidates}
    chosen = criterion if isinstance(criterion, dict) else {}
    for argument, given in (("skip", skip), ("criterion", chosen)):
        unknown = [name for name in given if name not in names]
        if unknown:
            raise invalid(argument, unknown, f"names of layers with a quantized kernel: {sorted(names)}")
    wrapped: list[PrunedBinary] = []

    def replace(layer: tf.keras.layers.Layer) -> tf.keras.layers.Layer | None:
        if layer.name in skip or (chosen and layer.name not in chosen):
            return None
        if not quantizer_arguments(layer) and not is_pruned(layer):
            return None
        pruned = PrunedBinary(
            layer, sparsity, chosen.get(layer.name, criterion), granularity, scope, schedule
        )
        wrapped.append(pruned)
        return pruned

    pruned = _rewrite(model, replace)
    if not wrapped:
        raise InputError(f"model {model.name!r} must have a Larq layer with a quantized kernel to prune.")
    if scope != "network":
        return pruned
    if pruned._is_graph_network:
        return NetworkPruned(pruned.inputs, pruned.outputs, name=pruned.name)
    link(pruned)
    return pruned


def strip(model: tf.keras.Model) -> tf.keras.Model:
    """A copy of `model` with plain Larq layers in place of `PrunedBinary`, which compute the same.

    Their quantizer is a `Pruned`: with the present sparsity where a criterion decides on the weights, so that further
    training still moves the zeros, with the present mask under "score", scope "network" or a mask given.

    Raises:
        InputError: a model in which nothing is wrapped; names the model.
    """
    if isinstance(model, PrunedBinary):
        return model.stripped()
    if not any(isinstance(layer, PrunedBinary) for layer in _layers(model)):
        raise InputError(
            f"model {model.name!r} must have layers in PrunedBinary to strip, but it was never pruned."
        )
    return _rewrite(model, lambda layer: layer.stripped() if isinstance(layer, PrunedBinary) else None)


def _members(model: tf.keras.Model) -> list[PrunedBinary]:
    return [layer for layer in _layers(model) if isinstance(layer, PrunedBinary) and layer.scope == "network"]


def link(model: tf.keras.Model) -> None:
    """Lets the layers of `model` that are pruned network-wide choose together, from now on.

    Raises:
        InputError: no such layer, or one that is not built.
    """
    members = _members(model)
    if not members:
        raise InputError(f'model {model.name!r} must have layers pruned with scope "network" to link.')
    for member in members:
        if not member.built:
            raise InputError(f"layer {member.name!r} must be built before a network-wide choice.")

    def update() -> None:
        values = [importance for member in members for importance in member.importances()]
        threshold = selection.network_threshold(values, members[0].current_sparsity())
        for member in members:
            member.set_threshold(threshold)

    for member in members:
        member.join(update if member is members[-1] else None)
    update()


# HDF5 files are read by the bare name of the class.
@larq.utils.register_keras_custom_object
@tf.keras.utils.register_keras_serializable("larq_equalbits")
class NetworkPruned(tf.keras.Model):
    """A functional model whose pruned layers choose together, also after loading."""

    # Keras saves the layers of a subclass only where these arguments are those of its own.
    def __init__(
        self, inputs: Any, outputs: Any, name: str | None = None, trainable: bool = True, **kwargs: Any
    ) -> None:
        super().__init__(inputs, outputs, name=name, trainable=trainable, **kwargs)
        # A clone whose layers were replaced is made of this class too.
        if _members(self):
            link(self)
