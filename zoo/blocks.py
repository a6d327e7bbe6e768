"""What all networks of the zoo share: how a layer becomes binary, and how its arguments are checked."""

import dataclasses
import inspect
from collections.abc import Callable, Iterable
from typing import Any

import larq
import tensorflow as tf

from larq_equalbits._errors import invalid, is_number, is_whole
from larq_equalbits._keras.quantizers import copied, resolve

Builder = Callable[..., tf.keras.Model]

_CLIPPED = (
    larq.quantizers.SteSign,
    larq.quantizers.ApproxSign,
    larq.quantizers.SwishSign,
    larq.quantizers.MagnitudeAwareSign,
    larq.quantizers.SteTern,
    larq.quantizers.SteHeaviside,
)


def is_clipped(quantizer: Any) -> bool:
    """Whether a weight outside [-1, 1] gets no gradient from `quantizer`."""
    return isinstance(quantizer, _CLIPPED) and getattr(quantizer, "clip_value", 1.0) is not None


def check_arguments(input_shape: Any, num_classes: Any, width: Any, least: int) -> tuple[int, int, int]:
    """The input shape as integers, once all arguments are found right.

    Args:
        input_shape: (height, width, channels) of an image.
        num_classes: 2 or more.
        width: factor of the number of filters, above 0.
        least: the smallest height and width that the network can take, in pixels.

    Raises:
        InputError: for any of them that is not as said.
    """
    sizes = tuple(input_shape) if isinstance(input_shape, Iterable) else ()
    if len(sizes) != 3 or not all(is_whole(size, 0) for size in sizes):
        raise invalid("input_shape", input_shape, "(height, width, channels), all known")
    height, wide, channels = map(int, sizes)
    if min(height, wide) < least or channels < 1:
        raise invalid("input_shape", input_shape, f"at least {least}x{least} pixels with a channel or more")
    if not is_whole(num_classes, 2):
        raise invalid("num_classes", num_classes, "an integer of 2 or more")
    if not (is_number(width) and width > 0):
        raise invalid("width", width, "a number above 0")
    return height, wide, channels


