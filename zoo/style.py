"""How the layers of a network are made: what all networks of the zoo share."""

import dataclasses
from typing import Any

import larq
import tensorflow as tf
from larq_equalbits.zoo.arguments import is_clipped
from larq_equalbits.zoo.forms import Form
from larq_equalbits.zoo.standardization import SampleStandardization

from larq_equalbits._keras.quantizers import copied


@dataclasses.dataclass(frozen=True)
class Style:
    """How the layers of a network are made.

    Attributes:
        num_classes: of the classifier.
        quantizer: of the kernels, None for a float network.
        input_quantizer: of the activations, None for float activations.
        kernel_regularizer: of every kernel, binary or not.
        initializer: of every kernel, as Keras' configuration.
        classifier_initializer: of the classifier's kernel.
        width: factor of the number of filters.
        binarize_first_last: whether the first and the last layer have binary kernels too.
        affine: whether normalizations learn a scale and an offset.
        standardizes: whether binary activations are standardized per sample before their sign.
        form: the order of layers.
        classifier_bias: initializer of the classifier's bias; None: uniform within 1/sqrt(fan_in), as in PyTorch.
    """

    num_classes: int
    quantizer: Any
    input_quantizer: Any
    kernel_regularizer: Any
    initializer: Any
    classifier_initializer: Any
    width: float
    binarize_first_last: bool
    affine: bool
    standardizes: bool
    form: Form
    classifier_bias: Any = None

    def filters(self, count: int) -> int:
        """`count` filters times the width, at least one."""
        return max(1, round(count * self.width))

    def _kernel(self) -> dict[str, Any]:
        # Weights outside [-1, 1] get no gradient from a clipped estimator, so they are kept inside.
        return {
            "kernel_quantizer": copied(self.quantizer),
            "kernel_constraint": "weight_clip" if is_clipped(self.quantizer) else None,
            "kernel_initializer": tf.keras.initializers.get(self.initializer),
            "kernel_regularizer": self.kernel_regularizer,
            "use_bias": False,
        }

    def _standardize(self, x: Any, name: str) -> Any:
        return SampleStandardization(name=f"{name}_standardization")(x) if self.standardizes else x

    def convolution(self, x: Any, filters: int, size: Any, name: str, *, strides: int = 1) -> Any:
        """A convolution by a binary kernel, with an output of the input's size divided by `strides`.

        Where the form pads with zeros, an image that is smaller than the window is padded with +1 all the same: LCE
        answers wrongly there with zeros.
        """
        window = (size, size) if isinstance(size, int) else size
        fits = x.shape[1] >= window[0] and x.shape[2] >= window[1]
        padded = 0.0 if self.input_quantizer is None else self.form.pad_value if fits else 1.0
        return larq.layers.QuantConv2D(
            filters,
            size,
            strides=strides,
            padding="same",
            pad_values=padded,
            input_quantizer=copied(self.input_quantizer),
            name=name,
            **self._kernel(),
        )(self._standardize(x, name))

    def unit(
        self,
        x: Any,
        filters: int,
        size: Any,
        name: str,
        *,
        strides: int = 1,
        pool: str = "",
        activation: str = "",
    ) -> Any:
        """convolution, normalization, activation, and a 2x2 pooling of the name `pool` where the form has it.

        The convolution is called `name`, with which the other layers' names begin. `activation` is that of binary
        networks; where activations are float, it is a ReLU.
        """
        return self._finish(self.convolution(x, filters, size, name, strides=strides), name, pool, activation)

    def first(
        self, x: Any, filters: int, size: Any, name: str, *, strides: int = 1, activation: str = ""
    ) -> Any:
        """The unit that takes the image, whose convolution is float, or binary with float input."""
        if self.binarize_first_last:
            shape = {"strides": strides, "padding": "same", "name": name}
            x = larq.layers.QuantConv2D(filters, size, **shape, **self._kernel())(x)
        else:
            x = self.float_convolution(x, filters, size, name, strides=strides)
        return self._finish(x, name, "", activation)

    def dense_unit(self, x: Any, units: int, name: str) -> Any:
        """The same with a dense layer."""
        layer = larq.layers.QuantDense(
            units, input_quantizer=copied(self.input_quantizer), name=name, **self._kernel()
        )
        return self._finish(layer(self._standardize(x, name)), name, "", "")

    def _finish(self, x: Any, name: str, pool: str, activation: str) -> Any:
        halve = tf.keras.layers.MaxPooling2D(name=pool) if pool else lambda x: x
        x = halve(x) if self.form.pools_first else x
        x = self.normalize(x, f"{name}_norm")
        x = self.activate(x, activation if self.input_quantizer is not None else "relu", name)
        return x if self.form.pools_first else halve(x)

    def activate(self, x: Any, activation: str, name: str) -> Any:
        """`x` after "prelu", "relu", "hard_tanh", or as it is after ""."""
        if activation == "prelu":
            return self.prelu(f"{name}_prelu")(x)
        if activation == "relu":
            return tf.keras.layers.ReLU(name=f"{name}_relu")(x)
        return tf.keras.layers.Activation(activation, name=f"{name}_{activation}")(x) if activation else x

    def prelu(self, name: str) -> tf.keras.layers.Layer:
        """A PReLU with one slope a channel.

        Keras starts the slope at 0: after the stem no sign would then be negative, and nothing before the second stage
        would get a gradient. 0.25 is where its authors, and the papers' code, start.
        """
        slope = tf.keras.initializers.Constant(0.25)
        return tf.keras.layers.PReLU(slope, shared_axes=[1, 2], name=name)

    def float_convolution(self, x: Any, filters: int, size: Any, name: str, *, strides: int = 1) -> Any:
        """A convolution by a float kernel, for the first layer and for shortcuts."""
        return tf.keras.layers.Conv2D(
            filters,
            size,
            strides=strides,
            padding="same",
            use_bias=False,
            kernel_initializer=tf.keras.initializers.get(self.initializer),
            kernel_regularizer=self.kernel_regularizer,
            name=name,
        )(x)

    def normalize(self, x: Any, name: str) -> Any:
        """A batch normalization by PyTorch's numbers: moving averages keep 0.9 at each step, the epsilon is 1e-5.

        Keras' own 0.99 takes some 500 steps to forget how it started: a short training is then tested with wrong
        means.
        """
        learned = {"center": self.affine, "scale": self.affine}
        return tf.keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=name, **learned)(x)

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
            x = self.normalize(layer(self._standardize(x, "classifier")), "classifier_norm")
        else:
            limit = float(x.shape[-1]) ** -0.5
            x = tf.keras.layers.Dense(
                self.num_classes,
                kernel_initializer=tf.keras.initializers.get(self.classifier_initializer),
                bias_initializer=self.classifier_bias or tf.keras.initializers.RandomUniform(-limit, limit),
                kernel_regularizer=self.kernel_regularizer,
                name="classifier",
            )(x)
        return tf.keras.layers.Activation("softmax", dtype="float32", name="probabilities")(x)
