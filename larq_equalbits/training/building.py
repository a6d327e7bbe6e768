"""Puts a run together: its data, its network (quantizer, constraints, learned scores), its optimizer and callbacks."""

import importlib.util
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

from larq_equalbits import data, optimizers
from larq_equalbits._errors import InputError, invalid
from larq_equalbits._keras import cloning
from larq_equalbits._keras.layers import KERNELS, quantizer_arguments
from larq_equalbits._keras.quantizers import resolve
from larq_equalbits.callbacks import BitLogger
from larq_equalbits.training import recipes
from larq_equalbits.training.settings import Settings

Builder = Callable[..., tf.keras.Model]
# Where the batch of one's own images is ours to choose: the least steps of an epoch, and the least images of a step.
_STEPS = 8
_LEAST = 4
# Layers and functions that leave the numbers which they take as they are.
_RESHAPING = (tf.keras.layers.InputLayer, tf.keras.layers.Reshape, tf.keras.layers.Flatten)
_KEEPING = frozenset({"linear", "reshape", "cast", "identity", "squeeze"})


def given(source: data.Data | Sequence[tf.data.Dataset]) -> data.Data:
    """What `training.train` was given as `data`, as a `Data`.

    Raises:
        InputError: neither a `Data` nor a pair of tf.data sets, or as `data.from_datasets`.
    """
    if isinstance(source, data.Data):
        return source
    if isinstance(source, tuple | list) and len(source) == 2:
        return data.from_datasets(*source)
    raise InputError(
        f"data must be a data.Data or a pair (train, test) of tf.data sets, but got {type(source).__name__}."
    )


