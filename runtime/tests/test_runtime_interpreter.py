"""LiteRT's interpreter with the delegate: the same answers as LCE's, for any batch, and one line for bad input."""

import ctypes
import subprocess
import sys

import ai_edge_litert.interpreter as litert
import larq_equalbits_runtime as runtime
import numpy as np
import pytest
import tensorflow as tf
from larq_equalbits_runtime import InputError, Interpreter, library_path

from larq_equalbits import export

# Float layers are LiteRT's, with other rounding than in LCE's interpreter.
CLOSE = {"rtol": 0, "atol": 2e-5}


@pytest.mark.parametrize("threads", [1, 2])
def test_it_answers_as_lce(small, threads):
    np.testing.assert_allclose(
        Interpreter(small.tflite, threads).predict(small.images), small.oracle(), **CLOSE
    )


@pytest.mark.parametrize("count", [0, 1, 2, 15, 16, 17, 40])
def test_a_batch_answers_as_its_images(small, count):
    interpreter = Interpreter(small.tflite)
    answers = interpreter.predict(small.images[:count])
    assert answers.shape == (count, 10) and answers.dtype == np.float32
    single = Interpreter(small.tflite)
    for image, answer in zip(small.images, answers, strict=False):
        np.testing.assert_allclose(single.predict(image[None])[0], answer, **CLOSE)


def test_batches_of_any_size_follow_each_other(small):
    interpreter = Interpreter(small.tflite)
    for count in (3, 20, 1, 40):
        np.testing.assert_allclose(
            interpreter.predict(small.images[:count]), small.oracle(small.images[:count]), **CLOSE
        )


def test_a_path_and_bytes_are_the_same(small, tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes(small.tflite)
    for model in (path, str(path), bytearray(small.tflite)):
        np.testing.assert_array_equal(
            Interpreter(model).predict(small.images), Interpreter(small.tflite).predict(small.images)
        )


def test_several_inputs_and_outputs_go_by_name(pair):
    interpreter = Interpreter(pair.tflite)
    assert set(interpreter.names("inputs")) == {"left", "right"}
    answers = interpreter.predict(pair.images)
    expected = pair.oracle()
    assert set(answers) == set(expected) == {"few", "many"}
    for name, answer in answers.items():
        np.testing.assert_allclose(answer, expected[name], **CLOSE)
    ordered = interpreter.predict([pair.images[name] for name in interpreter.names("inputs")])
    np.testing.assert_array_equal(ordered["many"], answers["many"])


def test_outputs_that_are_one_tensor_keep_their_names():
    inputs = tf.keras.Input((4,))
    answer = tf.keras.layers.Dense(3)(inputs)
    model = tf.keras.Model(inputs, [answer, answer])
    values = np.ones((2, 4), "float32")
    found = Interpreter(export.convert(model, verify_on=False).tflite).predict(values)
    assert list(found) == model.output_names and len(found) == 2
    for value in found.values():
        np.testing.assert_allclose(value, model(values)[0], rtol=1e-5)


def test_integers_come_and_go_as_real_numbers(integers):
    interpreter = Interpreter(integers.tflite)
    answers = interpreter.predict(integers.images)
    step = interpreter.get_output_details()[0]["quantization"][0]
    assert answers.dtype == np.float32 and step > 0
    # LiteRT's fast integer kernels round now and then otherwise, which can turn the sign of an activation.
    same = np.abs(answers - integers.oracle()) <= 1.01 * step
    assert same.mean() > 0.9
    scale, zero = interpreter.get_input_details()[0]["quantization"]
    stored = np.clip(np.round(integers.images / scale) + zero, -128, 127).astype(np.int8)
    np.testing.assert_array_equal(interpreter.predict(stored), answers)
    with pytest.raises(InputError, match="finite"):
        interpreter.predict(np.full((1, 8, 8, 1), np.nan, np.float32))


def test_integers_are_those_of_lce_where_the_kernels_around_are(integers):
    interpreter = litert.Interpreter(
        model_content=integers.tflite,
        experimental_delegates=[runtime.load_delegate(ternary=False)],
        experimental_op_resolver_type=litert.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    interpreter.allocate_tensors()
    (given,), (answered,) = interpreter.get_input_details(), interpreter.get_output_details()
    scale, zero = given["quantization"]
    expected = integers.oracle()
    for image, row in zip(integers.images, expected, strict=True):
        stored = np.clip(np.round(image[None] / scale) + zero, -128, 127).astype(np.int8)
        interpreter.set_tensor(given["index"], stored)
        interpreter.invoke()
        step, shift = answered["quantization"]
        found = (interpreter.get_tensor(answered["index"])[0].astype(np.float32) - shift) * np.float32(step)
        np.testing.assert_allclose(found, row, rtol=0, atol=1e-6)


def test_what_cannot_be_resized_answers_one_by_one(unresizable):
    interpreter = Interpreter(unresizable.tflite)
    for _ in range(2):
        np.testing.assert_allclose(interpreter.predict(unresizable.images), unresizable.oracle(), **CLOSE)


def test_a_file_without_binary_operators_runs_as_in_litert(plain):
    interpreter = Interpreter(plain.tflite)
    other = litert.Interpreter(model_content=plain.tflite, num_threads=1)
    other.allocate_tensors()
    for image in plain.images:
        other.set_tensor(other.get_input_details()[0]["index"], image[None])
        other.invoke()
        expected = other.get_tensor(other.get_output_details()[0]["index"])
        np.testing.assert_array_equal(interpreter.predict(image[None]), expected)


def test_the_delegate_serves_other_interpreters(small):
    import tensorflow as tf

    delegate = runtime.load_delegate(ternary=False, kernel="plain")
    library = library_path()
    others = [
        litert.Interpreter(model_content=small.tflite, experimental_delegates=[delegate]),
        tf.lite.Interpreter(
            model_content=small.tflite,
            experimental_delegates=[tf.lite.experimental.load_delegate(library, {"ternary": "0"})],
        ),
    ]
    for interpreter in others:
        interpreter.allocate_tensors()
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], small.images[:1])
        interpreter.invoke()
        answer = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
        np.testing.assert_allclose(answer, small.oracle(small.images[:1]), **CLOSE)


