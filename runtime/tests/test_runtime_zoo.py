"""The whole chain: networks of the zoo, converted, and answered as LCE's interpreter does."""

import ai_edge_litert.interpreter as litert
import larq_equalbits_runtime as runtime
import numpy as np
import pytest
from larq_equalbits_runtime import Interpreter

from larq_equalbits import export, zoo
from larq_equalbits.export import interpreter

pytestmark = pytest.mark.slow

IMAGES = 8


def converted(model, **options):
    return export.convert(model, strict=False, **options).tflite


def images_for(tflite, count=IMAGES):
    (tensor,) = interpreter.load(tflite).inputs
    return np.random.default_rng(1).normal(size=(count, *tensor.shape[1:])).astype(np.float32)


def oracle(tflite, images):
    runner = interpreter.load(tflite)
    (answers,) = runner.predict({runner.inputs[0].key: images}).values()
    return answers


def without_xnnpack(tflite, images):
    """The answers with LiteRT's plain float kernels, which round as those in LCE's interpreter."""
    found = litert.Interpreter(
        model_content=tflite,
        experimental_delegates=[runtime.load_delegate(ternary=False)],
        experimental_op_resolver_type=litert.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        num_threads=1,
    )
    found.allocate_tensors()
    (given,), (answered,) = found.get_input_details(), found.get_output_details()
    rows = []
    for image in images:
        found.set_tensor(given["index"], image[None])
        found.invoke()
        rows.append(found.get_tensor(answered["index"])[0])
    return np.stack(rows)


@pytest.mark.parametrize("name", zoo.list_models())
def test_a_network_answers_as_in_lce(name):
    import tensorflow as tf

    tf.keras.utils.set_random_seed(2)
    model = zoo.get(name)(input_shape=(32, 32, 3), num_classes=10)
    tflite = converted(model)
    images = images_for(tflite)
    expected = oracle(tflite, images)
    scale = np.abs(expected).max()
    exact = without_xnnpack(tflite, images)
    fast = Interpreter(tflite, num_threads=2, ternary=False).predict(images)
    print(
        f"{name}: {np.abs(exact - expected).max() / scale:.1e} and {np.abs(fast - expected).max() / scale:.1e}"
    )
    np.testing.assert_allclose(exact, expected, rtol=0, atol=1e-4 * scale)
    # In an untrained ShuffleNet sums of 3e-7 come before a sign, where typical ones are 2.5: XNNPACK rounds them to
    # the other side of 0.
    if name != "shufflenet":
        np.testing.assert_array_equal(fast.argmax(axis=1), expected.argmax(axis=1))
