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
    # TensorFlow imports the Keras that it has chosen at once, so what is loaded tells the choice.
    keras_version = getattr(sys.modules.get("keras"), "__version__", "2.")
    if "tensorflow" in sys.modules and "tf_keras" not in sys.modules and not keras_version.startswith("2."):
        raise ImportError(_ADVICE.format(version=keras_version))
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
