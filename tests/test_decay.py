import larq as lq
import numpy as np
import pytest
import tensorflow as tf
from small import precision, stack

from larq_equalbits import optimizers
from larq_equalbits._choices import DECAYS
from larq_equalbits._errors import InputError

L2 = 0.01


@pytest.fixture
def model():
    return stack(
        lq.layers.QuantDense(5, kernel_quantizer="bi_half", name="binary"),
        tf.keras.layers.BatchNormalization(name="norm"),
        lq.layers.QuantDense(4, kernel_quantizer="rbnn", input_quantizer="ste_sign", name="learned"),
        tf.keras.layers.Dense(3, name="classifier"),
        shape=(6,),
    )


BINARY = {"binary/kernel:0", "learned/kernel:0"}


@pytest.mark.parametrize("policy", DECAYS)
def test_the_gradient_that_reaches_each_variable(model, policy):
    variables = optimizers.spared(model, policy)
    before = {variable.name: variable.numpy() for variable in model.trainable_variables}
    assert set(before) >= BINARY
    # A rate of 1 without momentum moves each variable by what reaches it.
    optimizer = optimizers.SGD(1.0, l2=L2, spared=variables)
    optimizer.apply_gradients([(tf.ones_like(variable), variable) for variable in model.trainable_variables])
    for variable in model.trainable_variables:
        name, value = variable.name, before[variable.name]
        spared = policy == "none" or (policy == "siman" and (name in BINARY or "rbnn" in name))
        expected = 1 + (0 if spared else L2) * value
        gradient = value - variable.numpy()
        np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=1e-6, err_msg=f"{policy} {name}")


def test_siman_spares_what_a_quantizer_learns(model):
    learned = {variable.name for variable in model.get_layer("learned").kernel_quantizer.trainable_variables}
    assert learned
    spared = {variable.name for variable in optimizers.spared(model, "siman")}
    assert spared == BINARY | learned


def submodels(quantizer):
    def submodel(name, layer):
        return tf.keras.Sequential([tf.keras.Input((6,)), layer], name=name)

    plain = submodel("A", tf.keras.layers.Dense(6, name="conv"))
    binary = submodel("B", lq.layers.QuantDense(3, kernel_quantizer=quantizer, name="conv", use_bias=False))
    return tf.keras.Sequential([tf.keras.Input((6,)), plain, binary])


def test_a_name_that_does_not_tell_what_decays_is_refused():
    model = submodels("bi_half")
    with pytest.raises(InputError, match="must have another name for one of its variables conv/kernel:0"):
        optimizers.spared(model, "siman")
    assert len(optimizers.spared(model, "none")) == 3
    assert optimizers.spared(model, "equal_bits") == []
    assert optimizers.spared(submodels(None), "siman") == []


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_wrapped_variables_are_known(policy):
    with precision(policy), tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        model = submodels("rbnn").layers[1]
    assert len(optimizers.spared(model, "siman")) == len(model.trainable_variables) > 1


REPLICAS = """
import larq, numpy as np, tensorflow as tf
from larq_equalbits import optimizers
from programs.train_small import replicas
with replicas(2).scope():
    layer = larq.layers.QuantDense(4, kernel_quantizer="bi_half", use_bias=False, input_shape=(8,))
    model = tf.keras.Sequential([layer])
    spared = [variable.name for variable in optimizers.spared(model, "siman")]
    model.compile(optimizers.SGD(0.1, l2=0.5, spared=spared), "mse")
copies = layer.kernel.latent_variable.values
before = [copy.numpy() for copy in copies]
model.fit(np.zeros((8, 8), "f"), np.zeros((8, 4), "f"), batch_size=8, verbose=0)
assert all((copy.numpy() == value).all() for copy, value in zip(copies, before, strict=True))
"""


def test_every_replica_spares_the_same(run_script):
    run_script(REPLICAS)


def test_momentum_sees_the_decayed_gradient():
    variable = tf.Variable([2.0])
    optimizer = optimizers.SGD(0.1, momentum=0.9, l2=0.5)
    velocity, expected = 0.0, 2.0
    for _ in range(3):
        optimizer.apply_gradients([(tf.constant([1.0]), variable)])
        velocity = 0.9 * velocity + (1.0 + 0.5 * expected)
        expected -= 0.1 * velocity
    np.testing.assert_allclose(variable.numpy(), [expected], rtol=1e-6)


def test_adam_sees_the_decayed_gradient():
    plain, decayed = tf.Variable([1.0, -2.0]), tf.Variable([1.0, -2.0])
    one, other = tf.keras.optimizers.Adam(0.1), optimizers.Adam(0.1, l2=0.5)
    for _ in range(3):
        one.apply_gradients([(0.3 + 0.5 * plain, plain)])
        other.apply_gradients([(tf.constant([0.3, 0.3]), decayed)])
    np.testing.assert_allclose(plain.numpy(), decayed.numpy(), rtol=1e-5)


@pytest.mark.parametrize("kind", [optimizers.SGD, optimizers.Adam])
def test_optimizers_survive_their_configuration(kind):
    optimizer = kind(0.1, l2=0.25, spared=["a:0"])
    again = tf.keras.optimizers.deserialize(tf.keras.optimizers.serialize(optimizer))
    assert type(again) is kind
    assert (again.l2, again.spared) == (0.25, {"a:0"})


def test_an_unknown_policy_is_named(model):
    with pytest.raises(InputError, match="spared must be a list"):
        optimizers.SGD(0.1, spared="binary/kernel:0")
    with pytest.raises(InputError, match="decay must be one of equal_bits, siman, none"):
        optimizers.spared(model, "most")
