"""The delegate's operators against their definition, for each kernel that this processor can run."""

import numpy as np
import pytest
import reference
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from larq_equalbits_runtime import kernels
from tflite_files import CONVOLUTION, File, convolution, run

SETTINGS = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
KERNELS = kernels().split(",")
SPECIAL = np.array([0.0, -0.0, np.nan, -np.nan, np.inf, -np.inf, -1e-45, 1e-45, -1.0, 1.0], np.float32)
SEEDS = st.integers(0, 2**32 - 1)

pytestmark = pytest.mark.parametrize("kernel", KERNELS)


def equal(answer, expected):
    assert answer.dtype == expected.dtype
    np.testing.assert_array_equal(answer, expected)


@SETTINGS
@given(
    shape=st.lists(st.integers(1, 5), max_size=3),
    channels=st.integers(1, 300),
    dtype=st.sampled_from([np.float32, np.int8, np.bool_]),
    zero_point=st.sampled_from([-128, -3, 0, 7, 127, 500, -500]),
    seed=SEEDS,
)
def test_quantize(kernel, shape, channels, dtype, zero_point, seed):
    random = np.random.default_rng(seed)
    shape = (*shape, channels)
    if dtype == np.float32:
        x = np.where(random.random(shape) < 0.3, random.choice(SPECIAL, shape), random.normal(size=shape))
        x = x.astype(np.float32)
    else:
        x = random.integers(-128, 128, shape).astype(np.int8)
        x = x > 0 if dtype == np.bool_ else x
    file = File()
    scale = 0.1 if dtype == np.int8 else None
    source = file.tensor(shape, dtype, scale=scale, zero_point=zero_point)
    packed = file.tensor((*shape[:-1], -(-channels // 32)), np.int32)
    file.custom("LceQuantize", [source], [packed])
    equal(run(file.finish([source], [packed]), x, kernel=kernel), reference.quantize(x, zero_point))


@SETTINGS
@given(
    shape=st.lists(st.integers(1, 5), max_size=3),
    channels=st.integers(1, 300),
    dtype=st.sampled_from([np.float32, np.int8, np.bool_]),
    scale=st.sampled_from([1.0, 0.5, 1 / 2.5, 0.01, 0.001, 3.0]),
    zero_point=st.integers(-128, 127),
    seed=SEEDS,
)
def test_dequantize(kernel, shape, channels, dtype, scale, zero_point, seed):
    shape = (*shape, channels)
    words = reference.pack(np.random.default_rng(seed).random(shape) < 0.5)
    file = File()
    packed = file.tensor(words.shape, np.int32)
    quantization = {"scale": scale, "zero_point": zero_point} if dtype == np.int8 else {}
    values = file.tensor(shape, dtype, **quantization)
    file.custom("LceDequantize", [packed], [values])
    expected = reference.dequantize(words, channels, dtype, **quantization)
    equal(run(file.finish([packed], [values]), words, kernel=kernel), expected)


@SETTINGS
@given(
    image=st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9), st.integers(1, 300)),
    window=st.tuples(st.integers(1, 7), st.integers(1, 7)),
    strides=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    same=st.booleans(),
    seed=SEEDS,
)
def test_max_pool(kernel, image, window, strides, same, seed):
    same = same or window[0] > image[1] or window[1] > image[2]
    words = reference.pack(np.random.default_rng(seed).random(image) < 0.7)
    expected = reference.max_pool(words, window, strides, same)
    file = File()
    source, pooled = file.tensor(words.shape, np.int32), file.tensor(expected.shape, np.int32)
    names = ("filter_height", "filter_width", "stride_height", "stride_width", "padding")
    attributes = dict(zip(names, (*window, *strides, 0 if same else 1), strict=True))
    file.custom("LceBMaxPool2d", [source], [pooled], attributes)
    equal(run(file.finish([source], [pooled]), words, kernel=kernel), expected)


@st.composite
def layers(draw):
    """A convolution: booleans of image and filters, attributes, and the rest as keywords of reference.bconv2d."""
    groups = draw(st.sampled_from([1, 1, 1, 2, 3]))
    channels = 32 * groups * draw(st.integers(1, 3)) if groups > 1 else draw(st.integers(1, 300))
    filters = groups * draw(st.integers(1, 80 // groups))
    batch, height, width = draw(st.integers(1, 3)), draw(st.integers(1, 9)), draw(st.integers(1, 9))
    window = draw(st.integers(1, 7)), draw(st.integers(1, 7))
    attributes = CONVOLUTION | {
        "stride_height": draw(st.integers(1, 3)),
        "stride_width": draw(st.integers(1, 3)),
        "dilation_height_factor": draw(st.integers(1, 3)),
        "dilation_width_factor": draw(st.integers(1, 3)),
        "padding": draw(st.integers(0, 1)),
        "pad_values": draw(st.integers(0, 1)),
        "channels_in": channels,
    }
    if (window[0] - 1) * attributes["dilation_height_factor"] >= height:
        attributes["padding"] = 0
    if (window[1] - 1) * attributes["dilation_width_factor"] >= width:
        attributes["padding"] = 0
    random = np.random.default_rng(draw(SEEDS))
    image = random.random((batch, height, width, channels)) < random.choice([0.0, 0.3, 0.5, 1.0])
    kernel = random.random((filters, *window, channels // groups)) < random.choice([0.0, 0.3, 0.5, 1.0])
    output = draw(st.sampled_from(["float32", "int8", "packed"]))
    if output == "packed":
        weights = window[0] * window[1] * channels // groups
        extremes = [-(2**31), -1, 0, weights // 2, weights, 2**31 - 1]
        near = random.integers(weights // 2 - 5, weights // 2 + 5, filters)
        thresholds = np.where(random.random(filters) < 0.3, random.choice(extremes, filters), near)
        return image, kernel, attributes, {"thresholds": thresholds.astype(np.int32)}
    attributes["fused_activation_function"] = draw(st.integers(0, 3))
    values = {
        "multiplier": random.normal(size=filters).astype(np.float32),
        "bias": random.normal(size=filters, scale=10).astype(np.float32),
    }
    if output == "int8":
        values |= {
            "scale": draw(st.sampled_from([1.0, 0.37, 20.0])),
            "zero_point": draw(st.integers(-128, 127)),
        }
    return image, kernel, attributes, values


def file_of(image, kernel, attributes, values, shape):
    """A file with one convolution, packed image in."""
    file = File()
    words = -(-image.shape[3] // 32)
    source = file.tensor((*image.shape[:3], words), np.int32)
    constants = {name: value for name, value in values.items() if name not in ("scale", "zero_point")}
    quantization = {name: values[name] for name in ("scale", "zero_point") if name in values}
    packed, dtype = "thresholds" in values, np.float32 if not quantization else np.int8
    result = file.tensor(shape, np.int32 if packed else dtype, **quantization)
    convolution(file, source, reference.pack(kernel), result, attributes, **constants)
    return file.finish([source], [result])


@settings(SETTINGS, max_examples=200)
@given(layer=layers(), threads=st.integers(1, 2))
def test_convolution(kernel, layer, threads):
    image, filters, attributes, values = layer
    expected = reference.bconv2d(image, filters, attributes, **values)
    content = file_of(image, filters, attributes, values, expected.shape)
    equal(run(content, reference.pack(image), kernel=kernel, threads=threads), expected)


@settings(SETTINGS, max_examples=30)
@given(layer=layers(), batch=st.integers(1, 5))
def test_another_batch_after_a_resize(kernel, layer, batch):
    image, filters, attributes, values = layer
    shape = reference.bconv2d(image, filters, attributes, **values).shape
    content = file_of(image, filters, attributes, values, shape)
    more = np.resize(image, (batch, *image.shape[1:]))
    expected = reference.bconv2d(more, filters, attributes, **values)
    equal(run(content, reference.pack(more), resize=True, kernel=kernel), expected)


@settings(SETTINGS, max_examples=60)
@given(layer=layers())
def test_lce_answers_the_same_bits(kernel, layer):
    lce = pytest.importorskip("larq_compute_engine")
    image, filters, attributes, values = layer
    image = image[:1]
    zero_padding = attributes["padding"] == 0 and attributes["pad_values"] == 0
    grouped = image.shape[3] != filters.shape[3]
    # LCE refuses these.
    if grouped or (
        zero_padding
        and ("bias" not in values or attributes["fused_activation_function"] or "scale" in values)
    ):
        return
    # LCE answers wrongly where zeros are padded around an image that is smaller than the window.
    extents = [
        (size - 1) * attributes[f"dilation_{side}_factor"] + 1
        for size, side in zip(filters.shape[1:3], ("height", "width"), strict=True)
    ]
    if zero_padding and (image.shape[1] < extents[0] or image.shape[2] < extents[1]):
        return
    expected = reference.bconv2d(image, filters, attributes, **values)
    content = file_of(image, filters, attributes, values, expected.shape)
    oracle = lce.testing.Interpreter(content, num_threads=1, use_indirect_bgemm=True).predict(
        reference.pack(image)
    )
    equal(run(content, reference.pack(image), kernel=kernel), oracle)


@settings(SETTINGS, max_examples=100)
@given(layer=layers(), also_an_output=st.booleans(), seed=SEEDS)
def test_signs_of_a_convolution_are_those_of_its_floats(kernel, layer, also_an_output, seed):
    image, filters, attributes, _ = layer
    random = np.random.default_rng(seed)
    m, b = random.normal(size=(2, len(filters))).astype(np.float32)
    # A sum of 0, and one next to it by a rounding, in both directions.
    sums = 2 * random.integers(0, filters[0].size + 1, len(filters)) - filters[0].size
    b = np.where(random.random(len(filters)) < 0.7, -m * sums.astype(np.float32), b)
    m = np.where(
        random.random(len(filters)) < 0.1, random.choice(SPECIAL[np.abs(SPECIAL) < 2], len(filters)), m
    )
    b = np.where(random.random(len(filters)) < 0.1, random.choice(SPECIAL, len(filters)), b)
    floats = reference.bconv2d(image, filters, attributes, multiplier=m, bias=b)
    file = File()
    source, between = (
        file.tensor(reference.pack(image).shape, np.int32),
        file.tensor(floats.shape, np.float32),
    )
    expected = reference.quantize(floats)
    signs = file.tensor(expected.shape, np.int32)
    convolution(file, source, reference.pack(filters), between, attributes, multiplier=m, bias=b)
    file.custom("LceQuantize", [between], [signs])
    content = file.finish([source], [signs, between] if also_an_output else [signs])
    answer = run(content, reference.pack(image), kernel=kernel)
    equal(answer[0] if also_an_output else answer, expected)


@settings(SETTINGS, max_examples=60)
@given(
    layer=layers(),
    activation=st.integers(0, 3),
    powers=st.booleans(),
    swapped=st.booleans(),
    also_an_output=st.booleans(),
    seed=SEEDS,
)
def test_two_halves_are_one_ternary_convolution(
    kernel, layer, activation, powers, swapped, also_an_output, seed
):
    image, first, attributes, _ = layer
    attributes = attributes | {"fused_activation_function": 0}
    random = np.random.default_rng(seed)
    second = np.where(random.random(first.shape) < 0.5, first, ~first)
    outs = len(first)
    m = 2.0 ** random.integers(-3, 3, outs) if powers else random.normal(size=outs)
    m = m.astype(np.float32)
    zero = np.zeros(outs, np.float32)
    bias = zero if powers else random.normal(size=outs).astype(np.float32)
    halves = [
        reference.bconv2d(image, filters, attributes, multiplier=m, bias=b)
        for filters, b in ((first, bias), (second, zero))
    ]
    file = File()
    source = file.tensor(reference.pack(image).shape, np.int32)
    outputs = [file.tensor(halves[0].shape, np.float32) for _ in range(3)]
    for filters, b, output in ((first, bias, outputs[0]), (second, zero, outputs[1])):
        convolution(file, source, reference.pack(filters), output, attributes, multiplier=m, bias=b)
    file.add(outputs[1::-1] if swapped else outputs[:2], outputs[2], activation)
    content = file.finish([source], [outputs[2], outputs[0]] if also_an_output else [outputs[2]])
    bounds = {0: (-np.inf, np.inf), 1: (0, np.inf), 2: (-1, 1), 3: (0, 6)}[activation]
    expected = np.clip(halves[0] + halves[1], *np.float32(bounds))
    for ternary in (0, 1):
        answer = run(content, reference.pack(image), kernel=kernel, ternary=ternary)
        if also_an_output:
            equal(answer[1], halves[0])
            answer = answer[0]
        if ternary and not powers and not also_an_output:
            weights = first[0].size
            np.testing.assert_allclose(answer, expected, atol=4e-7 * weights * np.abs(m).max() + 1e-5)
        else:
            equal(answer, expected)
