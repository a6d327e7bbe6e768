"""The handwritten digits that scikit-learn carries: no download, and nothing to prepare."""

import functools
import hashlib

import numpy as np

from larq_equalbits._errors import require
from larq_equalbits.data.in_memory import Examples, Splits

_TEST_EVERY = 5
_BRIGHTEST = 16


@functools.cache
def splits() -> Splits:
    """1,797 images of handwritten digits, 8x8x1 of 0 to 255, every fifth of each class for the test.

    Raises:
        ImportError: scikit-learn is not installed; names the extra to install.
    """
    digits = require("data", "sklearn.datasets").load_digits()
    # The counts run from 0 to 16; images hold bytes.
    images = np.round(digits.images * (255 / _BRIGHTEST)).astype(np.uint8)[..., np.newaxis]
    examples = Examples(images, digits.target.astype(np.int32))
    tested = np.zeros(len(examples), bool)
    for label in np.unique(examples.labels):
        tested[np.flatnonzero(examples.labels == label)[_TEST_EVERY - 1 :: _TEST_EVERY]] = True
    parts = {"train": examples[~tested], "test": examples[tested]}
    train, test = (part[_order(name, len(part))] for name, part in parts.items())
    return Splits(train, test, tuple(map(str, digits.target_names)))


def _order(split: str, count: int) -> np.ndarray:
    """The order in which tensorflow-datasets would write so many examples."""
    digests = [
        hashlib.md5(f"{split}{place}".encode(), usedforsecurity=False).digest() for place in range(count)
    ]
    return np.array(sorted(range(count), key=lambda place: digests[place]))
