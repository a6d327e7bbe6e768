"""Models that an earlier layout of the package saved still load, and answer as they did."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from larq_equalbits._bits.kernels import quantized_kernels

SAVED = Path(__file__).parent / "saved"
with np.load(SAVED / "answers.npz") as archive:
    ANSWERS = dict(archive)
IMAGES = np.random.RandomState(0).randn(4, 6, 6, 3).astype("float32")
FILES = sorted(path.name for path in SAVED.iterdir() if path.name != "answers.npz")


def test_every_kind_is_there():
    assert {Path(name).suffix for name in FILES} == {"", ".h5", ".keras"}
    assert {Path(name).stem for name in FILES} == set(ANSWERS)


@pytest.mark.parametrize("name", FILES)
def test_a_saved_model_answers_as_before(name):
    model = tf.keras.models.load_model(SAVED / name)
    assert [kernel.name for kernel in quantized_kernels(model)] in (["binary"], ["pruned"], ["pruned/binary"])
    answers = model.predict(IMAGES, verbose=0)
    np.testing.assert_allclose(answers, ANSWERS[Path(name).stem], rtol=1e-5, atol=1e-6)
