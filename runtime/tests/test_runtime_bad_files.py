"""Files that LCE would not write: a clear line, and the process lives."""

import ctypes

import numpy as np
import pytest
import reference
from larq_equalbits_runtime import InputError, Interpreter, library_path
from tflite_files import CONVOLUTION, File, convolution, run

from larq_equalbits.export.flatbuffer import read_model


def layer(*, attributes=None, octets=None, x=(1, 4, 4, 1), filters=(8, 3, 3, 1), output=np.float32, m=8, b=8):
    """A file with one convolution of 32 channels and 8 filters, in which something is changed."""
    file = File()
    source, result = file.tensor(x, np.int32), file.tensor((1, 4, 4, 8), output)
    rows = file.constant(np.zeros(filters, np.int32))
    values = [-1 if n is None else file.constant(np.zeros(n, np.float32)) for n in (m, b)]
    if octets is None:
        attributes = attributes or CONVOLUTION
    file.custom("LceBconv2d", [source, rows, *values, -1], [result], attributes, octets=octets)
    return file.finish([source], [result])


def pooling(**changes):
    attributes = {
        "filter_height": 2,
        "filter_width": 2,
        "padding": 1,
        "stride_height": 2,
        "stride_width": 2,
    } | changes
    file = File()
    source, result = file.tensor((1, 4, 4, 1), np.int32), file.tensor((1, 2, 2, 1), np.int32)
    file.custom("LceBMaxPool2d", [source], [result], attributes)
    return file.finish([source], [result])


def one(name, source, result, inputs=None):
    file = File()
    tensors = [file.tensor(*source), file.tensor(*result)]
    file.custom(name, [tensors[0]] if inputs is None else inputs, [tensors[1]])
    return file.finish(tensors[:1], tensors[1:])


def without(name):
    return {key: value for key, value in CONVOLUTION.items() if key != name}


CASES = {
    "no attributes": (lambda: layer(octets=b""), "no FlexBuffers map of integers (0 bytes)"),
    "foreign attributes": (lambda: layer(octets=b"\xff" * 40), "no FlexBuffers map of integers (40 bytes)"),
    "a missing attribute": (
        lambda: layer(attributes=without("pad_values")),
        "attribute pad_values is missing",
    ),
    "a stride of 0": (
        lambda: layer(attributes=CONVOLUTION | {"stride_width": 0}),
        "attribute stride_width is 0; it must be 1 to 1048576",
    ),
    "an unknown activation": (
        lambda: layer(attributes=CONVOLUTION | {"fused_activation_function": 4}),
        "attribute fused_activation_function is 4; it must be 0 to 3",
    ),
    "other channels than the input": (
        lambda: layer(attributes=CONVOLUTION | {"channels_in": 64}, filters=(8, 3, 3, 2)),
        "its input is (1, 4, 4, 1); it must be (batch, height, width, 2): 64 channels",
    ),
    "filters of a part of a word": (
        lambda: layer(attributes=CONVOLUTION | {"channels_in": 40}, x=(1, 4, 4, 2)),
        "do not fit 40 channels",
    ),
    "filters of 3 dimensions": (lambda: layer(filters=(8, 3, 3)), "its filters are int32 of shape (8, 3, 3)"),
    "no multiplier": (lambda: layer(m=None), "its input 2 (post_activation_multiplier) is missing"),
    "a short bias": (lambda: layer(b=7), "its input 3 (post_activation_bias) is float32 of shape (7)"),
    "packed output without thresholds": (
        lambda: layer(output=np.int32),
        "its input 4 (thresholds) is missing",
    ),
    "bool output": (lambda: layer(output=np.bool_), "its output is bool; it must be float32, int8 or int32"),
    "a window larger than the image": (
        lambda: layer(attributes=CONVOLUTION | {"padding": 1}, filters=(8, 5, 3, 1)),
        "a window of 5 positions does not fit into 4",
    ),
    "a pool of size 0": (lambda: pooling(filter_height=0), "attribute filter_height is 0"),
    "a pool larger than the image": (
        lambda: pooling(filter_width=5),
        "a window of 5 positions does not fit into 4",
    ),
    "integers to quantize": (
        lambda: one("LceQuantize", ((1, 8), np.int32), ((1, 1), np.int32)),
        "types int32 to int32; it takes float32, int8 or bool and gives int32",
    ),
    "too few words": (
        lambda: one("LceDequantize", ((1, 1), np.int32), ((1, 33), np.float32)),
        "its input (1, 1) is not the packed form of its output (1, 33)",
    ),
    "a constant as output": (
        lambda: one("LceQuantize", ((1, 8), np.float32), ((1, 1), np.int32, np.zeros((1, 1), np.int32))),
        "its output is a constant of the file, which cannot be written to",
    ),
    "two inputs": (
        lambda: one("LceQuantize", ((1, 8), np.float32), ((1, 1), np.int32), [0, 0]),
        "it has 2 inputs and 1 outputs; it must have 1 and 1",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_bad_file_is_refused_with_a_line(case):
    make, line = CASES[case]
    with pytest.raises((RuntimeError, ValueError)) as error:
        run(make())
    (reason,) = [text for text in str(error.value).splitlines() if "larq-equalbits: Lce" in text]
    assert line in reason


def signed(number, subgraph=0):
    file = File()
    tensors = [file.tensor((1, 8), np.float32), file.tensor((1, 1), np.int32)]
    file.custom("LceQuantize", tensors[:1], tensors[1:])
    file.sign({"image": tensors[0]}, {"bits": number}, subgraph)
    return file.finish(tensors[:1], tensors[1:])


@pytest.mark.parametrize(("subgraph", "names"), [(0, ["image", "bits"]), (7, ["tensor0", "tensor1"])])
def test_a_signature_gives_names_to_the_first_graph_alone(subgraph, names):
    content = signed(1, subgraph)
    interpreter, read = Interpreter(content), read_model(content)
    assert [*interpreter.names("inputs"), *interpreter.names("outputs")] == names
    assert [tensor.key for tensor in (*read.inputs, *read.outputs)] == names


@pytest.mark.parametrize("number", [99, 2**32 - 1])
def test_a_signature_of_a_tensor_that_the_file_has_not_is_refused(number):
    with pytest.raises(InputError, match="LiteRT can run, but it says: "):
        Interpreter(signed(number))


def test_an_image_of_another_size_is_refused_when_it_is_set():
    with pytest.raises((RuntimeError, ValueError), match="it must be \\(batch, height, width, 1\\)"):
        run(layer(), np.zeros((1, 4, 4, 2), np.int32), resize=True)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"kernel": "mmx"}, "option kernel is 'mmx'; this processor can use auto,"),
        ({"ternary": "yes"}, "option ternary is 'yes'; it must be 1 or 0"),
        ({"speed": "1"}, "unknown option 'speed'; the options are ternary and kernel"),
    ],
)
def test_a_bad_option_gives_a_line_and_no_delegate(options, line):
    from ai_edge_litert.interpreter import load_delegate

    with pytest.raises(ValueError, match=line):
        load_delegate(library_path(), options)


