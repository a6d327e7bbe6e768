"""The handwritten digits that scikit-learn carries, as a tensorflow-datasets builder: no download."""

import contextlib
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from larq_equalbits._errors import require

require("data", "importlib_resources")
tfds: Any = require("data", "tensorflow_datasets")

TEST_EVERY = 5
_BRIGHTEST = 16
_CITATION = """@misc{alpaydin1998optical,
  author = {Alpaydin, E. and Kaynak, C.},
  title = {Optical Recognition of Handwritten Digits},
  year = {1998},
  howpublished = {UCI Machine Learning Repository},
}"""


def every_nth_of_each_class(labels: np.ndarray, n: int) -> np.ndarray:
    """Marks every n-th example of each class, counted in their order: a fixed, stratified share of 1/n.

    Args:
        labels: the class of each example, integers of shape (examples,).
        n: at least 1; an example is marked where its position within its class is n - 1 modulo n.

    Returns:
        A boolean array of shape (examples,).
    """
    marked = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        marked[np.flatnonzero(labels == label)[n - 1 :: n]] = True
    return marked


class Digits(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
    """1,797 images of handwritten digits, 8x8x1 of 0 to 255, every fifth of each class for the test."""

    name = "digits"
    VERSION = tfds.core.Version("1.0.0")

    def _info(self) -> Any:
        return self.dataset_info_from_configs(
            description=(
                "Handwritten digits of 43 people, reduced to 8x8 counts of dark pixels: the test part of the "
                "UCI set, as scikit-learn ships it."
            ),
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(8, 8, 1), encoding_format="png"),
                    "label": tfds.features.ClassLabel(num_classes=10),
                }
            ),
            supervised_keys=("image", "label"),
            homepage="https://archive.ics.uci.edu/dataset/80/optical+recognition+of+handwritten+digits",
            citation=_CITATION,
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        digits = require("data", "sklearn.datasets").load_digits()
        # The counts run from 0 to 16; images hold bytes.
        images = np.round(digits.images * (255 / _BRIGHTEST)).astype(np.uint8)[..., np.newaxis]
        test = every_nth_of_each_class(digits.target, TEST_EVERY)
        return {
            name: self._generate_examples(images[part], digits.target[part])
            for name, part in (("train", ~test), ("test", test))
        }

    def _generate_examples(self, images: np.ndarray, labels: np.ndarray) -> Iterator[tuple[int, dict]]:
        for index, (image, label) in enumerate(zip(images, labels, strict=True)):
            yield index, {"image": image, "label": int(label)}


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keeps tensorflow-datasets from printing and from drawing bars for what takes a second."""
    tqdm = require("data", "tensorflow_datasets.core.utils.tqdm_utils")
    was_shown = tqdm._active
    tfds.disable_progress_bar()
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        if was_shown:
            tfds.enable_progress_bar()


def default_folder() -> Path:
    """The user's cache folder in which the digits are prepared once."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "larq_equalbits"


def prepared_builder(data_dir: str | os.PathLike[str] | None = None) -> Any:
    """The builder of the digits, prepared in `data_dir` (default: `default_folder()`) where it was not yet.

    The folder appears whole or not at all, also when several processes prepare it at once.

    Raises:
        OSError: the folder cannot be written.
    """
    folder = os.fspath(data_dir if data_dir is not None else default_folder())
    builder = Digits(data_dir=folder)
    if not builder.data_path.exists():
        try:
            with quiet():
                builder.download_and_prepare(
                    download_config=tfds.download.DownloadConfig(try_download_gcs=False)
                )
        except Exception:
            # Another process may have put the finished folder into place first.
            builder = Digits(data_dir=folder)
            if not builder.data_path.exists():
                raise
    return builder
