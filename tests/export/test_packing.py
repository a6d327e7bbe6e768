"""Binary weights of layers with a float input, stored in one byte or one bit each."""

import numpy as np
import pytest
import tensorflow as tf
from stacks import network_on, normalized, quant, rows, stack

from larq_equalbits import export, pruning
from larq_equalbits._errors import InputError
from larq_equalbits.export import classifier, packing
from larq_equalbits.export.interpreter import load

layers = tf.keras.layers
IMAGES = np.random.default_rng(1).normal(size=(8, 12, 12, 32)).astype("float32")


def binary(kind, *sizes, **options):
    return quant(kind, *sizes, input_quantizer=None, **options)


@network_on(*IMAGES.shape[1:])
def every_kind(x):
    """All kinds of layers with binary kernels and float inputs."""
    shared = binary("Conv2D", 32, 3, padding="same", name="shared")
    x = binary("Conv2D", 32, 3, use_bias=True, name="conv")(x)
    x = layers.ReLU(6.0)(layers.BatchNormalization(name="norm")(x))
    x = layers.Activation("tanh")(shared(normalized(shared, x)))
    x = normalized(binary("DepthwiseConv2D", 3, name="depthwise"), x)
    x = normalized(binary("Conv2DTranspose", 32, 3, 2, name="transposed"), x)
    x = layers.ReLU()(normalized(binary("Conv2D", 32, 3, 2, groups=2, name="grouped"), x))
    x = normalized(pruning.PrunedBinary(binary("Conv2D", 32, 3, name="pruned"), sparsity=0.5), x)
    x = normalized(binary("Dense", 48, name="dense"), layers.Flatten()(x))
    return layers.Dense(10, name="classifier")(x)


def trained(model):
    """Trained to tell the channel that is largest on average; then one factor is 0 and half of the others negative."""
    images = np.random.default_rng(2).normal(size=(64, *IMAGES.shape[1:])).astype("float32")
    norms = [layer for layer in model.layers if isinstance(layer, layers.BatchNormalization)]
    for layer in norms:
        layer.momentum = 0.8
        layer.gamma.assign(np.resize([1.0, -1.0], layer.gamma.shape))
    model.compile("adam", tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    history = model.fit(images, images.mean(axis=(1, 2))[:, :10].argmax(axis=1), epochs=8, verbose=0).history
    assert history["loss"][-1] < 0.8 * history["loss"][0]
    for layer in norms:
        layer.gamma.assign(np.where(np.arange(layer.gamma.shape[0]), layer.gamma, 0))
    return model


def answers(content, images=IMAGES, runtime="lce"):
    runner = load(content, runtime=runtime)
    return next(iter(runner.predict({runner.inputs[0].key: images}).values()))


def plain(content, images=IMAGES):
    interpreter = tf.lite.Interpreter(model_content=content)
    interpreter.allocate_tensors()
    found = []
    for image in images:
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image[None])
        interpreter.invoke()
        found.append(interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0])
    return np.stack(found)


@pytest.fixture(scope="module")
def model():
    tf.keras.utils.set_random_seed(0)
    return trained(every_kind())


@pytest.fixture(scope="module")
def reports(model):
    default = {"int8": export.convert(model, verify_on=False)}
    more = ("bits", "float32")
    return default | {form: export.convert(model, binary_weights=form, verify_on=False) for form in more}


BINARY = ["conv", "shared", "depthwise", "transposed", "grouped", "pruned", "dense"]


def test_int8_gives_the_bits_of_the_float_file(reports):
    stored = {name: row.weights for name, row in rows(reports["int8"]).items()}
    assert stored == dict.fromkeys(BINARY, "int8") | {"classifier": "float32"}
    for run in (answers, plain):
        np.testing.assert_array_equal(run(reports["int8"].tflite), run(reports["float32"].tflite))


def test_bits_answer_as_keras_does(model, reports):
    stored = {name: row.weights for name, row in rows(reports["bits"]).items()}
    assert stored == dict.fromkeys(BINARY, "1 bit") | {"classifier": "float32", "pruned": "2 bits"}
    expected = model.predict(IMAGES, verbose=0)
    for runtime in ("lce", "litert"):
        found = answers(reports["bits"].tflite, runtime=runtime)
        assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()
        np.testing.assert_array_equal(found.argmax(axis=1), expected.argmax(axis=1))
    # Our runtime unpacks once: then it computes as with floats.
    floats = answers(reports["float32"].tflite, runtime="litert")
    np.testing.assert_array_equal(found, floats)


def by_form(field, reports):
    """What `field` is in the row of each layer in each form."""
    return {
        form: {name: getattr(row, field) for name, row in rows(report).items()}
        for form, report in reports.items()
    }


