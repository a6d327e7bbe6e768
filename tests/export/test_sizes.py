"""Files of the zoo's networks with float activations beside their ideal size, as the benchmark measures them."""

import pytest
from benchmarks import export

from larq_equalbits import zoo


@pytest.mark.slow
@pytest.mark.parametrize("name", zoo.list_models())
def test_a_file_with_float_activations_is_next_to_its_ideal(name):
    rows = export.measure(name, 32, 10, "1/32")
    assert [row.bits for row in rows] == ["1/32 int8", "1/32 bits"]
    for row in rows:
        assert row.tflite_bytes <= 1.05 * row.ideal_bytes + 40_000
        assert row.within
    # Another one than the ideal of floats, which is four times that of int8 and more.
    assert 3 * rows[0].tflite_bytes < rows[0].float_bytes
