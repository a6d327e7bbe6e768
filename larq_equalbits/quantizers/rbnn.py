"""RBNN: filters are rotated towards their signs before the sign is taken."""

import math
from typing import Any

import numpy as np
import tensorflow as tf

from larq_equalbits._errors import InputError
from larq_equalbits._ranking import standardization
from larq_equalbits._ranking.compiled import by_xla
from larq_equalbits._ranking.ranking import filter_size
from larq_equalbits.quantizers.base import EstimatorQuantizer, Scale, register

_UPDATES = 3

_gradient = standardization.gradient(tf.ones_like)


def factors(size: int) -> tuple[int, int]:
    """The two factors of `size` nearest to each other, the smaller one first: the sides of the rotations."""
    first = next(a for a in range(math.isqrt(size), 0, -1) if size % a == 0)
    return first, size // first


def fit_rotations(
    matrices: np.ndarray, left: np.ndarray, right: np.ndarray, updates: int = _UPDATES
) -> tuple[np.ndarray, np.ndarray]:
    """Rotations R1, R2 that raise sum |R1' X R2| over the `matrices` X.

    Each update fixes the signs B = sign(R1' X R2), then solves for R1 and for R2 in turn: each is an
    orthogonal Procrustes problem, answered by a singular value decomposition, so the sum never falls.

    Args:
        matrices: (filters, a, b).
        left: R1 to start from, orthogonal (a, a).
        right: R2 to start from, orthogonal (b, b).
        updates: how often.
    """
    for _ in range(updates):
        signs = np.where(left.T @ matrices @ right >= 0, 1.0, -1.0)
        u, _, vt = np.linalg.svd(np.einsum("fij,fkj->ik", matrices, signs @ right.T, optimize=True))
        left = u @ vt
        u, _, vt = np.linalg.svd(np.einsum("fji,fjk->ik", matrices, left @ signs, optimize=True))
        right = u @ vt
    return left, right


@by_xla
def _slope(rotated: tf.Tensor, t: tf.Tensor, k: tf.Tensor) -> tf.Tensor:
    return tf.maximum(k * (math.sqrt(2.0) * t - t**2 * tf.abs(rotated)), 0.0)


@tf.custom_gradient
def _sign(rotated: tf.Tensor, t: tf.Tensor, k: tf.Tensor) -> Any:
    def estimate(upstream: tf.Tensor) -> tuple[tf.Tensor, None, None]:
        return upstream * _slope(rotated, t, k), None, None

    one = tf.ones([], rotated.dtype)
    return tf.where(rotated >= 0, one, -one), estimate


@tf.custom_gradient
def _standardized(filters: tf.Tensor) -> Any:
    def through(upstream: tf.Tensor) -> tf.Tensor:
        return _gradient(filters, upstream, *standardization.moments(filters, 0.0))

    return standardization.standardized(filters), through


