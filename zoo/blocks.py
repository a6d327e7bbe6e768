"""Makes a builder, with the arguments that all networks share, of the function that says a network's layers."""

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any, Protocol

import tensorflow as tf
from larq_equalbits.zoo import forms
from larq_equalbits.zoo.arguments import check_arguments, checked_initializer
from larq_equalbits.zoo.style import Style

from larq_equalbits._keras.quantizers import resolve
from larq_equalbits.quantizers.activations import fast


class Builder(Protocol):
    """What every network of the zoo is, with its arguments for editors and type checkers."""

    __name__: str

    def __call__(
        self,
        *,
        input_shape: tuple[int, int, int],
        num_classes: int,
        quantizer: Any = ...,
        binarize_activations: bool = ...,
        input_quantizer: Any = ...,
        kernel_regularizer: Any = ...,
        width: float = ...,
        binarize_first_last: bool = ...,
        affine: bool = ...,
        form: str = ...,
        standardize_activations: bool | None = ...,
        kernel_initializer: Any = ...,
    ) -> tf.keras.Model:
        """Builds the network."""


_ARGUMENTS = """

Args:
    input_shape: (height, width, channels) of an image, {least} pixels or more each way.
    num_classes: number of classes, 2 or more.
    quantizer: of the kernels, by name or as an object (each layer gets its own copy); None for the float twin of the
        network, whose activations are float too.
    binarize_activations: False for binary weights with float activations (1/32).
    input_quantizer: of binary activations; for Larq's own "ste_sign" and "approx_sign" the networks take
        `quantizers.FastSteSign` and `FastApproxSign`, which compute the same.
    kernel_regularizer: of every kernel.
    width: factor of the number of filters.
    binarize_first_last: give the first and the last layer binary kernels too, as multi-prize tickets do.
    affine: let normalizations learn a scale and an offset, which multi-prize tickets do without.
    form: whose order of layers, padding and initial weights: "equal-bits", "siman" or "ir-net" as in the code of these
        papers, or "fused", in which LCE fuses every normalization into the convolution before it.
    standardize_activations: standardize each sample's activations before their sign; None for what the form has
        ("siman" alone does).
    kernel_initializer: of every kernel but depthwise ones, a Keras initializer or its name; None for the form's own.

Returns:
    A functional Keras model from images to probabilities.

Raises:
    InputError: an argument that is not as said, an unknown quantizer.
"""


def network(least: int) -> Callable[[Callable[[Any, Style], Any]], Builder]:
    """Makes a builder of what turns an image, of `least` pixels or more each way, and a `Style` into probabilities."""

    def decorate(body: Callable[[Any, Style], Any]) -> Builder:
        def build(
            *,
            input_shape: tuple[int, int, int],
            num_classes: int,
            quantizer: Any = "bi_half",
            binarize_activations: bool = True,
            input_quantizer: Any = "ste_sign",
            kernel_regularizer: Any = None,
            width: float = 1.0,
            binarize_first_last: bool = False,
            affine: bool = True,
            form: str = "equal-bits",
            standardize_activations: bool | None = None,
            kernel_initializer: Any = None,
        ) -> tf.keras.Model:
            shape = check_arguments(input_shape, num_classes, width, least)
            kernels = resolve(quantizer)
            # Binary activations with float kernels have no fast kernel anywhere.
            binary_input = binarize_activations and kernels is not None
            activations = fast(resolve(input_quantizer, "input_quantizer")) if binary_input else None
            regularizer = tf.keras.regularizers.get(kernel_regularizer)
            order = forms.get(form)
            initializer = checked_initializer(kernel_initializer)
            style = Style(
                num_classes=num_classes,
                quantizer=kernels,
                input_quantizer=activations,
                kernel_regularizer=regularizer,
                initializer=initializer or order.initializer,
                classifier_initializer=initializer or order.initializer,
                width=width,
                binarize_first_last=binarize_first_last,
                affine=affine,
                standardizes=activations is not None
                and (order.standardizes if standardize_activations is None else standardize_activations),
                form=order if initializer is None else dataclasses.replace(order, vgg_initializers=None),
            )
            image = tf.keras.Input(shape, name="image")
            return tf.keras.Model(image, body(image, style), name=body.__name__)

        build.__name__ = build.__qualname__ = body.__name__
        build.__module__ = body.__module__
        build.__doc__ = inspect.cleandoc(body.__doc__ or "") + _ARGUMENTS.format(least=least)
        return build

    return decorate
