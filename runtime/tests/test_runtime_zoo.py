"""The whole chain: networks of the zoo, converted, and answered as LCE's interpreter does.

XNNPACK adds floats in another order than the kernels in LCE's interpreter. Where a sum before a sign is 0 but for
rounding, the sign, and all that follows from it, may then be another. Such answers are right; every other difference
is not.
"""

import ai_edge_litert.interpreter as litert
import larq_equalbits_runtime as runtime
import numpy as np
import pytest
from larq_equalbits_runtime import Interpreter

from larq_equalbits import export, zoo
from larq_equalbits.export import interpreter, writing

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:Warning. Enabling")]

IMAGES = 8


def converted(model):
    return export.convert(model, strict=False, verify_on=False).tflite


def images_for(tflite, count=IMAGES):
    (tensor,) = interpreter.load(tflite).inputs
    return np.random.default_rng(1).normal(size=(count, *tensor.shape[1:])).astype(np.float32)


def oracle(tflite, images):
    runner = interpreter.load(tflite)
    (answers,) = runner.predict({runner.inputs[0].key: images}).values()
    return answers


def _runner(tflite, resolver):
    kinds = litert.OpResolverType
    found = litert.Interpreter(
        model_content=tflite,
        experimental_delegates=[runtime.load_delegate(ternary=False)],
        experimental_op_resolver_type=getattr(kinds, resolver),
        experimental_preserve_all_tensors=True,
        num_threads=1,
    )
    found.allocate_tensors()
    return found


def _yielding(tflite, tensors):
    """The file with more outputs: what is read outside stays a tensor of its own."""
    model = writing.opened(tflite)
    (graph,) = model.subgraphs
    graph.outputs = [*graph.outputs, *tensors]
    return writing.to_bytes(model)


class TwoWays:
    """A file in LiteRT's plain float kernels, which round as those in LCE's interpreter, and with XNNPACK."""

    def __init__(self, tflite):
        operators = litert.Interpreter(model_content=tflite)._get_ops_details()
        self.signs = [int(row["inputs"][0]) for row in operators if row["op_name"] == "LceQuantize"]
        with_floats = _yielding(tflite, self.signs)
        self.plain = _runner(with_floats, "BUILTIN_WITHOUT_DEFAULT_DELEGATES")
        self.fast = _runner(with_floats, "AUTO")

    def answers(self, image):
        """The answer with the plain kernels, and that with XNNPACK."""
        found = []
        for runner in (self.plain, self.fast):
            runner.set_tensor(runner.get_input_details()[0]["index"], image[None])
            runner.invoke()
            found.append(runner.get_tensor(runner.get_output_details()[0]["index"])[0])
        return found

    def turned(self):
        """How many signs differ at the first operator with such; all of them of numbers that are 0 but for rounding."""
        for tensor in self.signs:
            x, y = self.plain.get_tensor(tensor), self.fast.get_tensor(tensor)
            differs = (x < 0) != (y < 0)
            scale = np.abs(x).max()
            np.testing.assert_allclose(y, x, rtol=0, atol=1e-5 * scale)
            if differs.any():
                assert np.abs(x[differs]).max() < 1e-5 * scale
                return int(differs.sum())
        return 0


def check(name, tflite, images):
    """Answers equal LCE's in both ways, but for XNNPACK's after a sign of a number that is 0 but for rounding."""
    expected = oracle(tflite, images)
    scale = np.abs(expected).max()
    both = TwoWays(tflite)
    turned = 0
    for image, right in zip(images, expected, strict=True):
        plain, fast = both.answers(image)
        np.testing.assert_allclose(plain, right, rtol=0, atol=1e-4 * scale)
        assert plain.argmax() == right.argmax()
        if both.turned():
            turned += 1
        else:
            np.testing.assert_allclose(fast, right, rtol=0, atol=1e-4 * scale)
            assert fast.argmax() == right.argmax()
    batch = Interpreter(tflite, num_threads=2).predict(images)
    differ = int((batch.argmax(axis=1) != expected.argmax(axis=1)).sum())
    print(f"{name}: {len(images)} images, {turned} with another sign of 0, {differ} with another class")
    assert differ <= turned


@pytest.mark.parametrize("name", zoo.list_models())
def test_a_network_answers_as_in_lce(build, name):
    tflite = converted(build(name))
    images = images_for(tflite)
    check(name, tflite, images)


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", zoo.list_models())
def test_classes_of_a_trained_network_are_equal_on_a_whole_test_set(name):
    """The digits, enlarged to 32x32 pixels where a network needs that."""
    import tensorflow as tf

    from larq_equalbits import data

    pytest.importorskip("sklearn")
    pytest.importorskip("tensorflow_datasets")
    times = 4 if name in ("conv8", "inception_v3", "vgg16") else 1

    def load(batches):
        images, labels = (np.concatenate(column) for column in zip(*batches.as_numpy_iterator(), strict=True))
        return images.repeat(times, axis=1).repeat(times, axis=2), labels

    digits = data.load("digits")
    side = 8 * times
    tf.keras.utils.set_random_seed(2)
    model = zoo.get(name)(input_shape=(side, side, 1), num_classes=10, width=0.25)
    model.compile("adam", "sparse_categorical_crossentropy")
    images, labels = load(digits.train)
    model.fit(images[:640], labels[:640], batch_size=32, verbose=0)
    tflite = converted(model)
    images, _ = load(digits.test)
    check(name, tflite, images)