@register("rbnn")
class RBNN(EstimatorQuantizer):
    r"""Sign of the rotated, standardized filter.

    A standardized filter \(w\) of n = a * b weights, reshaped to a matrix (a, b) with a and b as near to each
    other as n allows, becomes \(w + |\sin\theta| \, (R_1^\top W R_2 - w)\), and its sign the code, +1 at
    zero. \(\theta\) is learned for every filter and starts at pi/2; the rotations \(R_1\) (a, a) and \(R_2\)
    (b, b) belong to the kernel, start as random rotations and are renewed by `rotate`, which
    `callbacks.ErrorDecay` calls when an epoch is due. The number of +1 is whatever sign gives.

    Gradient: \(\partial q / \partial x = \max(k (\sqrt 2 t - t^2 |x|), 0)\) at the rotated weight x. The
    rotation part passes none, as in the authors' code, so it goes on through the standardization alone and,
    times the rotation part, to \(\theta\).

    A filter is all weights that share the last index of (height, width, in, out) or (in, out). Angles and
    rotations are weights of the layer and are saved with it; freezing the kernel for the device folds them in. So each
    layer needs an object of its own.

    Args:
        t: sharpness of the estimator, a positive number.
        k: its height, a positive number; None for max(1 / t, 1).
        seed: of the random rotations to start from.
        scale: factor of the codes: None, a positive number, "fan_in" for sqrt(2 / n), or "mean_abs".
        **kwargs: `metrics` as for Larq's quantizers, and `name`.

    Raises:
        InputError: a `t` or `k` that is no positive number, an unknown scale; when called, a kernel of rank
            0 or 1, with an empty filter, or of other filters than the first one.

    Reference:
        Lin et al., Rotated Binary Neural Network, NeurIPS 2020.

    Examples:
        >>> print(np.unique(RBNN()(tf.random.normal((3, 3, 8, 2)))))
        [-1.  1.]
    """

    def __init__(
        self, t: float = 0.01, k: float | None = None, seed: int = 0, scale: Scale = None, **kwargs: Any
    ) -> None:
        super().__init__(t=t, k=k, scale=scale, **kwargs)
        self.seed = seed

    def build(self, input_shape: Any) -> None:
        """Makes the angles and the rotations for a kernel of `input_shape`."""
        filter_size(input_shape)
        *inner, outputs = tf.TensorShape(input_shape).as_list()
        sides = factors(math.prod(inner))
        self.angle = self.add_weight(
            "angle",
            shape=[outputs],
            dtype=tf.float32,
            initializer=tf.keras.initializers.Constant(math.pi / 2),
            experimental_autocast=False,
        )
        self.left, self.right = (
            self.add_weight(
                name,
                shape=[side, side],
                dtype=tf.float32,
                initializer=tf.keras.initializers.Orthogonal(seed=self.seed + offset),
                trainable=False,
                experimental_autocast=False,
            )
            for offset, (name, side) in enumerate(zip(("left", "right"), sides, strict=True))
        )
        super().build(input_shape)

    @property
    def non_trainable_weights(self) -> list[tf.Variable]:
        """The rotations, which HDF5 files would lose if they were hidden as Larq's metrics are; frozen angles too."""
        return [*super().non_trainable_weights, self.left, self.right] if self.built else []

    def codes(self, kernel: tf.Tensor) -> tf.Tensor:
        """Sign of the rotated weights."""
        z = _standardized(tf.reshape(kernel, [-1, kernel.shape[-1]]))
        own = [self.left.shape[0] * self.right.shape[0], self.angle.shape[0]]
        if z.shape != own:
            raise InputError(
                f"kernel must have {own[1]} filters of {own[0]} weights, for which this rbnn was built, but got "
                f'shape {kernel.shape.as_list()}: give each layer an object of its own, as its name "rbnn" does.'
            )
        left, right = tf.cast(self.left, z.dtype), tf.cast(self.right, z.dtype)
        matrices = tf.reshape(tf.transpose(z), [-1, left.shape[0], right.shape[0]])
        turned = tf.matmul(tf.matmul(left, matrices, transpose_a=True), right)
        turned = tf.transpose(tf.reshape(turned, [z.shape[1], z.shape[0]]))
        share = tf.abs(tf.sin(tf.cast(self.angle, z.dtype)))
        rotated = z + share * tf.stop_gradient(turned - z)
        signs = _sign(rotated, tf.convert_to_tensor(self.t), tf.convert_to_tensor(self.k))
        return tf.cast(tf.reshape(signs, kernel.shape), kernel.dtype)

    def rotate(self, kernel: np.ndarray) -> None:
        """Renews the rotations for the latent `kernel`, by three updates; they stay where it has NaN or infinity."""
        z = np.asarray(_standardized(tf.reshape(tf.convert_to_tensor(kernel), [-1, kernel.shape[-1]])))
        if not np.isfinite(z).all():
            return
        matrices = z.T.reshape(-1, self.left.shape[0], self.right.shape[0])
        left, right = fit_rotations(matrices, self.left.numpy(), self.right.numpy())
        self.left.assign(left)
        self.right.assign(right)

    def get_config(self) -> dict[str, Any]:
        """The arguments that make an equal quantizer."""
        return {**super().get_config(), "seed": self.seed}