@dataclasses.dataclass(frozen=True)
class Style:
    """How the layers of a network are made.

    Attributes:
        num_classes: of the classifier.
        quantizer: of the kernels, None for a float network.
        input_quantizer: of the activations, None for float activations.
        kernel_regularizer: of every kernel, binary or not.
        width: factor of the number of filters.
        binarize_first_last: whether the first and the last layer have binary kernels too.
        affine: whether normalizations learn a scale and an offset.
    """

    num_classes: int
    quantizer: Any
    input_quantizer: Any
    kernel_regularizer: Any
    width: float
    binarize_first_last: bool
    affine: bool

    def filters(self, count: int) -> int:
        """`count` filters times the width, at least one."""
        return max(1, round(count * self.width))

    def _kernel(self) -> dict[str, Any]:
        # Weights outside [-1, 1] get no gradient from a clipped estimator, so that they are kept inside.
        return {
            "kernel_quantizer": copied(self.quantizer),
            "kernel_constraint": "weight_clip" if is_clipped(self.quantizer) else None,
            "kernel_regularizer": self.kernel_regularizer,
            "use_bias": False,
        }

    def convolution(self, x: Any, filters: int, size: Any, name: str, *, strides: int = 1) -> Any:
        """A convolution by a binary kernel, with an output of the input's size divided by `strides`.

        Binary activations are padded with +1, which is a code: zeros would be a third symbol, which keeps LCE
        from passing packed bits from one convolution to the next.
        """
        return larq.layers.QuantConv2D(
            filters,
            size,
            strides=strides,
            padding="same",
            pad_values=0.0 if self.input_quantizer is None else 1.0,
            input_quantizer=copied(self.input_quantizer),
            name=name,
            **self._kernel(),
        )(x)

    def unit(self, x: Any, filters: int, size: Any, name: str, *, strides: int = 1) -> Any:
        """convolution, normalization, and where activations are float a ReLU."""
        return self._activate(self.convolution(x, filters, size, name, strides=strides), name)

    def first(self, x: Any, filters: int, size: Any, name: str, *, strides: int = 1) -> Any:
        """The unit that takes the image, whose convolution is float, or binary with float input."""
        if self.binarize_first_last:
            kernel = self._kernel()
            layer = larq.layers.QuantConv2D(
                filters, size, strides=strides, padding="same", name=name, **kernel
            )
            return self._activate(layer(x), name)
        return self._activate(self.float_convolution(x, filters, size, name, strides=strides), name)

    def dense_unit(self, x: Any, units: int, name: str) -> Any:
        """The same with a dense layer."""
        layer = larq.layers.QuantDense(
            units, input_quantizer=copied(self.input_quantizer), name=name, **self._kernel()
        )
        return self._activate(layer(x), name)

    def _activate(self, x: Any, name: str) -> Any:
        x = self.normalize(x, f"{name}_norm")
        return x if self.input_quantizer is not None else tf.keras.layers.ReLU(name=f"{name}_relu")(x)

    def float_convolution(self, x: Any, filters: int, size: Any, name: str, *, strides: int = 1) -> Any:
        """A convolution by a float kernel, for the first layer and for shortcuts."""
        return tf.keras.layers.Conv2D(
            filters,
            size,
            strides=strides,
            padding="same",
            use_bias=False,
            kernel_regularizer=self.kernel_regularizer,
            name=name,
        )(x)

    def normalize(self, x: Any, name: str) -> Any:
        """A batch normalization whose moving averages keep 0.9 at each step, as in the papers' code.

        Keras' own 0.99 takes some 500 steps to forget how it started: a short training is then tested with wrong
        means.
        """
        learned = {"center": self.affine, "scale": self.affine}
        return tf.keras.layers.BatchNormalization(momentum=0.9, name=name, **learned)(x)

    def classify(self, x: Any) -> Any:
        """The probabilities of the classes, float32 under mixed precision too."""
        if self.binarize_first_last:
            layer = larq.layers.QuantDense(
                self.num_classes,
                input_quantizer=copied(self.input_quantizer),
                name="classifier",
                **self._kernel(),
            )
            # Sums of -1 and +1 are too large for a softmax to learn from.
            x = self.normalize(layer(x), "classifier_norm")
        else:
            regularizer = self.kernel_regularizer
            x = tf.keras.layers.Dense(self.num_classes, kernel_regularizer=regularizer, name="classifier")(x)
        return tf.keras.layers.Activation("softmax", dtype="float32", name="probabilities")(x)


_ARGUMENTS = """

Args:
    input_shape: (height, width, channels) of an image, {least} pixels or more each way.
    num_classes: number of classes, 2 or more.
    quantizer: of the kernels, by name or as an object (each layer gets its own copy); None for the float twin of the
        network, whose activations are float too.
    binarize_activations: False for binary weights with float activations (1/32).
    input_quantizer: of binary activations.
    kernel_regularizer: of every kernel.
    width: factor of the number of filters.
    binarize_first_last: give the first and the last layer binary kernels too, as multi-prize tickets do.
    affine: let normalizations learn a scale and an offset, which multi-prize tickets do without.

Returns:
    A functional Keras model from images to probabilities.

Raises:
    InputError: an argument that is not as said, an unknown quantizer.
"""


def network(least: int) -> Callable[[Callable[[Any, Style], Any]], Builder]:
    """Makes a builder of the function that turns an image and a `Style` into probabilities.

    Args:
        least: the smallest height and width in pixels that the network can take.
    """

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
        ) -> tf.keras.Model:
            shape = check_arguments(input_shape, num_classes, width, least)
            kernels = resolve(quantizer)
            # Binary activations with float kernels have no fast kernel anywhere.
            binary_input = binarize_activations and kernels is not None
            activations = resolve(input_quantizer, "input_quantizer") if binary_input else None
            regularizer = tf.keras.regularizers.get(kernel_regularizer)
            style = Style(num_classes, kernels, activations, regularizer, width, binarize_first_last, affine)
            image = tf.keras.Input(shape, name="image")
            return tf.keras.Model(image, body(image, style), name=body.__name__)

        build.__name__ = build.__qualname__ = body.__name__
        build.__module__ = body.__module__
        build.__doc__ = inspect.cleandoc(body.__doc__ or "") + _ARGUMENTS.format(least=least)
        return build

    return decorate