def test_kernels_that_this_processor_has_answer_the_same(small):
    answers = [
        Interpreter(small.tflite, kernel=name).predict(small.images) for name in runtime.kernels().split(",")
    ]
    assert runtime.kernels().split(",")[-1] == "plain"
    for answer in answers:
        np.testing.assert_array_equal(answer, answers[0])


def test_versions_agree():
    import importlib.metadata

    assert runtime.version() == runtime.__version__ == importlib.metadata.version("larq-equalbits-runtime")


def test_public_names():
    assert dir(runtime) == sorted(runtime.__all__)
    library = ctypes.CDLL(library_path())
    assert library.tflite_plugin_create_delegate and library.tflite_plugin_destroy_delegate


BAD_MODELS = {
    "missing": (lambda tflite, folder: folder / "none.tflite", "No such file"),
    "folder": (lambda tflite, folder: folder, "directory"),
    "nothing": (lambda tflite, folder: b"", "identifier"),
    "foreign": (lambda tflite, folder: b"\x7fELF" * 100, "identifier"),
    "cut": (lambda tflite, folder: tflite[: len(tflite) // 2], "LiteRT can run"),
    "number": (lambda tflite, folder: 7, "path or the bytes"),
    "unknown operator": (
        lambda tflite, folder: tflite.replace(b"LceQuantize", b"LceQuantum1"),
        "operator LceQuantum1, which neither",
    ),
    "operator of TensorFlow": (
        lambda tflite, folder: tflite.replace(b"LceQuantize", b"FlexQuantum"),
        "operator FlexQuantum, which neither",
    ),
}


@pytest.mark.parametrize("case", BAD_MODELS)
def test_a_bad_model_is_one_line(small, tmp_path, case):
    make, words = BAD_MODELS[case]
    with pytest.raises(InputError, match=words) as raised:
        Interpreter(make(small.tflite, tmp_path))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("share", [0.01, 0.3, 0.6, 0.9, 0.99])
def test_cut_files_leave_the_process_alive(small, share):
    with pytest.raises(InputError):
        Interpreter(small.tflite[: int(share * len(small.tflite))])


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        (np.zeros((2, 8, 9, 1)), r"of shape \(n, 8, 8, 1\), but got 'an array of shape \(2, 8, 9, 1\)'"),
        (np.zeros((8, 8, 1)), "of shape"),
        (np.zeros(()), "of shape"),
        (np.full((1, 8, 8, 1), "a"), "an array of numbers"),
        ([[1, 2], [3]], "an array of numbers, but: setting an array element"),
        (None, "an array of numbers, but got 'an array of object'"),
        ({"other": np.zeros((1, 8, 8, 1))}, "a mapping from image"),
    ],
)
def test_bad_inputs_are_one_line(small, inputs, words):
    interpreter = Interpreter(small.tflite)
    with pytest.raises(InputError, match=words):
        interpreter.predict(inputs)
    np.testing.assert_allclose(interpreter.predict(small.images), small.oracle(), **CLOSE)