def fitted(settings: Settings, *, download: bool = False) -> Settings:
    """`settings` with a smaller batch than the recipe's where one's own images are few and no batch was asked for.

    An epoch then has `_STEPS` steps or more, of a power of 2 of images, `_LEAST` or more where there are so many.

    Raises:
        InputError: as `data.load`.

    Warns:
        UserWarning: the batch is smaller: how many images it has, and why.
    """
    if settings.batch_size is not None or settings.dataset in data.NAMES:
        return settings
    usual = settings.plan().batch_size
    count = images(settings.replace(batch_size=1), download=download).num_train
    if count >= _STEPS * usual:
        return settings
    size = 2 ** (min(count, max(_LEAST, count // _STEPS)).bit_length() - 1)
    warnings.warn(
        f"batch_size is {size} instead of the recipe's {usual}, as there are {count} training images.",
        stacklevel=3,
    )
    return settings.replace(batch_size=size)


def images(settings: Settings, *, download: bool = False) -> data.Data:
    """The data of a run; InputError as `data.load`."""
    return data.load(
        settings.dataset,
        batch_size=settings.plan().batch_size,
        seed=settings.seed,
        data_dir=settings.data_dir,
        augment=settings.augment,
        validation_fraction=settings.validation_fraction,
        train_images=settings.train_images,
        download=download,
        image_size=settings.image_size,
    )


def build(
    settings: Settings, plan: recipes.Recipe, images: data.Data, builder: Builder | None
) -> tf.keras.Model:
    """The network of a run, not yet compiled.

    Args:
        settings: name the network and its options.
        plan: of the recipe, the quantizer, the constraint of binary kernels and MPT's sparsity are used.
        images: the network has to take these and to tell their classes apart.
        builder: in place of the zoo's.

    Raises:
        InputError: an unknown network or quantizer, options that they do not have, or a network that does not
            fit the images.
    """
    options = settings.model_options
    quantizer = resolve(plan.quantizer, options=settings.quantizer_options)
    if builder is None:
        from larq_equalbits import zoo

        builder = zoo.get(settings.model)
        options = {**recipes.model_options(settings.recipe), **options}
    try:
        model = builder(
            input_shape=images.input_shape,
            num_classes=images.num_classes,
            # An alias makes a quantizer for each layer.
            quantizer=quantizer if settings.quantizer_options else plan.quantizer,
            binarize_activations=settings.binarize_activations,
            **options,
        )
    except InputError:
        raise
    except (TypeError, ValueError, OverflowError) as error:
        # The last two come of numbers that no layer can be made with.
        reason = str(error).rstrip(".")
        raise InputError(
            f"model_options must suit the network {settings.model!r}, but {settings.model_options} do not: {reason}."
        ) from error
    if tuple(model.output_shape[1:]) != (images.num_classes,):
        raise InputError(
            f"model must have {images.num_classes} outputs for the classes of {images.name}, but "
            f"{model.name!r} has the output shape {model.output_shape}."
        )
    if tuple(model.input_shape[1:]) != images.input_shape:
        raise InputError(
            f"model must take images of shape {images.input_shape} as in {images.name}, but {model.name!r} "
            f"takes {model.input_shape[1:]}."
        )
    if plan.constraint is not None:
        model = constrained(model, plan.constraint)
    if plan.score_sparsity is not None:
        from larq_equalbits import pruning

        model = pruning.prune(model, plan.score_sparsity, "score")
    return model


def constrained(model: tf.keras.Model, constraint: str) -> tf.keras.Model:
    """A copy of `model`, which knows its input shape, with its weights, and a constraint on every quantized kernel.

    A subclassed model, which makes its layers itself, is without the constraint once it is loaded from a file.

    Raises:
        InputError: an unknown constraint, or a subclassed model that its configuration cannot make again.
    """
    try:
        tf.keras.constraints.get(constraint)
    except ValueError as error:
        raise invalid(
            "constraint", constraint, "the alias of a constraint, such as magnitude_clip"
        ) from error
    replaced: cloning.Pairs = []

    def replace(layer: tf.keras.layers.Layer) -> tf.keras.layers.Layer | None:
        constraints = {KERNELS[argument][1]: constraint for argument in quantizer_arguments(layer)}
        if not constraints:
            return None
        made = type(layer).from_config({**layer.get_config(), **constraints})
        replaced.append((layer, made, False))
        return made

    copy, pairs = cloning.clone(model, replace)
    if not copy.built:
        copy(tf.keras.Input(model.input_shape[1:]))
    cloning.copy_weights([*pairs, *replaced])
    return copy


def schedule(plan: recipes.Recipe, steps: int) -> tf.keras.optimizers.schedules.LearningRateSchedule:
    """The learning rate as a function of the optimizer's step, `steps` of which are an epoch."""
    warmup = round(plan.warmup_epochs * steps)
    if plan.schedule in ("cosine", "cosine_by_epoch"):
        hold = 1 if plan.schedule == "cosine" else steps
        return optimizers.CosineDecay(plan.learning_rate, plan.epochs * steps, warmup, hold)
    if plan.schedule == "step":
        milestones = [round(milestone * steps) for milestone in plan.milestones]
        return optimizers.StepDecay(plan.learning_rate, milestones, plan.factor, warmup)
    return optimizers.ConstantRate(plan.learning_rate, warmup)


def compile_model(model: tf.keras.Model, plan: recipes.Recipe, rate: Any) -> None:
    """Compiles `model` with the plan's optimizer, the learning rate `rate` and weight decay for what decays."""
    spared = optimizers.spared(model, plan.decay)
    if plan.optimizer == "adam":
        optimizer: Any = optimizers.Adam(rate, l2=plan.weight_decay, spared=spared)
    else:
        optimizer = optimizers.SGD(rate, momentum=plan.momentum, l2=plan.weight_decay, spared=spared)
    loss = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=not _answers_probabilities(model))
    model.compile(optimizer, loss, metrics=["accuracy"])
    # Built by the first step instead, its variables would have other names.
    model.optimizer.build(model.trainable_variables)


def _answers_probabilities(model: tf.keras.Model) -> bool:
    """Whether a softmax is the last in `model`, but for what changes the shape or the type of its output alone."""
    for layer in _from_the_last(model):
        # A layer's activation; Keras makes a layer of a function of TensorFlow's too.
        function = getattr(layer, "activation", getattr(layer, "function", None))
        name = getattr(function, "__name__", None)
        # Keras' own, one's own by that name, or TensorFlow's.
        if isinstance(layer, tf.keras.layers.Softmax) or name in ("softmax", "softmax_v2"):
            return True
        if not (isinstance(layer, _RESHAPING) or (name in _KEEPING and not layer.weights)):
            return False
    return False


def _from_the_last(model: tf.keras.Model) -> Iterator[tf.keras.layers.Layer]:
    for layer in reversed(model.layers):
        if isinstance(layer, tf.keras.Model):
            yield from _from_the_last(layer)
        else:
            # What a wrapper wraps.
            yield getattr(layer, "layer", layer)


def own_callbacks(plan: recipes.Recipe, model: tf.keras.Model, logs: Path | None) -> list[Any]:
    """The callbacks that the plan needs for `model`; with the folder `logs`, those that write there for TensorBoard.

    Raises:
        InputError: an estimator or a percentile for a model that has nothing of the kind.
    """
    from larq_equalbits.callbacks import schedules

    moving: list[Any] = []
    if plan.estimator is not None:
        t_min, t_max = plan.estimator
        moving.append(schedules.ErrorDecay(t_min, t_max, epochs=plan.epochs))
    if plan.percentile is not None:
        moving.append(schedules.PercentileDecay(plan.percentile, epochs=plan.epochs))
    for callback in moving:
        callback.set_model(model)
        # Now, and not when training begins: nothing is written yet.
        callback.check()
    if logs is None or not importlib.util.find_spec("tensorboard"):
        return [BitLogger(), *moving]
    board = tf.keras.callbacks.TensorBoard(os.fspath(logs), write_graph=False, profile_batch=0)
    return [BitLogger(log_dir=logs), *moving, board]
