"""What a file is compared with: a Keras model in whose signs no rounding decides."""

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Concatenate, ParamSpec, TypeVar

import tensorflow as tf

from larq_equalbits._keras.building import eagerly
from larq_equalbits.export.lowering import lower
from larq_equalbits.export.rewrites import scale_before_sign, sign_of_input

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


@contextlib.contextmanager
def exact_signs(model: tf.keras.Model) -> Iterator[None]:
    """Within the block, `model` takes the signs of whole numbers where it would take those of their products.

    A binary kernel with a scale, straight before a sign, adds floats in Keras: a sum that is 0 becomes rounding noise,
    whose sign means nothing. Models without such a layer stay as they are. See `rewrites.scale_before_sign`.
    """
    with contextlib.ExitStack() as stack:
        lowering = stack.enter_context(lower(model, [sign_of_input.apply, scale_before_sign.apply]))
        if any(leaf.rewrite for leaf in lowering.leaves.values()):
            stack.enter_context(eagerly())
        else:
            stack.close()
        yield


def of_exact_signs(
    compare: Callable[Concatenate[tf.keras.Model, _Arguments], _Result],
) -> Callable[Concatenate[tf.keras.Model, _Arguments], _Result]:
    """`compare`, a function of a model and more, with the model under `exact_signs`."""

    @functools.wraps(compare)
    def compared(model: tf.keras.Model, *args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Result:
        if not (isinstance(model, tf.keras.Model) and model.built):
            return compare(model, *args, **kwargs)
        with exact_signs(model):
            return compare(model, *args, **kwargs)

    return compared
