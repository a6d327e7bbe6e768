"""Files of the zoo's networks with float activations beside their ideal size, as the benchmark measures them."""

import importlib.util
import sys
from pathlib import Path

import pytest

from larq_equalbits import zoo

PROGRAM = Path(__file__).resolve().parents[2] / "scripts" / "benchmarks" / "export.py"


@pytest.fixture(scope="module")
def program():
    specification = importlib.util.spec_from_file_location("export_benchmark", PROGRAM)
    module = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = module
    specification.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.parametrize("name", zoo.list_models())
def test_a_file_with_float_activations_is_next_to_its_ideal(program, name):
    rows = program.measure(name, 32, 10, "1/32")
    assert [row.bits for row in rows] == ["1/32 int8", "1/32 bits"]
    for row in rows:
        assert row.tflite_bytes <= 1.05 * row.ideal_bytes + 40_000
        assert row.within
    # Another one than the ideal of floats, which is four times that of int8 and more.
    assert 3 * rows[0].tflite_bytes < rows[0].float_bytes