def test_the_bytes_are_those_of_the_codes(model, reports):
    square = 3 * 3 * 32 * 32
    counts = dict.fromkeys(BINARY, square) | {"depthwise": square // 32, "grouped": square // 2}
    counts["dense"] = int(np.prod(model.get_layer("dense").weights[0].shape))
    sizes = by_form("bytes", reports)
    for name in BINARY:
        weights = counts[name]
        rest = sizes["float32"][name] - 4 * weights
        scales = 4 * 48  # of the layer with most filters
        assert weights <= sizes["int8"][name] <= weights + rest
        bits = (2 if name == "pruned" else 1) * weights / 8
        # The grouped kernel's 16 input channels fill half of each word.
        assert bits <= sizes["bits"][name] <= (2 if name == "grouped" else 1) * bits + rest + scales
    for form, weight in (("int8", 1), ("float32", 4)):
        assert len(reports[form].tflite) < weight * (sum(counts.values()) + square) + 30_000


def test_why_a_layer_multiplies_in_float_stands_in_every_form(reports):
    reasons = by_form("reason", reports)
    assert reasons["int8"] == reasons["bits"] == reasons["float32"]
    assert "1/32" in reasons["bits"]["dense"]
    audits = {form: export.audit(report.tflite).layers for form, report in reports.items()}
    found = [[row.reason for row in audit] for audit in audits.values()]
    assert found[0] == found[1] == found[2]
    assert [row.weights for row in audits["bits"]].count("1 bit") == 7


def test_the_conversion_says_what_runs_the_file(reports):
    assert reports["int8"].runtimes == reports["float32"].runtimes
    assert "TensorFlow Lite" in reports["int8"].runtimes and "LiteRT" in reports["int8"].runtimes
    assert reports["bits"].runtimes == ("Larq Compute Engine", "larq-equalbits-runtime")
    assert "every inference" in " ".join(str(reports["bits"]).split())
    assert reports["bits"].to_dict()["runtimes"] == list(reports["bits"].runtimes)
    with pytest.raises(RuntimeError, match="LceDequantize"):
        plain(reports["bits"].tflite)


def test_a_shared_kernel_is_packed_once():
    shared, between = binary("Conv2D", 32, 3, padding="same"), layers.BatchNormalization()
    model = network_on(6, 6, 32)(lambda x: between(shared(layers.ReLU()(shared(x)))))()
    between.gamma.assign(np.linspace(0.5, 2, 32))
    tflite = export.convert(model, binary_weights="bits", verify_on=False).tflite
    assert len(tflite) < 3 * 3 * 32 * 4 + 4_000
    audit = export.audit(tflite)
    assert audit.operators["CONV_2D"] == 2
    words = [tensor for tensor in audit.tensors if tensor["dtype"] == "int32"]
    assert {tensor["bytes"] for tensor in words} == {3 * 3 * 32 * 4}


def test_a_classifier_in_half_its_bytes():
    hidden = layers.Dense(96, "relu", name="hidden")
    model = stack(hidden, layers.Dense(40, "softmax", name="classifier"), shape=(64,))
    images = np.random.default_rng(0).normal(size=(4, 64)).astype("float32")
    whole = export.convert(model, verify_on=images)
    half = export.convert(model, verify_on=images, classifier="float16")
    assert 0 < half.verification.max_abs_diff < 1e-3
    assert len(whole.tflite) - len(half.tflite) > 0.9 * 2 * 96 * 40
    stored = {name: row.weights for name, row in rows(half).items()}
    assert stored == {"hidden": "float32", "classifier": "float16"}
    assert rows(whole)["classifier"].bytes - rows(half)["classifier"].bytes == 2 * 96 * 40
    for run in (plain, lambda content, images: answers(content, images, "litert")):
        assert np.abs(run(half.tflite, images) - run(whole.tflite, images)).max() < 1e-3
    assert classifier.pack(half.tflite, "float16") == half.tflite
    with pytest.raises(InputError, match="classifier must be one of float32, float16, but got 'int8'"):
        export.convert(model, classifier="int8")


def test_bad_forms_are_refused(model):
    with pytest.raises(InputError, match="binary_weights must be one of int8, bits, float32, but got 'int4'"):
        export.convert(model, binary_weights="int4")
    with pytest.raises(InputError, match=r"\(--binary-weights\).*\(--float-layers\).*keep their own form"):
        export.convert(model, binary_weights="bits", float_layers="int8", calibrate_on=IMAGES)


@pytest.mark.parametrize("axis", [0, 3])
def test_codes_are_exact_or_nothing(axis):
    generator = np.random.default_rng(3)
    scales = np.moveaxis(generator.uniform(0.1, 2, (4, 1, 1, 1)).astype("float32"), 0, axis)
    kernel = scales * generator.choice([-1, 0, 1], (4, 3, 5, 4)).astype("float32")
    codes = packing.codes_of(kernel, axis)
    np.testing.assert_array_equal(codes.values * scales, kernel)
    np.testing.assert_array_equal(codes.scales, scales.ravel())
    assert codes.pruned
    kernel[kernel > 0] = np.nextafter(kernel[kernel > 0], np.float32(9))
    assert packing.codes_of(kernel, axis) is None


@pytest.mark.parametrize("bad", [0.0, np.nan, np.inf, 1e-40])
def test_a_kernel_without_codes_stays(bad):
    assert packing.codes_of(np.full((2, 2, 2, 2), bad, "float32"), 0) is None


def test_words_are_those_of_lce():
    negative = np.zeros((2, 40), bool)
    negative[0, [0, 33]] = negative[1, 31] = True
    np.testing.assert_array_equal(packing.packed_bits(negative), [[1, 2], [-(2**31), 0]])
