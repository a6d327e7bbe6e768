"""What a run leaves in its folder, written epoch by epoch, and how it is read again."""

import dataclasses
import math
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

from larq_equalbits import _files
from larq_equalbits._errors import InputError, WorkError, invalid, is_number
from larq_equalbits._files import SETTINGS
from larq_equalbits._keras.loading import load_model, load_weights
from larq_equalbits.training import checkpoint, history
from larq_equalbits.training.settings import KEYS, Settings

HISTORY, RESULTS = "history.csv", "results.json"
LAST, BEST = "model.keras", "best.keras"
STATE, BEST_STATE = Path("checkpoint", "state.npz"), Path("checkpoint", "best.npz")
LOGS = "logs"
_LOGS = [Path(LOGS, name) for name in ("bits", "train", "validation")]
_FILES = (*map(Path, (SETTINGS, HISTORY, RESULTS, LAST, BEST)), STATE, BEST_STATE)


@dataclasses.dataclass(frozen=True)
class Run:
    """A training run that is finished, or as far as it got.

    Attributes:
        folder: where its files are.
        settings: what it was told.
        history: by key of Keras' `logs`, the value of every epoch.
        best_epoch: epoch (from 0) of `best.keras`; None before the first epoch ended.
        results: what was measured at the end: `test_loss`, `test_accuracy` of the last model on all test
            images, `best_test_loss`, `best_test_accuracy` of the best one, `epochs`, `best_epoch`; empty
            before the end.

    Examples:
        >>> Run(folder, Settings(), {"loss": [2.0, 1.0]}, best_epoch=1, results={"test_accuracy": 0.9}).best_epoch
        1
    """

    folder: Path
    settings: Settings
    history: dict[str, list[float]]
    best_epoch: int | None
    results: dict[str, float]

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> "Run":
        """Reads the run in `folder`.

        Raises:
            InputError: no run there, or damaged files; names the file.
        """
        folder = Path(folder)
        settings = Settings.load(folder / SETTINGS)
        rows: list[dict[str, float]] = []
        best = None
        if (folder / STATE).is_file():
            state = checkpoint.read_state(folder / STATE)
            best = state.best
            if state.epoch:
                rows = history.read(folder / HISTORY, state.epoch)
        results = {}
        if (folder / RESULTS).is_file():
            results = _files.read_json(folder / RESULTS)
            if not all(value is None or is_number(value) for value in results.values()):
                raise InputError(f"{folder / RESULTS} must hold numbers, but holds {results}.")
        return cls(folder, settings, history.columns(rows), best[1] if best else None, results)

    def load_model(self, which: str = "last", *, trust: bool = False) -> tf.keras.Model:
        """The trained model, compiled, from ``model.keras`` ("last") or ``best.keras`` ("best").

        Args:
            which: "last" or "best".
            trust: whether to load it even where it could run code of whoever wrote it, as a Lambda layer can.

        Raises:
            InputError: another name, the file is not there, is damaged or needs `trust`.
        """
        return load_saved(self.folder, which, trust)


def load_saved(folder: Path, which: str = "last", trust: bool = False) -> tf.keras.Model:
    """The model of the run in `folder`, as `Run.load_model`; nothing else of the run is read."""
    if which not in ("last", "best"):
        raise invalid("which", which, '"last" or "best"')
    path = folder / (LAST if which == "last" else BEST)
    if not path.is_file():
        raise InputError(f"the run must have saved a model, but there is no {path}.")
    return load_model(path, trust=trust)


