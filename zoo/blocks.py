"""What all networks of the zoo share: how a layer becomes binary, and how its arguments are checked."""

import dataclasses
from typing import Any

import larq
import tensorflow as tf

from larq_equalbits.errors import InputError, invalid
from larq_equalbits.quantizers._base import BinaryQuantizer


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
    try:
        height, wide, channels = (int(size) for size in input_shape)
    except (TypeError, ValueError):
        raise invalid("input_shape", input_shape, "(height, width, channels), all known") from None
    if min(height, wide) < least or channels < 1:
        raise invalid("input_shape", input_shape, f"at least {least}x{least} pixels with a channel or more")
    if isinstance(num_classes, bool) or not isinstance(num_classes, int) or num_classes < 2:
        raise invalid("num_classes", num_classes, "an integer of 2 or more")
    if isinstance(width, bool) or not isinstance(width, int | float) or not 0 < width < float("inf"):
        raise invalid("width", width, "a number above 0")
    return height, wide, channels


def resolve_quantizer(quantizer: Any, argument: str = "quantizer") -> Any:
    """The quantizer that a name or an object stands for; None stays None.

    Raises:
        InputError: an unknown name, listing the known ones.
    """
    try:
        return larq.quantizers.get_kernel_quantizer(quantizer)
    except (ValueError, TypeError):
        objects = tf.keras.utils.get_custom_objects()
        known = sorted(
            name
            for name, value in objects.items()
            if name.islower() and isinstance(value, type) and issubclass(value, larq.quantizers.Quantizer)
        )
        raise invalid(argument, quantizer, f"a quantizer or one of {known}") from None


@dataclasses.dataclass(frozen=True)
class Style:
    """How the binary layers of a network are made.

    Attributes:
        quantizer: of the kernels, None for a float network.
        input_quantizer: of the activations, None for float activations.
        kernel_regularizer: of every kernel, binary or not.
        width: factor of the number of filters.
    """

    quantizer: Any
    input_quantizer: Any
    kernel_regularizer: Any = None
    width: float = 1.0

    @classmethod
    def of(
        cls, quantizer: Any, binarize_activations: bool, input_quantizer: Any, kernel_regularizer: Any, width: float
    ) -> "Style":
        """Checks the arguments of a network's builder."""
        if binarize_activations and quantizer is None:
            raise InputError(
                "binarize_activations must be False where quantizer is None: binary activations with float kernels "
                "have no fast kernel anywhere."
            )
        activations = resolve_quantizer(input_quantizer, "input_quantizer") if binarize_activations else None
        return cls(resolve_quantizer(quantizer), activations, kernel_regularizer, width)

    def filters(self, count: int) -> int:
        """`count` filters times the width, at least one."""
        return max(1, round(count * self.width))

    def _copy(self, quantizer: Any) -> Any:
        # One object in several layers would share its name, its metrics and its state.
        if isinstance(quantizer, tf.keras.layers.Layer):
            return type(quantizer).from_config(quantizer.get_config())
        return quantizer

    def kernel(self) -> dict[str, Any]:
        """The arguments of a Larq layer that concern its kernel."""
        # Weights outside [-1, 1] get no gradient from a clipped estimator, so that they are kept inside.
        clipped = self.quantizer is not None and not isinstance(self.quantizer, BinaryQuantizer)
        return {
            "kernel_quantizer": self._copy(self.quantizer),
            "kernel_constraint": "weight_clip" if clipped else None,
            "kernel_regularizer": self.kernel_regularizer,
            "use_bias": False,
        }

    def convolution(self, filters: int, size: int, *, strides: int = 1, name: str | None = None) -> Any:
        """A convolution whose output has the input's size divided by `strides`.

        Binary activations are padded with +1, which is a code: zeros would be a third symbol, that keeps LCE
        from passing packed bits from one convolution to the next.
        """
        return larq.layers.QuantConv2D(
            filters,
            size,
            strides=strides,
            padding="same",
            pad_values=0.0 if self.input_quantizer is None else 1.0,
            input_quantizer=self._copy(self.input_quantizer),
            name=name,
            **self.kernel(),
        )

    def dense(self, units: int, name: str | None = None) -> Any:
        """A dense layer with a binary kernel and, where activations are binary, binary input."""
        return larq.layers.QuantDense(
            units, input_quantizer=self._copy(self.input_quantizer), name=name, **self.kernel()
        )

    def float_convolution(self, filters: int, size: int, *, strides: int = 1, name: str | None = None) -> Any:
        """A float convolution, for the first layer and for shortcuts."""
        return tf.keras.layers.Conv2D(
            filters,
            size,
            strides=strides,
            padding="same",
            use_bias=False,
            kernel_regularizer=self.kernel_regularizer,
            name=name,
        )

    def classifier(self, num_classes: int) -> list[tf.keras.layers.Layer]:
        """The float layer that ends a network, and its softmax (float32 under mixed precision too)."""
        return [
            tf.keras.layers.Dense(num_classes, kernel_regularizer=self.kernel_regularizer, name="classifier"),
            tf.keras.layers.Activation("softmax", dtype="float32", name="probabilities"),
        ]
