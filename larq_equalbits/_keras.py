"""Selects Keras 2, on which Larq is built, before TensorFlow is loaded."""

import os
import sys

_ADVICE = (
    "larq_equalbits needs Keras 2, but TensorFlow was imported first and has loaded Keras {version}. "
    'Import larq_equalbits before TensorFlow, or set the environment variable TF_USE_LEGACY_KERAS to "1" '
    "before Python starts (and install tf-keras of TensorFlow's minor version)."
)


def select_keras_2() -> None:
    """Sets ``TF_USE_LEGACY_KERAS=1``, which TensorFlow reads when it is first imported.

    Raises:
        ImportError: where TensorFlow is already imported with Keras 3, which cannot be undone.
    """
    tensorflow = sys.modules.get("tensorflow")
    if tensorflow is None:
        os.environ["TF_USE_LEGACY_KERAS"] = "1"
        return
    # `tf.keras` is a lazy loader that reads the variable at its first use; a Keras 3 that it has
    # picked already stays.
    previous = os.environ.get("TF_USE_LEGACY_KERAS")
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    # Keras 2 does not tell its version under this name in every release; Keras 3 does.
    version = getattr(tensorflow.keras, "__version__", "2.")
    if not version.startswith("2."):
        if previous is None:
            del os.environ["TF_USE_LEGACY_KERAS"]
        else:
            os.environ["TF_USE_LEGACY_KERAS"] = previous
        raise ImportError(_ADVICE.format(version=version))
