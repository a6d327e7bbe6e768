"""How the sparsity grows over the optimizer's steps."""

from typing import Any

import tensorflow as tf

from larq_equalbits._errors import InputError, invalid, is_number, is_positive


def check_sparsity(argument: str, value: Any) -> float:
    """`value` as a float in [0, 1); InputError for anything else, NaN and truth values among them."""
    if not (is_number(value) and 0 <= value < 1):
        raise invalid(argument, value, "a number from 0 (kept whole) to below 1")
    return float(value)


@tf.keras.utils.register_keras_serializable("larq_equalbits")
class Polynomial:
    r"""A ramp from `initial` to `final` between two steps, constant before and after.

    \(s(t) = s_f + (s_i - s_f) \left(1 - \frac{t - t_0}{t_1 - t_0}\right)^p\)

    Args:
        begin_step: the optimizer's step t_0 at which the ramp leaves `initial`, 0 or more.
        end_step: the step t_1, beyond `begin_step`, from which `final` holds.
        initial: sparsity in [0, 1) before the ramp.
        final: sparsity in [0, 1) after it; None for the `sparsity` of the layer.
        power: the exponent p, positive; 1 is a line, more prunes early.

    Raises:
        InputError: steps that are no integers in this order, a sparsity outside [0, 1), a power of 0 or less.

    Examples:
        >>> float(Polynomial(0, 100).at(50, sparsity=0.5))
        0.25
    """

    def __init__(
        self,
        begin_step: int,
        end_step: int,
        initial: float = 0.0,
        final: float | None = None,
        power: float = 1.0,
    ) -> None:
        for argument, step in (("begin_step", begin_step), ("end_step", end_step)):
            if not is_number(step) or step != int(step) or step < 0:
                raise invalid(argument, step, "an integer from 0")
        if end_step <= begin_step:
            raise InputError(f"end_step must be beyond begin_step {begin_step}, but got {end_step}.")
        if not is_positive(power):
            raise invalid("power", power, "a positive number")
        self.begin_step = int(begin_step)
        self.end_step = int(end_step)
        self.initial = check_sparsity("initial", initial)
        self.final = None if final is None else check_sparsity("final", final)
        self.power = float(power)

    def at(self, step: Any, sparsity: float) -> tf.Tensor:
        """The sparsity at `step` as a float64 scalar, where `sparsity` stands for a `final` of None."""
        final = tf.constant(sparsity if self.final is None else self.final, tf.float64)
        initial = tf.constant(self.initial, tf.float64)
        past = tf.cast(step, tf.float64) - self.begin_step
        left = 1.0 - tf.clip_by_value(past / (self.end_step - self.begin_step), 0.0, 1.0)
        return tf.where(past <= 0, initial, final + (initial - final) * left**self.power)

    def get_config(self) -> dict[str, Any]:
        """The arguments that make an equal schedule."""
        return {
            "begin_step": self.begin_step,
            "end_step": self.end_step,
            "initial": self.initial,
            "final": self.final,
            "power": self.power,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Polynomial":
        """The schedule that `get_config` describes."""
        return cls(**config)


@tf.keras.utils.register_keras_serializable("larq_equalbits")
class CubicRamp(Polynomial):
    """`Polynomial` of power 3: prunes fast while there is much to remove.

    The arguments are those of `Polynomial` without `power`.

    Reference:
        Zhu and Gupta, To prune, or not to prune, 2017, Eq. 1.

    Examples:
        >>> round(float(CubicRamp(0, 100).at(50, sparsity=0.8)), 4)
        0.7
    """

    def __init__(
        self, begin_step: int, end_step: int, initial: float = 0.0, final: float | None = None
    ) -> None:
        super().__init__(begin_step, end_step, initial, final, power=3.0)

    def get_config(self) -> dict[str, Any]:
        """The arguments that make an equal schedule."""
        config = super().get_config()
        del config["power"]
        return config


@tf.keras.utils.register_keras_serializable("larq_equalbits")
class Constant:
    """The same sparsity at every step; the layer then keeps no count of steps.

    Args:
        final: sparsity in [0, 1); None for the `sparsity` of the layer.

    Raises:
        InputError: a sparsity outside [0, 1).

    Examples:
        >>> float(Constant(0.5).at(100, sparsity=0.75))
        0.5
    """

    def __init__(self, final: float | None = None) -> None:
        self.final = None if final is None else check_sparsity("final", final)

    def at(self, step: Any, sparsity: float) -> tf.Tensor:
        """The sparsity as a float64 scalar; `step` does not matter."""
        return tf.constant(sparsity if self.final is None else self.final, tf.float64)

    def get_config(self) -> dict[str, Any]:
        """The arguments that make an equal schedule."""
        return {"final": self.final}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Constant":
        """The schedule that `get_config` describes."""
        return cls(**config)


# The name that TF-MOT and Keras users look for.
ConstantSparsity = Constant
Schedule = Constant | Polynomial

_CLASSES = {each.__name__: each for each in (Constant, Polynomial, CubicRamp)}


def serialize(schedule: Schedule) -> dict[str, Any]:
    """`schedule` as a dict for JSON, the same in all of Keras' formats."""
    return {"class_name": type(schedule).__name__, "config": schedule.get_config()}


def deserialize(config: dict[str, Any]) -> Schedule:
    """The schedule that `serialize` was given; InputError for an unknown class."""
    if config.get("class_name") not in _CLASSES:
        raise invalid("schedule", config, f"None, or of one of the classes {sorted(_CLASSES)}")
    return _CLASSES[config["class_name"]].from_config(config["config"])


def resolve(sparsity: float | None, schedule: Any) -> tuple[float, Schedule]:
    """The sparsity to reach and the way there, from the arguments of a pruned layer.

    Raises:
        InputError: no sparsity anywhere, two that differ, an object that is no schedule.
    """
    if isinstance(schedule, dict):
        schedule = deserialize(schedule)
    schedule = Constant() if schedule is None else schedule
    if not isinstance(schedule, Constant | Polynomial):
        raise invalid("schedule", schedule, "None, or a Constant, Polynomial or CubicRamp of pruning")
    if sparsity is None:
        if schedule.final is None:
            raise invalid(
                "sparsity", sparsity, "a number from 0 to below 1, unless the schedule has a final one"
            )
        return schedule.final, schedule
    sparsity = check_sparsity("sparsity", sparsity)
    if schedule.final not in (None, sparsity):
        raise InputError(f"sparsity must be the schedule's final {schedule.final}, but got {sparsity}.")
    return sparsity, schedule
