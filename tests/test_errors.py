import json

import numpy as np
import pytest

from larq_equalbits import optimizers, zoo
from larq_equalbits._errors import is_number, is_whole
from larq_equalbits.callbacks import BitLogger, schedules
from larq_equalbits.optimizers import SGD
from larq_equalbits.training import Settings
from larq_equalbits.tuning import HyperModel


@pytest.mark.parametrize("value", [3, np.int64(3), np.uint8(3)])
def test_whole_numbers(value):
    assert is_whole(value, 3) and not is_whole(value, 4)
    assert is_number(value)


@pytest.mark.parametrize("value", [3.0, True, np.True_, "3", None, np.float32(3), np.ones(1, int)])
def test_what_is_no_whole_number(value):
    assert not is_whole(value, 0)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), True, np.True_, "3", None, 1j])
def test_what_is_no_number(value):
    assert not is_number(value)


def test_numpys_numbers_are_taken_everywhere():
    five = np.int64(5)
    assert BitLogger(every=five, histogram_freq=five).every == 5
    schedules.ErrorDecay(epochs=five, rotate_every=five)
    settings = Settings(epochs=five, batch_size=np.int32(64), seed=five, learning_rate=np.float32(0.5))
    assert json.loads(settings.to_json())["learning_rate"] == 0.5
    assert SGD(np.float64(0.1), l2=np.float32(0.5)).l2 == 0.5
    assert optimizers.ConstantRate(np.float32(0.5), five).warmup_steps == 5
    assert json.dumps(HyperModel(seeds=[five]).describe()["seeds"]) == "[5]"
    model = zoo.conv2(input_shape=(8, 8, 1), num_classes=five, width=np.float32(0.125))
    assert model.output_shape == (None, 5)
