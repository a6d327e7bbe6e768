"""A Larq layer with zeros in its quantized kernel."""

from typing import Any

import larq
import tensorflow as tf

from larq_equalbits._errors import InputError
from larq_equalbits._keras.cloning import input_shape_of
from larq_equalbits._keras.layers import KERNELS, filter_axes, quantizer_arguments, rebuilt
from larq_equalbits._keras.quantizers import copied
from larq_equalbits.pruning import masks, schedules
from larq_equalbits.pruning.quantizer import CRITERIA, Pruned, check_choice
from larq_equalbits.pruning.state import Choosing
from larq_equalbits.pruning.updates import notifying

_OF_LAYER = ("kernel", "depthwise_kernel", "pointwise_kernel", "bias", "input_quantizer", *KERNELS)


def is_pruned(layer: Any) -> bool:
    """Whether `layer` has a kernel that is pruned, wrapped or stripped."""
    return isinstance(layer, PrunedBinary) or any(
        isinstance(getattr(layer, name), Pruned) for name in quantizer_arguments(layer)
    )


# Keras reads what is inside a wrapper such as TimeDistributed by the bare name of the class.
@larq.utils.register_keras_custom_object
@tf.keras.utils.register_keras_serializable("larq_equalbits")
class PrunedBinary(Choosing):
    r"""A Larq layer whose binary kernels have a fraction of zeros.

    The kernel is \(m(w) \cdot q(w)\): what the layer's own quantizer q yields where a weight survives, else 0. No
    callback is needed. The layer given is copied, configuration and weights, and stays as it was; the copy is `layer`,
    and the wrapper takes its name. A separable layer has both kernels pruned.

    Criteria, all of which, but a mask, choose again at every call:

    - "rank" (Equal Bits): of n weights the lowest int((1-s)/2*n) get -1, those from int((1+s)/2*n) on +1, those
      between 0. With another ratio r of `bi_half` than 0.5 int(s*n) become 0, and ceil(r*m) of the other m +1.
    - "magnitude": the int(s*n) smallest magnitudes become 0.
    - "score" (MPT): the kernel w is frozen; a score for every weight is learned, initially uniform within
      1/sqrt(fan_in); the int(s*n) smallest |score| of the layer become 0; the others are
      sign(w) * sum(|w| m) / kept. The gradient of |score| is that of the kernel times w, as in the authors' code.
    - a mask: an array of 0 (pruned) and 1 of the kernel's shape, a dict of them by kernel name for a separable
      layer, or a callable that makes one from the kernel's initial latent weights (numpy) when the layer is built. The
      fraction of zeros is then the mask's, whatever `sparsity` says.

    Under the first two and under a mask, pruned weights keep learning with the quantizer's gradient. `bi_half`
    inside splits the survivors of every filter in its ratio, whatever the criterion.

    The schedule runs on the number of updates that an optimizer has applied to this layer, counted in a
    variable of the layer by way of the kernel's constraint, which every optimizer calls once per update. So it is
    the optimizer's step in `fit` and in a loop of one's own, not the number of forward passes: accumulated
    gradients count once, and a step that loss scaling skips does not count. The count is saved with the layer
    (.keras, .h5, SavedModel, checkpoints), so a resumed run goes on where it was, with a new optimizer
    too. A layer with `trainable=False` stands still, but under scope "network" the others go on and decide with it.
    With a constant sparsity nothing is counted.

    `weights` are those of the wrapped layer, so `larq.models.summary` counts what is deployed (2 bits a
    weight); `variables`, `get_weights` and whatever saves also hold scores, step and threshold.

    Args:
        layer: a Larq layer with a kernel quantizer of 1 bit.
        sparsity: fraction of zeros in [0, 1) to reach; may be None with a schedule that has a final one,
            and with a mask.
        criterion: "rank", "magnitude", "score", a 0/1 array, a dict of arrays, or a callable.
        granularity: "weight", or "filter" for whole filters: those of the smallest mean magnitude (of weights,
            or of scores) become zero, the others are binary. A filter is all weights that share the last index;
            of a depthwise kernel the last two (channel and multiplier), of a transposed convolution the one
            before the last (output).
        scope: among which weights the choice is made: "filter", or "layer". None is "filter", but "layer"
            for scores and whole filters. ("network" is for `prune`.)
        schedule: None for a constant sparsity, or a `Polynomial` or `CubicRamp`.
        **kwargs: as for any Keras layer.

    Raises:
        InputError: a sparsity outside [0, 1), a layer without a binary kernel quantizer, one that is pruned
            already, a mask that is not 0/1 or not of the kernel's shape (once the layer is built), an unknown
            criterion, granularity or scope, or a scope that does not go with them.

    Examples:
        >>> layer = PrunedBinary(lq.layers.QuantDense(2, kernel_quantizer="bi_half"), sparsity=0.5)
        >>> layer(tf.ones((1, 8))).shape
        TensorShape([1, 2])
    """

    def __init__(
        self,
        layer: tf.keras.layers.Layer,
        sparsity: float | None = None,
        criterion: Any = "rank",
        granularity: str = "weight",
        scope: str | None = None,
        schedule: Any = None,
        **kwargs: Any,
    ) -> None:
        name = getattr(layer, "name", repr(layer))
        self._check_layer(layer, name)
        try:
            given_mask = not isinstance(criterion, str)
            if given_mask and sparsity is None and schedule is None:
                sparsity = 0.0
            target, schedule = schedules.resolve(sparsity, schedule)
            kind = "mask" if given_mask else criterion
            scope = check_choice(kind, granularity, scope, CRITERIA if given_mask else CRITERIA[:-1])
        except InputError as error:
            raise InputError(f"Layer {name!r}: {error}") from None

        def pruned(argument: str, inner: Any) -> Pruned:
            return Pruned(
                copied(inner, as_built=True),
                sparsity=target,
                # A mask is known once the kernel is, and need not be of whole filters.
                criterion="magnitude" if given_mask else kind,
                granularity="weight" if given_mask else granularity,
                scope=scope,
                filter_axes=filter_axes(layer, KERNELS[argument][0]),
                metrics=getattr(inner, "_custom_metrics", None),
            )

        kwargs.setdefault("name", layer.name)
        kwargs.setdefault("trainable", layer.trainable)
        kwargs.setdefault("dtype", layer.dtype_policy)
        # A copied quantizer may have weights, and HDF5 files need their names to differ between layers.
        with tf.name_scope(kwargs["name"]):
            super().__init__(rebuilt(layer, pruned), target, kind, scope, schedule, **kwargs)
        kernels = [KERNELS[argument][0] for argument in self._arguments]
        self._masks = masks.Given(name, criterion, kernels) if given_mask else None
        weights = layer.get_weights() if layer.built else None
        # A function, because Keras would wrap arrays and try to save them.
        self._take_weights = lambda: weights
        self.granularity = granularity
        shape = input_shape_of(layer) if layer.built else None
        if shape is not None:
            with tf.name_scope(self.name):
                self.build(shape)

    @staticmethod
    def _check_layer(layer: Any, name: str) -> None:
        if not isinstance(layer, tf.keras.layers.Layer) or not quantizer_arguments(layer):
            if isinstance(layer, PrunedBinary):
                raise InputError(
                    f"layer {name!r} is pruned already: strip it first, or prune the plain layer."
                )
            raise InputError(
                f"layer {name!r} must be a Larq layer with a kernel quantizer, but got {layer!r}."
            )
        if is_pruned(layer):
            raise InputError(f"layer {name!r} is pruned already: its quantizer yields zeros.")
        for argument in quantizer_arguments(layer):
            if getattr(getattr(layer, argument), "precision", None) != 1:
                raise InputError(
                    f"layer {name!r}: {argument} must have a precision of 1 bit, but got {getattr(layer, argument)!r}."
                )

    def build(self, input_shape: Any = None) -> None:
        """Builds the wrapped layer, and what the criterion and the schedule keep.

        Raises:
            InputError: a mask that is not of the kernel's shape or not 0/1.
        """
        if self.built:
            return
        counted = self.criterion != "score" and self._needs_updates
        notified = [KERNELS[self._arguments[0]][1]] if counted else []
        with notifying(self.layer, notified, self._updated):
            self.layer.build(input_shape)
        self.layer.built = True
        weights = self._take_weights()
        if weights is not None:
            self.layer.set_weights(weights)
            self._take_weights = lambda: None
        self._add_state()
        for argument in self._arguments:
            if self._masks is not None:
                quantizer, latent = getattr(self.layer, argument), self._latent(argument)
                mask = self._masks.of(KERNELS[argument][0], tf.keras.backend.get_value(latent))
                quantizer.criterion, quantizer.mask = "mask", mask
            self._bind(argument)
        super().build(input_shape)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """What the wrapped layer computes with its pruned kernel."""
        return self.layer(inputs)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """That of the wrapped layer."""
        return self.layer.compute_output_shape(input_shape)

    def stripped(self) -> tf.keras.layers.Layer:
        """A plain Larq layer that computes the same, with the weights; unbuilt where this is.

        Its quantizer is a `Pruned` with the present sparsity where that decides, with the present mask otherwise.

        Raises:
            InputError: a layer with scores or a mask that is not built.
        """
        if not self.built and self.criterion in ("mask", "score"):
            raise InputError(f"layer {self.name!r} must be built before it is stripped.")

        def plain(argument: str, quantizer: Pruned) -> Pruned:
            config = quantizer.get_config()
            config["sparsity"] = float(self.current_sparsity())
            if self.criterion == "score" or self.scope == "network":
                keep = quantizer.keep(self._seen(argument)).numpy()
                config.update(criterion="mask", mask=masks.pack(keep), scope="layer")
            if self.criterion == "score":
                config["scale"] = "kept_mean"
            return Pruned.from_config(config)

        with tf.name_scope(self.name):
            layer = rebuilt(self.layer, plain)
            if self.built:
                layer.build_from_config(self.get_build_config())
        if self.built:
            layer.built = True
            layer.set_weights(self.layer.get_weights())
        return layer

    def __getattr__(self, name: str) -> Any:
        """The wrapped layer's kernels, bias and quantizers."""
        if name in _OF_LAYER and "layer" in self.__dict__:
            return getattr(self.layer, name)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def get_config(self) -> dict[str, Any]:
        """The arguments that make an equal layer.

        Raises:
            InputError: a callable mask before the layer is built.
        """
        config = super().get_config()
        layer = tf.keras.utils.serialize_keras_object(self.layer)
        for argument in self._arguments:
            inner = getattr(self.layer, argument).quantizer
            layer["config"][argument] = larq.quantizers.serialize(inner)
        return {
            **config,
            "layer": layer,
            "sparsity": self.sparsity,
            "criterion": self._criterion_config(),
            "granularity": self.granularity,
            "scope": self.scope,
            "schedule": schedules.serialize(self.schedule),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "PrunedBinary":
        """The layer that `get_config` describes."""
        layer = tf.keras.utils.deserialize_keras_object(config["layer"], custom_objects=custom_objects)
        return cls(**{**config, "layer": layer})

    def _criterion_config(self) -> Any:
        if self._masks is None:
            return self.criterion
        if not self.built:
            return self._masks.config()
        return {KERNELS[name][0]: masks.pack(getattr(self.layer, name).mask) for name in self._arguments}
