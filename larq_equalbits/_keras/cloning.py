"""Copies of whole models in which some layers are replaced, and the weights of all others kept."""

import contextlib
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from larq_equalbits._errors import InputError
from larq_equalbits._keras import building

Replace = Callable[[tf.keras.layers.Layer], tf.keras.layers.Layer | None]
# A layer, its copy, and whether the layers inside it were copied one by one.
Pairs = list[tuple[tf.keras.layers.Layer, tf.keras.layers.Layer, bool]]


def is_model(layer: tf.keras.layers.Layer) -> bool:
    """Whether `layer` is a model of its own."""
    return isinstance(layer, tf.keras.Model)


def clone(
    model: tf.keras.Model,
    replace: Replace,
    inside: Callable[[tf.keras.layers.Layer], bool] = lambda layer: False,
    plain: Any = (),
) -> tuple[tf.keras.Model, Pairs]:
    """`model` made again, uncompiled, with the layers for which `replace` answers one replaced.

    Sequential, functional and nested models are copied layer by layer. A subclassed model, or a layer that is
    searched, is made again by its `from_config`, and the layers that it holds in attributes, lists and dicts are
    replaced by their copies. A shared layer stays shared, across nested models too.

    Args:
        model: what to copy.
        replace: the new layer for a layer, or None to copy it as it is.
        inside: whether to search within a layer for which `replace` answered None; models are always searched.
        plain: classes of functional models that become plain ones.

    Returns:
        The copy, and each layer that was not replaced with its copy, for `copy_weights`.

    Raises:
        InputError: a subclassed model or layer that its configuration cannot make again.
    """
    pairs: Pairs = []
    made: dict[int, tf.keras.layers.Layer] = {}

    def copied(layer: tf.keras.layers.Layer) -> tf.keras.layers.Layer:
        if id(layer) not in made:
            replaced = None if is_model(layer) else replace(layer)
            made[id(layer)] = replaced if replaced is not None else remade(layer)
        return made[id(layer)]

    def remade(layer: tf.keras.layers.Layer) -> tf.keras.layers.Layer:
        if is_model(layer) and (layer._is_graph_network or isinstance(layer, tf.keras.Sequential)):
            return network(layer)
        searched = is_model(layer) or inside(layer)
        copy = _made_again(layer)
        if searched:
            # A configuration that only knows the arguments of a class has neither.
            copy._name, copy._trainable = layer.name, layer._trainable
            _replace_attributes(layer, copy, copied)
        pairs.append((layer, copy, searched))
        return copy

    def network(layer: tf.keras.Model) -> tf.keras.Model:
        source = layer
        if isinstance(layer, plain):
            source = tf.keras.Model(layer.inputs, layer.outputs, name=layer.name)
        copy = tf.keras.models.clone_model(source, clone_function=copied)
        if not layer.trainable:
            copy.trainable = False
        return copy

    return remade(model), pairs


def input_shape_of(layer: tf.keras.layers.Layer) -> tuple[int | None, ...] | None:
    """A shape with which a layer like the built `layer` can be built, or None where it is not recorded."""
    recorded = layer.get_build_config()
    if recorded:
        return recorded["input_shape"]
    with contextlib.suppress(AttributeError, RuntimeError):
        return layer.input_shape
    spec = layer.input_spec
    if spec is None or isinstance(
        layer, tf.keras.layers.LocallyConnected1D | tf.keras.layers.LocallyConnected2D
    ):
        return None
    rank = spec.ndim or spec.min_ndim
    shape: list[int | None] = [None] * rank
    for axis, size in (spec.axes or {}).items():
        shape[axis] = size
    return tuple(shape)


