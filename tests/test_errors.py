import contextlib
import json
import math

import numpy as np
import pytest
from small import small

import larq_equalbits as lqe
from larq_equalbits import _choices
from larq_equalbits._errors import InputError, is_number, is_whole
from larq_equalbits.callbacks import BitLogger, schedules
from larq_equalbits.export import gate
from larq_equalbits.optimizers import SGD
from larq_equalbits.training import Settings
from larq_equalbits.tuning import HyperModel


@pytest.mark.parametrize(
    ("value", "whole"),
    [(3, True), (np.int64(3), True), (np.uint8(3), True), (3.0, False), (np.float32(3), False)],
)
def test_numbers_and_the_whole_ones_among_them(value, whole):
    assert is_number(value) and is_whole(value, 3) == whole and not is_whole(value, 4)


@pytest.mark.parametrize("value", [math.nan, math.inf, True, np.True_, "3", None, 1j, np.ones(1, int)])
def test_what_is_no_number(value):
    assert not is_number(value) and not is_whole(value, 0)


def test_numpys_numbers_are_taken_everywhere():
    five = np.int64(5)
    assert BitLogger(every=five, histogram_freq=five).every == 5
    schedules.ErrorDecay(epochs=five, rotate_every=five)
    settings = Settings(epochs=five, batch_size=np.int32(64), seed=five, learning_rate=np.float32(0.5))
    assert json.loads(settings.to_json())["learning_rate"] == 0.5
    assert SGD(np.float64(0.1), l2=np.float32(0.5)).l2 == 0.5
    assert lqe.optimizers.ConstantRate(np.float32(0.5), five).warmup_steps == 5
    assert json.dumps(HyperModel(seeds=[five]).describe()["seeds"]) == "[5]"
    model = lqe.zoo.conv2(input_shape=(8, 8, 1), num_classes=five, width=np.float32(0.125))
    assert model.output_shape == (None, 5)


NUMBERS = [1e308, 1e-320, 10**400, math.nan, math.inf, -1, "a", None, True]


@pytest.mark.parametrize(
    ("make", "fine"),
    [
        (lambda value: lqe.quantizers.BiHalf(positive_ratio=value), [1e-320]),
        (lambda value: lqe.quantizers.BiHalf(scale=value), [None]),
        (lambda value: lqe.quantizers.IRNet(t=value), []),
        (lambda value: lqe.quantizers.IRNet(t=1.0, k=value), [None]),
        (lambda value: lqe.callbacks.ErrorDecay(value, 10.0), []),
        (lambda value: lqe.callbacks.ErrorDecay(rotate_every=value), [10**400]),
        (lambda value: lqe.callbacks.ErrorDecay(epochs=value), [10**400, None]),
        (lambda value: lqe.callbacks.PercentileDecay(value), [1e-320]),
        (lambda value: lqe.callbacks.BitLogger(every=value), [10**400]),
        (lambda value: lqe.callbacks.BitLogger(histogram_freq=value), [10**400]),
        (lambda value: lqe.pruning.Polynomial(0, 10, power=value), []),
        (lambda value: lqe.pruning.Polynomial(0, value), []),
        (lambda value: lqe.pruning.prune(small(), value), [1e-320]),
        (lambda value: lqe.optimizers.SGD(0.1, l2=value), [1e-320]),
        (lambda value: lqe.optimizers.StepDecay(value, [1]), [1e-320]),
        (lambda value: lqe.optimizers.StepDecay(0.1, [5, value]), []),
        (lambda value: lqe.optimizers.StepDecay(0.1, [1], value), []),
        (lambda value: lqe.optimizers.CosineDecay(0.1, value), [1e-320]),
        (lambda value: lqe.tuning.objective({"a": value, "loss": 1.0}, "min"), []),
        (lambda value: _choices.check_ratios([value]), [1e-320, True]),
        (lambda value: lqe.theory.angle_bounds(value, 0), []),
        (lambda value: lqe.constraints.EqualBits(value), [1e-320]),
        (lambda value: lqe.constraints.MagnitudeClip(value), [1e-320]),
        (lambda value: lqe.device.Settings(repeats=value), []),
        (lambda value: lqe.device.Settings(timeout=value), [1e-320]),
        (lambda value: gate.check(value, None), [1e-320]),
        (lambda value: lqe.tuning.RandomSearch(out="unused", max_trials=value), []),
    ],
)
def test_a_number_that_none_can_use_is_refused_by_whatever_takes_it(make, fine):
    taken = []
    for value in NUMBERS:
        with contextlib.suppress(InputError):
            make(value)
            taken.append(value)
    assert taken == fine
