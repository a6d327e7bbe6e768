"""Packed weights of float layers: what unpacks, adds and scales constants is done once, and right."""

import numpy as np
import pytest
import reference
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tflite_files import File, run

SETTINGS = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


def made(shape, axis, *, pruned, seed, activation=0, seen=False):
    """A file that adds its input to a kernel, with an input; and the kernel as NumPy computes it."""
    random = np.random.default_rng(seed)
    signs = [random.random(shape) < 0.5 for _ in range(1 + pruned)]
    file = File()
    source, result = file.tensor(shape, np.float32), file.tensor(shape, np.float32)
    parts = [file.tensor(shape, np.float32) for _ in signs]
    for part, negative in zip(parts, signs, strict=True):
        file.custom("LceDequantize", [file.constant(reference.pack(negative))], [part])
    kernel = sum(np.where(negative, np.float32(-1), np.float32(1)) for negative in signs)
    current = parts[0]
    if pruned:
        current = file.tensor(shape, np.float32)
        file.add(parts, current)
    if axis is not None:
        axes = [shape[i] if i == axis else 1 for i in range(len(shape))]
        scale = random.normal(size=axes).astype(np.float32)
        product = file.tensor(shape, np.float32)
        file.multiply([current, file.constant(scale)], product, activation)
        current, kernel = product, kernel * scale
        kernel = np.maximum(kernel, 0) if activation else kernel
    file.add([source, current], result)
    x = random.normal(size=shape).astype(np.float32)
    outputs = [result, parts[0]] if seen else [result]
    return file.finish([source], outputs), x, kernel, np.where(signs[0], -1.0, 1.0).astype(np.float32)


@SETTINGS
@given(
    shape=st.lists(st.integers(1, 5), max_size=3),
    channels=st.integers(1, 100),
    data=st.data(),
    pruned=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_constants_are_unpacked_added_and_scaled(shape, channels, data, pruned, seed):
    shape = (*shape, channels)
    axis = data.draw(st.sampled_from([None, *range(len(shape))]))
    file, x, kernel, _ = made(shape, axis, pruned=pruned, seed=seed)
    np.testing.assert_array_equal(run(file, x), x + kernel)


@pytest.mark.parametrize(("activation", "seen"), [(1, False), (0, True), (1, True)])
def test_what_is_used_elsewhere_or_activated_stays_right(activation, seen):
    file, x, kernel, signs = made((3, 2, 40), 0, pruned=True, seed=1, activation=activation, seen=seen)
    answer = run(file, x)
    found = answer if seen else [answer]
    np.testing.assert_array_equal(found[0], x + kernel)
    if seen:
        np.testing.assert_array_equal(found[1], signs)


def test_the_interpreter_runs_nothing_for_a_constant_kernel():
    """One node replaces the four that make it, and another delegate takes what it yields."""
    from ai_edge_litert.interpreter import Interpreter, load_delegate
    from larq_equalbits_runtime import library_path

    file, *_ = made((1, 1, 4, 64), 2, pruned=True, seed=0)
    delegate = load_delegate(library_path())
    interpreter = Interpreter(model_content=file, experimental_delegates=[delegate])
    interpreter.allocate_tensors()
    # The replaced nodes stay listed, and those that replace them come after them.
    first, *rest = interpreter._get_ops_details()[5:]
    assert len(first["inputs"]) == 3 and len(first["outputs"]) == 1
    (output,) = first["outputs"]
    assert [index for node in rest for index in node["inputs"] if index == output] == [output]