def copy_weights(pairs: Pairs) -> None:
    """Gives each copy the weights of its layer, building it where no call has built it yet.

    Raises:
        InputError: a layer that does not record the shape it was built with, or that has other variables than
            its copy.
    """
    for layer, copy, searched in pairs:
        if searched:
            variables, values = _own(copy), _own(layer)
            if len(variables) != len(values):
                raise InputError(
                    f"{_kind(layer)} {layer.name!r} must have all its variables once it is called, "
                    f"but has {len(values)} of its own, and {len(variables)} when it is made again."
                )
            for variable, value in zip(variables, values, strict=True):
                variable.assign(value)
        elif layer.built and layer.weights:
            if not copy.built:
                shape = input_shape_of(layer)
                if shape is None:
                    raise InputError(f"layer {layer.name!r} must record the shape it was built with.")
                with tf.name_scope(layer.name):
                    copy.build(shape)
                copy.built = True
            copy.set_weights(layer.get_weights())


def rewrite(
    model: tf.keras.Model,
    wanted: Callable[[tf.keras.layers.Layer], bool],
    make: Callable[[tf.keras.layers.Layer], tf.keras.layers.Layer],
    plain: Any = (),
) -> tf.keras.Model:
    """A copy in which `make` gives the layers that are `wanted`, also those inside wrappers and layers of one's own.

    The weights of all others are kept. A built model has a built copy.

    Raises:
        InputError: as `clone` and `copy_weights`; a wanted layer that could not be replaced.
    """
    made: dict[int, tf.keras.layers.Layer] = {}

    def replace(layer: tf.keras.layers.Layer) -> tf.keras.layers.Layer | None:
        if not wanted(layer):
            return None
        made[id(layer)] = make(layer)
        return made[id(layer)]

    def inner(layer: tf.keras.layers.Layer) -> list[tf.keras.layers.Layer]:
        layers = layer._flatten_layers(include_self=False)
        return [one for one in layers if not is_model(one) and wanted(one)]

    copy, pairs = clone(model, replace, inside=lambda layer: bool(inner(layer)), plain=plain)
    if model.built and not copy.built:
        building.run(copy, building.specification(model))
    copy_weights(pairs)
    present = {id(layer) for layer in copy._flatten_layers()}
    for layer in inner(model):
        if id(made.get(id(layer))) not in present:
            raise InputError(
                f"layer {layer.name!r} must be made in the constructor of what holds it, and held in an attribute, "
                "list or dict there: it could not be replaced."
            )
    return copy


def _kind(layer: tf.keras.layers.Layer) -> str:
    return "model" if is_model(layer) else "layer"


def _own(layer: tf.keras.layers.Layer) -> list[tf.Variable]:
    return [*layer._trainable_weights, *layer._non_trainable_weights]


def _made_again(layer: tf.keras.layers.Layer) -> tf.keras.layers.Layer:
    try:
        return type(layer).from_config(layer.get_config())
    except Exception as error:
        raise InputError(
            f"{_kind(layer)} {layer.name!r} of class {type(layer).__name__} must be one that from_config(get_config()) "
            f"makes again, but this failed: {error}"
        ) from error


def _replace_attributes(
    source: tf.keras.layers.Layer,
    target: tf.keras.layers.Layer,
    copied: Callable[[tf.keras.layers.Layer], tf.keras.layers.Layer],
) -> None:
    """Gives `target` copies of the layers that `source` holds in attributes, and in lists and dicts there."""

    def holds(value: Any) -> bool:
        if isinstance(value, dict):
            return any(map(holds, value.values()))
        if isinstance(value, list | tuple):
            return any(map(holds, value))
        return isinstance(value, tf.keras.layers.Layer) and not isinstance(value, tf.keras.metrics.Metric)

    def copy(value: Any) -> Any:
        if not holds(value):
            return value
        if isinstance(value, dict):
            return {key: copy(item) for key, item in value.items()}
        return [copy(item) for item in value] if isinstance(value, list | tuple) else copied(value)

    for name, value in list(vars(source).items()):
        if name.startswith(("_self_", "_keras_api", "_obj_")) or name in ("_layers", "_metrics"):
            continue
        if holds(value):
            setattr(target, name, copy(value))
