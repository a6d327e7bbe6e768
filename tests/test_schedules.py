import larq as lq
import numpy as np
import pytest
import tensorflow as tf

from larq_equalbits import pruning
from larq_equalbits._errors import InputError
from larq_equalbits.callbacks import schedules


def test_error_decay_is_eq_9_of_ir_net():
    assert schedules.error_decay(0.0) == pytest.approx((1e-3, 1e3))
    assert schedules.error_decay(0.5) == pytest.approx((0.1, 10.0))
    assert schedules.error_decay(1.0) == schedules.error_decay(3.0) == pytest.approx((10.0, 1.0))


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
    pruned = pruning.prune(model, 0.5, "magnitude", schedule=pruning.CubicRamp(0, 4))
    pruned.compile("sgd", "mse")
    for one, inner in ((model, layer), (pruned, pruned.layers[0].layer)):
        fit(one, schedules.PercentileDecay(epochs=10), 8, initial_epoch=7)
        assert inner.kernel_constraint.percentile.numpy() == pytest.approx(4.5)


@pytest.mark.parametrize("strip", [False, True])
def test_estimators_move_and_rotate_inside_pruned_kernels(strip):
    layers = [lq.layers.QuantDense(4, kernel_quantizer=name, name=name) for name in ("ir_net", "rbnn")]
    model = pruning.prune(tf.keras.Sequential([tf.keras.Input((4,)), *layers]), 0.5)
    model = pruning.strip(model) if strip else model
    inner = [model.get_layer(name).kernel_quantizer.quantizer for name in ("ir_net", "rbnn")]
    before = inner[1].left.numpy()
    model.compile("sgd", "mse")
    fit(model, schedules.ErrorDecay(epochs=10), 3)
    for quantizer in inner:
        assert quantizer.t.numpy() == pytest.approx(schedules.error_decay(0.2)[0])
    assert np.abs(inner[1].left.numpy() - before).max() > 1e-3


@pytest.mark.parametrize("change", [{"trainable": False}, {"kernel": [[np.nan] * 4] * 4}])
def test_rotations_of_a_frozen_layer_or_of_no_numbers_stand_still(change):
    layer = lq.layers.QuantDense(4, kernel_quantizer="rbnn")
    model = tf.keras.Sequential([tf.keras.Input((4,)), layer])
    before = layer.kernel_quantizer.left.numpy()
    layer.trainable = change.get("trainable", True)
    layer.kernel.assign(change.get("kernel", layer.kernel.latent_variable))
    model.compile("sgd", "mse")
    fit(model, schedules.ErrorDecay(epochs=10), 3)
    np.testing.assert_array_equal(layer.kernel_quantizer.left, before)
    assert layer.kernel_quantizer.t.numpy() == pytest.approx(schedules.error_decay(0.2)[0])


def before_each_batch(layer, read, schedule):
    """What `read` gives before each of four batches, in two epochs of a model that the first of them builds."""
    model, seen = tf.keras.Sequential([layer]), []
    model.compile("sgd", "mse")
    reader = tf.keras.callbacks.LambdaCallback(on_batch_begin=lambda batch, logs: seen.append(float(read())))
    images = np.ones((8, 4), np.float32)
    model.fit(images, images, batch_size=4, epochs=2, verbose=0, callbacks=[schedule, reader])
    return seen


@pytest.mark.parametrize("quantizer", ["ir_net", "rbnn"])
def test_a_model_that_the_first_batch_builds_starts_at_t_min(quantizer):
    layer = lq.layers.QuantDense(4, kernel_quantizer=quantizer)
    second = schedules.error_decay(0.1)[0]
    found = before_each_batch(layer, layer.kernel_quantizer.t.numpy, schedules.ErrorDecay(epochs=10))
    assert found == pytest.approx([1e-3, 1e-3, second, second])


def test_a_model_that_the_first_batch_builds_is_clamped_from_the_start():
    layer = lq.layers.QuantDense(4, kernel_quantizer="siman", kernel_constraint="magnitude_clip")
    decay = schedules.PercentileDecay(5.0, epochs=10)
    found = before_each_batch(layer, layer.kernel_constraint.percentile.numpy, decay)
    assert found == pytest.approx([5, 5, 4.5, 4.5])


@pytest.mark.parametrize("built", [True, False])
@pytest.mark.parametrize(
    ("make", "words"),
    [(schedules.ErrorDecay, "ir_net or rbnn"), (schedules.PercentileDecay, "magnitude_clip")],
)
def test_nothing_to_move_is_an_error_in_unbuilt_models_too(make, words, built):
    layer = lq.layers.QuantDense(4, kernel_quantizer="bi_half")
    model = tf.keras.Sequential([tf.keras.Input((4,)), layer] if built else [layer])
    model.compile("sgd", "mse")
    with pytest.raises(InputError, match=words):
        fit(model, make(), 1)
