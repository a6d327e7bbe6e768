"""What the commands take a model from: a run folder, or a file or folder that Keras saved."""

import dataclasses
from pathlib import Path
from typing import Any

from larq_equalbits.errors import InputError


@dataclasses.dataclass(frozen=True)
class Source:
    """A model and where its things are.

    Attributes:
        model: the Keras model.
        folder: where files about it go.
        settings: the run's settings, None for a bare model.
    """

    model: Any
    folder: Path
    settings: Any = None

    def images(self, dataset: str | None, data_dir: Path | None) -> Any:
        """The data set to verify on: the named one, or that of the run; None where neither is there."""
        from larq_equalbits import data

        name = dataset or (self.settings.dataset if self.settings else None)
        if name is None:
            return None
        return data.load(name, data_dir=data_dir or (self.settings.data_dir if self.settings else None))


def open_source(path: Path, *, best: bool = False) -> Source:
    """Loads the model of a run folder (the last one, or the best), or one that Keras saved.

    Raises:
        InputError: nothing there, or nothing that Keras can load.
    """
    import tensorflow as tf

    from larq_equalbits.training import Run

    if (path / "settings.json").is_file():
        run = Run.load(path)
        return Source(run.load_model("best" if best else "last"), path, run.settings)
    if not path.exists():
        raise InputError(f"SOURCE must be a run folder or a saved Keras model, but there is no {path}.")
    try:
        return Source(tf.keras.models.load_model(path), path.parent)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(
            f"SOURCE must be a run folder or a Keras 2 model, but {path} is not: {reason}"
        ) from error
