"""Pruning the layers of a whole model, and getting plain layers back."""

import functools
from typing import Any

import larq
import tensorflow as tf

from larq_equalbits._errors import InputError, invalid
from larq_equalbits._keras import cloning
from larq_equalbits._keras.layers import quantizer_arguments
from larq_equalbits.pruning import selection
from larq_equalbits.pruning.wrapper import PrunedBinary, is_pruned


def _layers(model: tf.keras.layers.Layer) -> list[tf.keras.layers.Layer]:
    return [layer for layer in model._flatten_layers() if not cloning.is_model(layer)]


def _check_model(model: Any) -> None:
    if not isinstance(model, tf.keras.Model):
        raise invalid("model", model, "a Keras 2 model (tf_keras)")


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
    models are copied layer by layer; a subclassed one, a wrapper such as `TimeDistributed`, or a layer that holds
    such Larq layers is made again by its `from_config`, and the layers that it holds in attributes, lists and
    dicts are replaced by wrapped copies. Keras saves an object of your own class as its configuration, which knows
    nothing of this: save the weights of such a model, and load them into one that was pruned in the same way.

    Args:
        model: a Keras model, best built.
        sparsity: fraction of zeros in [0, 1) to reach, in every layer, or overall with scope "network".
        criterion: as for `PrunedBinary`, or a dict of criteria by layer name for masks.
        granularity: "weight", or "filter" for whole filters.
        scope: "filter", "layer", or "network", where the least important weights (or filters) of all layers
            together are pruned: those below one threshold, taken again after every update of the
            optimizer (equal values at the threshold all survive). It needs the criterion "magnitude" or
            "score"; the latter is MPT's global variant. A functional or Sequential model then comes back as a
            `NetworkPruned`, which knows this when it is loaded again; a subclassed one needs `link` then.
        schedule: as for `PrunedBinary`.
        skip: names of layers to leave as they are.

    Raises:
        InputError: as `PrunedBinary`; for what is no Keras 2 model, for a model without a layer to prune, or with one
            that is pruned already; for a name in `skip` or `criterion` that no layer has; for a layer to prune that
            could not be replaced in what holds it.

    Examples:
        >>> [type(layer).__name__ for layer in prune(model, sparsity=0.25).layers]
        ['PrunedBinary', 'GlobalAveragePooling2D', 'Dense']
    """
    _check_model(model)
    candidates = [layer for layer in _layers(model) if quantizer_arguments(layer) or is_pruned(layer)]
    names = {layer.name for layer in candidates}
    chosen = criterion if isinstance(criterion, dict) else {}
    for argument, given in (("skip", skip), ("criterion", chosen)):
        unknown = [name for name in given if name not in names]
        if unknown:
            raise invalid(argument, unknown, f"names of layers with a quantized kernel: {sorted(names)}")

    def wanted(layer: tf.keras.layers.Layer) -> bool:
        if layer.name in skip or (chosen and layer.name not in chosen):
            return False
        return is_pruned(layer) or bool(quantizer_arguments(layer))

    def wrap(layer: tf.keras.layers.Layer) -> PrunedBinary:
        own = chosen.get(layer.name, criterion)
        return PrunedBinary(layer, sparsity, own, granularity, scope, schedule)

    if not any(map(wanted, candidates)):
        raise InputError(f"model {model.name!r} must have a Larq layer with a quantized kernel to prune.")
    pruned = cloning.rewrite(model, wanted, wrap, NetworkPruned)
    if scope != "network":
        return pruned
    if pruned._is_graph_network:
        return NetworkPruned(pruned.inputs, pruned.outputs, name=pruned.name)
    link(pruned)
    return pruned


def strip(model: tf.keras.Model) -> tf.keras.Model:
    """A copy of `model` with plain Larq layers in place of `PrunedBinary`, which compute the same.

    Their quantizer is a `Pruned`: with the present sparsity where a criterion decides on the weights, so further
    training still moves the zeros, with the present mask under "score", scope "network" or a mask given.

    Raises:
        InputError: no Keras 2 model, or one in which nothing is wrapped.

    Examples:
        >>> strip(prune(model, sparsity=0.25)).get_layer("conv").kernel_quantizer.sparsity
        0.25
    """
    if isinstance(model, PrunedBinary):
        return model.stripped()
    _check_model(model)
    if not any(isinstance(layer, PrunedBinary) for layer in _layers(model)):
        raise InputError(
            f"model {model.name!r} must have layers in PrunedBinary to strip, but it was never pruned."
        )
    return cloning.rewrite(
        model, lambda layer: isinstance(layer, PrunedBinary), PrunedBinary.stripped, NetworkPruned
    )


def _members(model: tf.keras.Model) -> list[PrunedBinary]:
    return [layer for layer in _layers(model) if isinstance(layer, PrunedBinary) and layer.scope == "network"]


def link(model: tf.keras.Model) -> None:
    """Lets the layers of `model` that are pruned network-wide choose together, from now on.

    Raises:
        InputError: no such layer, or one that is not built.

    Examples:
        >>> pruned = prune(model, 0.5, "magnitude", scope="network")
        >>> link(tf.keras.Sequential(pruned.layers))
    """
    _check_model(model)
    members = _members(model)
    if not members:
        raise InputError(f'model {model.name!r} must have layers pruned with scope "network" to link.')
    for member in members:
        if not member.built:
            raise InputError(f"layer {member.name!r} must be built before a network-wide choice.")

    def update() -> None:
        values = [importance for member in members for importance in member.importances()]
        # The largest step: a frozen layer's stands still.
        steps = [tf.convert_to_tensor(member.step) for member in members if member.step is not None]
        sparsity = members[0].schedule.at(tf.reduce_max(steps) if steps else 0, members[0].sparsity)
        threshold = selection.network_threshold(values, sparsity)
        for member in members:
            member.set_threshold(threshold)

    def updated(layer: PrunedBinary) -> None:
        # Once for all layers: after the last one that an optimizer updates, which may change until then.
        if layer in [member for member in members if member.trainable_weights][-1:]:
            update()

    for member in members:
        member.join(functools.partial(updated, member))
    update()


# HDF5 files are read by the bare name of the class.
@larq.utils.register_keras_custom_object
@tf.keras.utils.register_keras_serializable("larq_equalbits")
class NetworkPruned(tf.keras.Model):
    """A functional model whose pruned layers choose together, also after loading.

    Examples:
        >>> type(prune(model, 0.5, "magnitude", scope="network")).__name__
        'NetworkPruned'
    """

    # Keras saves the layers of a subclass only where these arguments are those of its own.
    def __init__(
        self, inputs: Any, outputs: Any, name: str | None = None, trainable: bool = True, **kwargs: Any
    ) -> None:
        super().__init__(inputs, outputs, name=name, trainable=trainable, **kwargs)
        # A clone whose layers were replaced is made of this class too.
        if _members(self):
            link(self)