def test_two_inputs_need_two_arrays_of_one_length(pair):
    interpreter = Interpreter(pair.tflite)
    with pytest.raises(InputError, match="one array for each"):
        interpreter.predict(None)
    with pytest.raises(InputError, match="one array for each"):
        interpreter.predict([pair.images["left"]])
    with pytest.raises(InputError, match="one length"):
        interpreter.predict({"left": pair.images["left"], "right": pair.images["right"][:3]})


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"num_threads": 0}, "num_threads must be a whole number"),
        ({"num_threads": 1.5}, "num_threads"),
        ({"num_threads": 1_000_000}, "num_threads must be a whole number from 1 to 1024"),
        ({"ternary": "yes"}, "ternary must be True or False"),
        ({"kernel": "fast"}, "kernel must be one of"),
        ({"kernel": "neon" if "popcnt" in runtime.kernels() else "avx2"}, "neon|avx2"),
    ],
)
def test_bad_options_are_one_line(small, options, words):
    with pytest.raises(InputError, match=words) as raised:
        Interpreter(small.tflite, **options)
    assert "\n" not in str(raised.value)


def test_an_unknown_option_of_the_delegate_is_named():
    with pytest.raises(InputError, match="'speed'"):
        runtime.load_delegate(speed=1)


def test_a_32_bit_system_is_told(monkeypatch):
    monkeypatch.setattr("struct.calcsize", lambda _: 4)
    with pytest.raises(InputError, match="needs a 64-bit system, but these are 32-bit programs"):
        library_path()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "is missing: install the package again"),
        (b"\x7fELF of another machine", "The library does not fit this machine"),
    ],
)
def test_a_library_that_is_none_is_one_line(monkeypatch, tmp_path, content, words):
    from larq_equalbits_runtime import _library

    monkeypatch.setattr(_library, "__file__", str(tmp_path / "_library.py"))
    if content is not None:
        (tmp_path / "liblarq_equalbits_runtime.so").write_bytes(content)
    with pytest.raises(InputError, match=words) as raised:
        _library._loaded.__wrapped__()
    assert "\n" not in str(raised.value)


def test_importing_needs_no_tensorflow_and_little_time():
    code = (
        "import ai_edge_litert.interpreter, time; start = time.perf_counter(); import larq_equalbits_runtime as r; "
        "r.load_delegate(); took = time.perf_counter() - start; import sys; assert 'tensorflow' not in sys.modules; "
        "assert took < 0.3, took"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("ternary", [True, False])
def test_a_pruned_convolution_answers_as_in_lce(pruned, ternary):
    # Sums of whole numbers and no scale: one rounding and three give the same bits.
    np.testing.assert_array_equal(
        Interpreter(pruned.tflite, ternary=ternary).predict(pruned.images), pruned.oracle()
    )