def check_free(folder: Path) -> None:
    """Checks that a run may write into `folder`: a new or empty one, or that of a run.

    Raises:
        InputError: a folder with other things in it, or a file.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"out must be a folder, but {folder} is a file.")
    if not folder.is_dir() or is_run(folder):
        return
    if any(path.is_file() or path.is_symlink() for path in folder.rglob("*")):
        raise InputError(f"out must be a new folder or that of a run, but {folder} holds other things.")


def check_inside(folder: Path) -> None:
    """Checks that what a run writes into `folder` stays there, and finds files and folders where it needs them.

    Raises:
        InputError: a folder inside is a link, or a file; a file is a folder.
    """
    folders = [folder / name for name in (STATE.parent, Path(LOGS), *_LOGS)]
    _files.check_no_links(*folders)
    files = [folder / name for name in _FILES]
    wrong = [path for path in folders if path.is_file()] + [path for path in files if path.is_dir()]
    if wrong:
        raise InputError(
            f"out must have a {'folder' if wrong[0].is_file() else 'file'} at {wrong[0]}, if anything: remove what is "
            "there."
        )


def is_run(folder: Path) -> bool:
    """Whether `folder` has the settings of a run, intact or damaged as a kill or a disk leaves them."""
    settings = folder / SETTINGS
    try:
        content = _files.read_json(settings)
    except (InputError, OSError):
        return settings.is_file() and (folder / STATE).is_file()
    return set(KEYS) <= set(content)


def _derived(folder: Path) -> list[Path]:
    """What `convert` and `report` wrote there: a .tflite with the `model.json` that belongs to it, and a page."""
    from larq_equalbits.export import model_json

    found = [path for path in [folder / "report.html"] if _files.is_report(path)]
    tflite, beside = folder / "model.tflite", folder / "model.json"
    if not _files.holds(beside, "sha256", "report"):
        return found
    if not tflite.is_file():
        return [*found, beside]
    try:
        model_json.check(beside, tflite.read_bytes())
    except InputError:
        # The two tell every reader that they do not belong together.
        return found
    return [*found, tflite, beside]


def clear(folder: Path, everything: bool) -> None:
    """Removes what a killed process left half-written, and with `everything` the former run's files too, its .tflite
    among them. Files of other names stay, and so does whatever else lies in `logs/`.

    Raises:
        InputError: as `check_inside`; nothing is removed then.
    """
    check_inside(folder)
    for name in _FILES:
        for scratch in (folder / name.parent).glob(f".{name.name}.*"):
            shutil.rmtree(scratch, ignore_errors=True)
        if everything:
            (folder / name).unlink(missing_ok=True)
    if everything:
        for derived in _derived(folder):
            derived.unlink()
        for logs in _LOGS:
            for events in (folder / logs).glob("events.out.tfevents.*"):
                events.unlink()


def copy(source: Path, folder: Path) -> None:
    """Copies the run in `source` into `folder`, but for its results and its logs, to go on there."""
    for name in _FILES:
        if name != Path(RESULTS) and (source / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / name, folder / name)


def save_model(model: tf.keras.Model, path: Path) -> None:
    """Writes `model` to `path`, whole or not at all."""
    with _files.replacing(path) as temporary:
        model.save(temporary)


class Recorder(tf.keras.callbacks.Callback):
    """Saves after every epoch, and knows how to go on after the last one that was saved.

    The models and the history are written before the checkpoint: a kill between them repeats an epoch whose
    files are there already and come out the same. Give it as the last callback.

    Args:
        folder: the run's folder.
        seed: of the order of the images and of their augmentation.
        monitor: key of `logs` whose highest value makes a model the best one.
        stateful: callbacks with ``get_state()`` and ``set_state(state)``, whose states (JSON) are kept.
        rate: the learning rate as a function of the optimizer's step, for the history.
        scratch: where to write instead, for all but one of several machines: reading a variable that is
            averaged over the machines takes all of them, so they have to save too, and throw it away.
        light: whether to save the models by `load` alone, after the training, and not every epoch.
    """

    def __init__(
        self,
        folder: Path,
        seed: int,
        monitor: str,
        stateful: Sequence[Any] = (),
        rate: Callable[[Any], Any] | None = None,
        scratch: Path | None = None,
        light: bool = False,
    ) -> None:
        super().__init__()
        self._supports_tf_logs = True
        self.folder = folder
        self.monitor = monitor
        self.rate = rate
        self.light = light
        self._target = scratch or folder
        self._stateful = list(stateful)
        self.state = checkpoint.State(epoch=0, seed=seed)
        self._history = history.History(self._target)

    def restore(self, model: tf.keras.Model) -> None:
        """Takes up variables, states of the callbacks, history and best value.

        Raises:
            InputError: as `checkpoint.restore`, or the images come in another order.
        """
        seed = self.state.seed
        self.state = checkpoint.restore(self.folder / STATE, model, len(self._stateful))
        if self.state.seed not in (None, seed):
            raise InputError(
                f"data must be as at the run's begin, which took images with the seed {self.state.seed}, but those of "
                f"now have the seed {seed}."
            )
        self._history.restore(self.folder / HISTORY, self.state.epoch)
        for callback, state in zip(self._stateful, self.state.callbacks, strict=True):
            try:
                callback.set_state(state)
            except (TypeError, ValueError, KeyError, AttributeError) as error:
                raise InputError(
                    f"resume needs the states of its callbacks, but {self.folder / STATE} holds another for "
                    f"{type(callback).__name__}: {error!r}."
                ) from error

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Saves everything.

        Raises:
            WorkError: the loss, or that of the held-out images, is no finite number; nothing of this epoch is saved.
            OSError: what could not be written, and that the epochs before are safe.
        """
        row = {key: float(value) for key, value in (logs or {}).items()}
        for name in ("loss", "val_loss"):
            if not math.isfinite(row.get(name, 0.0)):
                raise WorkError(
                    f"the training diverged: {name} of epoch {epoch + 1} is {row[name]}. Lower learning_rate or raise "
                    f"warmup_epochs; the {epoch} epochs before it are saved in {self._target}."
                )
        if self.rate is not None:
            row["learning_rate"] = float(self.rate(int(self.model.optimizer.iterations.numpy()) - 1))
        value = row[self.monitor]
        better = self.state.best is None or value > self.state.best[0]
        state = dataclasses.replace(
            self.state,
            epoch=epoch + 1,
            best=(value, epoch) if better else self.state.best,
            callbacks=[callback.get_state() for callback in self._stateful],
        )
        try:
            self._write(better, row, state)
        except OSError as error:
            raise OSError(
                error.errno,
                f"epoch {epoch + 1} could not be saved in {self._target}: {error.strerror or error}; {epoch} "
                "finished epochs are safe there, to be resumed",
            ) from error
        self.state = state

    def _write(self, better: bool, row: dict[str, float], state: checkpoint.State) -> None:
        if not self.light:
            save_model(self.model, self._target / LAST)
            if better:
                save_model(self.model, self._target / BEST)
        self._history.append(row)
        variables = checkpoint.variables(self.model)
        values = [variable.numpy() for variable in variables]
        for path in [STATE] if not (self.light and better) else [BEST_STATE, STATE]:
            checkpoint.save(self._target / path, values, [variable.name for variable in variables], state)

    def load(self, model: tf.keras.Model, name: str) -> None:
        """Gives `model` the weights of `LAST` or `BEST`; a light run's file is written by this."""
        if not self.light:
            # The file may come from somewhere else: as a whole it could run code.
            load_weights(model, self.folder / name)
            return
        checkpoint.restore(self.folder / (STATE if name == LAST else BEST_STATE), model, len(self._stateful))
        save_model(model, self.folder / name)
