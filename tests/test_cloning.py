"""Models copied with their layers pruned and stripped: wrappers, layers of layers, variables of a model's own."""

import larq
import numpy as np
import pytest
import tensorflow as tf
from small import stack

from larq_equalbits import pruning
from larq_equalbits._bits import kernels
from larq_equalbits._errors import InputError

L = tf.keras.layers
X = np.random.default_rng(0).normal(size=(4, 5, 6)).astype("float32")


def dense(name, units=6):
    return larq.layers.QuantDense(units, kernel_quantizer="bi_half", name=name)


def sparsities(model):
    return {kernel.name: float(np.mean(kernel.codes() == 0)) for kernel in kernels.quantized_kernels(model)}


@tf.keras.utils.register_keras_serializable("test_cloning")
class Block(L.Layer):
    """Two layers and a factor, as users group them."""

    def __init__(self, width=6, **kwargs):
        super().__init__(**kwargs)
        self.width = width
        # The same name as an argument of Larq's layers.
        self.kernel_quantizer = "bi_half"
        self.one = dense("one", width)
        self.rest = [dense("two"), L.LayerNormalization()]

    def build(self, input_shape):
        self.factor = self.add_weight("factor", (), initializer="ones")
        super().build(input_shape)

    def call(self, x):
        x = self.one(x)
        for part in self.rest:
            x = part(x)
        return x * self.factor

    def get_config(self):
        return {**super().get_config(), "width": self.width}


def wrapped():
    shared = dense("shared")
    return stack(
        dense("plain"),
        L.TimeDistributed(dense("inner"), name="steps"),
        Block(8, name="block"),
        L.TimeDistributed(tf.keras.Sequential([shared]), name="nested"),
        shared,
        shape=(5, 6),
    )


def test_layers_inside_wrappers_and_layers_are_pruned_and_stripped():
    model = wrapped()
    model.get_layer("block").factor.assign(7.0)
    pruned = pruning.prune(model, 0.5, "magnitude")
    assert list(sparsities(pruned)) == list(sparsities(model))
    assert set(sparsities(pruned).values()) == {0.5} and set(sparsities(model).values()) == {0.0}
    assert len(sparsities(model)) == 5
    np.testing.assert_equal(model.get_weights(), pruned.get_weights())
    stripped = pruning.strip(pruned)
    assert not any(isinstance(layer, pruning.PrunedBinary) for layer in stripped._flatten_layers())
    np.testing.assert_array_equal(stripped(X), pruned(X))
    with pytest.raises(InputError, match=r"pruned already"):
        pruning.prune(pruned, 0.5)


@pytest.mark.parametrize("suffix", [".keras", ".h5", ""])
def test_a_pruned_layer_is_saved_inside_a_wrapper(suffix, tmp_path):
    model = pruning.prune(stack(L.TimeDistributed(dense("inner")), shape=(5, 6)), 0.5)
    path = str(tmp_path / f"model{suffix}")
    model.save(path)
    np.testing.assert_array_equal(tf.keras.models.load_model(path)(X), model(X))


def test_weights_of_layers_inside_layers_load_into_a_model_pruned_alike(tmp_path):
    model, other = (pruning.prune(wrapped(), 0.5, "score") for _ in range(2))
    model.save_weights(tmp_path / "weights.h5")
    other.load_weights(tmp_path / "weights.h5")
    np.testing.assert_array_equal(other(X), model(X))


def test_what_is_skipped_inside_a_wrapper_stays():
    pruned = pruning.prune(wrapped(), 0.5, skip=("inner", "one", "two"))
    names = [layer.name for layer in pruned._flatten_layers() if isinstance(layer, pruning.PrunedBinary)]
    assert sorted(names) == ["plain", "shared"]
    again = pruning.prune(pruned, 0.5, skip=("plain", "shared", "one", "two"))
    assert sparsities(again)["steps/inner"] == sparsities(again)["plain"] == 0.5


class Late(L.Layer):
    """Makes its layer where no copy can be put in its place."""

    def build(self, input_shape):
        self.part = dense("late")
        super().build(input_shape)

    def call(self, x):
        return self.part(x)


def test_a_layer_that_cannot_be_replaced_is_named():
    model = stack(dense("plain"), Late(), shape=(6,))
    with pytest.raises(InputError, match=r"'late' must be made in the constructor"):
        pruning.prune(model, 0.5)
    assert pruning.prune(model, 0.5, skip=("late",)).built


class Scaled(tf.keras.Model):
    """Has a variable made when it is built or when it is made, and layers in a wrapper, a list and a dictionary."""

    def __init__(self, early):
        super().__init__(name="scaled")
        self.early = early
        self.steps = L.TimeDistributed(dense("inner"))
        self.blocks = [dense(f"block{index}") for index in range(2)]
        self.ends = {"norm": L.BatchNormalization(), "out": dense("out")}
        if early:
            self.factor = tf.Variable(1.0)

    def build(self, input_shape):
        if not self.early:
            self.factor = self.add_weight("factor", (), initializer="ones")
        super().build(input_shape)

    def call(self, x):
        x = self.steps(x) * self.factor
        for block in self.blocks:
            x = block(x)
        return self.ends["out"](self.ends["norm"](x))

    def get_config(self):
        return {"early": self.early}


@pytest.mark.parametrize("early", [True, False])
def test_a_subclassed_model_keeps_its_layers_and_variables(early):
    model = Scaled(early)
    model(X)
    model.factor.assign(7.0)
    pruned = pruning.prune(model, 0.5, skip=("out",))
    assert float(pruned.factor) == 7.0
    assert list(sparsities(pruned)) == list(sparsities(model))
    assert list(sparsities(pruned).values()) == [0.5, 0.5, 0.5, 0.0]
    assert not any(sparsities(model).values())
    np.testing.assert_equal(model.get_weights(), pruned.get_weights())
    pruned.compile("sgd", "mse")
    pruned.fit(X, X, verbose=0)
    pruned.trainable = False
    stripped = pruning.strip(pruned)
    assert not stripped.trainable_weights
    assert float(stripped.factor) == pruned.factor.numpy()
    np.testing.assert_array_equal(stripped(X), pruned(X))


def test_an_unbuilt_subclassed_model_is_pruned_when_it_is_built():
    pruned = pruning.prune(Scaled(False), 0.5)
    pruned(X)
    assert list(sparsities(pruned).values()) == [0.5] * 4


def test_a_variable_that_only_the_original_has_is_an_error():
    model = Scaled(True)
    model(X)
    model.extra = tf.Variable(2.0)
    with pytest.raises(InputError, match="model 'scaled' must have all its variables"):
        pruning.prune(model, 0.5)