def test_constant_bits_are_weights_of_a_float_layer():
    random = np.random.default_rng(0)
    negative, x = random.random((5, 40)) < 0.5, random.normal(size=(3, 40)).astype(np.float32)
    file = File()
    source, weights = file.tensor((3, 40), np.float32), file.tensor((5, 40), np.float32)
    result = file.tensor((3, 5), np.float32)
    file.custom("LceDequantize", [file.constant(reference.pack(negative))], [weights])
    file.dense([source, weights, -1], result)
    expected = x @ np.where(negative, -1, 1).T
    np.testing.assert_allclose(run(file.finish([source], [result]), x), expected, rtol=1e-5, atol=1e-5)


def test_interpreters_end_in_any_order():
    from ai_edge_litert.interpreter import Interpreter, load_delegate

    content = layer()
    delegates = [load_delegate(library_path()) for _ in range(2)]
    made = [
        Interpreter(model_content=content, experimental_delegates=[d]) for d in (*delegates, delegates[0])
    ]
    for interpreter in made:
        interpreter.allocate_tensors()
        interpreter.invoke()
    del delegates
    while made:
        made.pop(0)


def test_a_grouped_file_that_lce_refuses_runs():
    attributes = CONVOLUTION | {"channels_in": 64}
    random = np.random.default_rng(1)
    image, filters = random.random((1, 5, 5, 64)) < 0.5, random.random((4, 3, 3, 32)) < 0.5
    values = {"multiplier": np.ones(4, np.float32), "bias": np.zeros(4, np.float32)}
    file = File()
    source, result = file.tensor((1, 5, 5, 2), np.int32), file.tensor((1, 5, 5, 4), np.float32)
    convolution(file, source, reference.pack(filters), result, attributes, **values)
    expected = reference.bconv2d(image, filters, attributes, **values)
    np.testing.assert_array_equal(run(file.finish([source], [result]), reference.pack(image)), expected)


def test_another_interface_is_refused_with_the_host_and_the_versions():
    """A context as a runtime might have it whose interface changed: its first field is not a number of tensors."""
    from ctypes import CFUNCTYPE, c_char_p, c_int, c_size_t, c_void_p

    said = []
    report = CFUNCTYPE(None, c_void_p, c_char_p, c_char_p)(
        lambda _, pattern, text: said.append((pattern, text))
    )
    function = ctypes.cast(ctypes.CDLL(None).getpid, c_void_p).value
    context = (c_size_t * 25)(*[function] * 25)
    context[5] = ctypes.cast(report, c_void_p).value
    library = ctypes.CDLL(library_path())
    create = library.tflite_plugin_create_delegate
    create.argtypes, create.restype = [c_void_p, c_void_p, c_size_t, c_void_p], c_void_p
    delegate = create(None, None, 0, None)
    prepare = CFUNCTYPE(c_int, c_void_p, c_void_p)(ctypes.cast(delegate, ctypes.POINTER(c_void_p))[1])
    assert prepare(ctypes.addressof(context), delegate) == 1
    library.tflite_plugin_destroy_delegate(c_void_p(delegate))
    ((pattern, text),) = said
    assert pattern == b"%s"
    assert b"libc.so" in text and b"is not the one that larq-equalbits-runtime 0.1.0 knows" in text
    assert b"ai-edge-litert 1.0.0 to 2.3" in text and b"\n" not in text


def test_the_package_names_the_version_of_another_interface(monkeypatch):
    from importlib import metadata

    import ai_edge_litert.interpreter as litert

    def refuse(*_, **__):
        raise RuntimeError("larq-equalbits: the interface of libLiteRt.so is not the one that ... knows")

    monkeypatch.setattr(metadata, "version", lambda name: "9.9.9")
    monkeypatch.setattr(litert.Interpreter, "__init__", refuse)
    with pytest.raises(InputError, match=r"ai-edge-litert must be .*\(1.0.0 to 2.3\), but got 9\.9\.9"):
        Interpreter(layer())
