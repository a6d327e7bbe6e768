import larq as lq
import numpy as np
import pytest
import tensorflow as tf

from larq_equalbits import schedules
from larq_equalbits.errors import InputError


def test_error_decay_is_eq_9_of_ir_net():
    assert schedules.error_decay(0.0) == pytest.approx((1e-3, 1e3))
    assert schedules.error_decay(0.5) == pytest.approx((0.1, 10.0))
    assert schedules.error_decay(1.0) == pytest.approx((10.0, 1.0))


def test_the_percentile_falls_to_zero():
    assert [schedules.falling_percentile(e / 4) for e in range(6)] == [15, 11.25, 7.5, 3.75, 0, 0]


def fit(model, callback, epochs, initial_epoch=0):
    images = np.ones((4, 4), np.float32)
    model.fit(images, images, epochs=epochs, initial_epoch=initial_epoch, verbose=0, callbacks=[callback])


def test_resumed_training_goes_on_where_it_stopped():
    layer = lq.layers.QuantDense(4, kernel_quantizer="rbnn", kernel_constraint="magnitude_clip")
    model = tf.keras.Sequential([tf.keras.Input((4,)), layer])
    model.compile("sgd", "mse")
    fit(model, schedules.ErrorDecay(epochs=10), 3)
    assert layer.kernel_quantizer.t.numpy() == pytest.approx(schedules.error_decay(0.2)[0])
    fit(model, schedules.ErrorDecay(epochs=10), 8, initial_epoch=7)
    assert layer.kernel_quantizer.t.numpy() == pytest.approx(schedules.error_decay(0.7)[0])
    fit(model, schedules.PercentileDecay(epochs=10), 8, initial_epoch=7)
    assert layer.kernel_constraint.percentile.numpy() == pytest.approx(4.5)


def test_nothing_to_move_is_an_error():
    model = tf.keras.Sequential([tf.keras.Input((4,)), lq.layers.QuantDense(4, kernel_quantizer="bi_half")])
    model.compile("sgd", "mse")
    with pytest.raises(InputError, match="ir_net or rbnn"):
        fit(model, schedules.ErrorDecay(), 1)


@pytest.mark.parametrize(
    "make",
    [
        lambda: schedules.ErrorDecay(t_min=0),
        lambda: schedules.ErrorDecay(rotate_every=0),
        lambda: schedules.ErrorDecay(epochs=True),
        lambda: schedules.PercentileDecay(start=50),
        lambda: schedules.PercentileDecay(epochs=0),
    ],
)
def test_bad_arguments_are_refused(make):
    with pytest.raises(InputError, match="must be"):
        make()
