"""Trains a network by a recipe: repeatable bit for bit, resumable after a kill at any moment."""

import contextlib
import json
import math
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorflow.python.framework import config as framework_config

from larq_equalbits import _files
from larq_equalbits._errors import InputError, WorkError, invalid
from larq_equalbits.data import Data, tfds_folder
from larq_equalbits.data.pipeline import square_size
from larq_equalbits.training import building, distribution, run_folder
from larq_equalbits.training.run_folder import Recorder, Run
from larq_equalbits.training.settings import Settings

# Keras writes their rate into an optimizer whose schedule overwrites it at the next step.
_RATES = (tf.keras.callbacks.LearningRateScheduler, tf.keras.callbacks.ReduceLROnPlateau)


def train(
    settings: Settings,
    out: str | os.PathLike[str],
    *,
    resume: bool = False,
    verbose: int = 1,
    build: building.Builder | None = None,
    callbacks: Sequence[tf.keras.callbacks.Callback] = (),
    strategy: tf.distribute.Strategy | None = None,
    download: bool = False,
    data: Data | Sequence[tf.data.Dataset] | None = None,
    light: bool = False,
) -> Run:
    """Trains as `settings` say, and saves everything in the folder `out` after each epoch.

    The folder holds ``settings.json``, ``history.csv``, ``model.keras`` (the last), ``best.keras`` (highest
    validation accuracy, the first of equals), ``checkpoint/``, ``logs/`` for TensorBoard and, at the end,
    ``results.json``. Each file is replaced as a whole, so a kill leaves the former one.

    Random seeds of Python, numpy and TensorFlow are set; Keras' policy and TensorFlow's deterministic mode are
    as before afterwards.

    Args:
        settings: what to train, on what and how.
        out: the run's folder: a new one, or that of a former run, whose files are replaced and no others.
        resume: go on after the last saved epoch in `out` (from the start, where none was finished), with the
            same result as an unbroken run; a run that is finished is only evaluated. `settings` must be those
            of that run.
        verbose: 1 for Keras' bar, 2 for a line an epoch, 0 for silence.
        build: makes the network from ``(input_shape=, num_classes=, quantizer=, binarize_activations=,
            **model_options)`` in place of the zoo's builder.
        callbacks: further Keras callbacks, but none that sets the learning rate, which the settings' schedule does.
            Those with ``get_state()`` and ``set_state(state)`` (JSON) are saved and restored with the run.
        strategy: a `tf.distribute` strategy; the batch is divided among its replicas, and batch normalization
            takes its statistics over all of them.
        download: whether to download a data set that is missing.
        data: the images instead of those that `settings` name: a `data.Data`, whose batch size is then that of the
            run, or a pair (train, test) of tf.data sets as for `data.from_datasets`. To resume, give them again: images
            in another order are refused.
        light: save the models when the training has ended, not every epoch, and nothing for TensorBoard: a run of
            seconds takes a third less time. Needs the run to be on one device, without `strategy`.

    Returns:
        The run, with its history and its accuracy on the test images.

    Raises:
        InputError: values out of range, unknown names, data that is missing or damaged, a model that does not
            fit the data, a folder that holds other things or that another process trains in, and to resume: no run
            there, another model's, or other settings (names them).
        WorkError: the loss became infinite or NaN; the epochs before are saved.
        OSError: the folder cannot be written, or the disk is full; what was saved before is still there.
    """
    given = None if data is None else building.given(data)
    if given is not None:
        sized = Path(given.name).is_dir() or given.name.startswith("tfds:")
        size = square_size(given.input_shape) if sized else None
        settings = settings.replace(
            dataset=given.name, batch_size=given.batch_size, image_size=size, **given._options
        )
    else:
        settings = building.fitted(settings, download=download)
    for callback in callbacks:
        if isinstance(callback, _RATES):
            expected = "without one that sets the learning rate: the settings' schedule does"
            raise invalid("callbacks", type(callback).__name__, expected)
    plan = settings.plan()
    folder = Path(out)
    # What ended the training may be a callback.
    finished = resume and (folder / run_folder.RESULTS).is_file()
    if resume:
        _check_same(settings, folder, light)
    else:
        run_folder.check_free(folder)
    run_folder.check_inside(folder)
    strategy = strategy or tf.distribute.get_strategy()
    if light and strategy.num_replicas_in_sync > 1:
        raise invalid("light", light, f"False on the {strategy.num_replicas_in_sync} replicas of a strategy")
    with _surroundings(settings), tempfile.TemporaryDirectory() as scratch, contextlib.ExitStack() as held:
        images = building.images(settings, download=download) if given is None else given
        distribution.check_batch(plan.batch_size, strategy)
        # The data must not decide how the weights start.
        tf.keras.utils.set_random_seed(settings.seed)
        with strategy.scope():
            distributed = tf.distribute.has_strategy()
            model = building.build(settings, plan, images, build)
            rate = building.schedule(plan, images.steps_per_epoch)
            building.compile_model(model, plan, rate)
        chief = distribution.is_chief(strategy)
        own = building.own_callbacks(plan, model, None if light or not chief else folder / run_folder.LOGS)
        stateful = [callback for callback in (*own, *callbacks) if hasattr(callback, "get_state")]
        monitor = "accuracy" if images.validation is None else "val_accuracy"
        recorder = Recorder(
            folder, images._seed, monitor, stateful, rate, None if chief else Path(scratch), light
        )
        if chief:
            held.enter_context(_files.locked(folder, "trains"))
            run_folder.clear(folder, everything=not resume)
            if not resume:
                settings.save(folder / run_folder.SETTINGS)
        # The others must not look for the checkpoint while a former run's is being removed.
        distribution.wait_for_all(strategy)
        if resume and (folder / run_folder.STATE).is_file():
            recorder.restore(model)
        with (
            tfds_folder.streaming(settings.dataset, settings.data_dir),
            distribution.synchronized(model, strategy),
        ):
            if recorder.state.epoch < plan.epochs and not finished:
                model.fit(
                    images.epochs(recorder.state.epoch),
                    initial_epoch=recorder.state.epoch,
                    epochs=plan.epochs,
                    steps_per_epoch=images.steps_per_epoch,
                    validation_data=images.validation,
                    callbacks=[*own, *callbacks, recorder],
                    verbose=verbose if chief else 0,
                )
        if chief:
            with tfds_folder.streaming(settings.dataset, settings.data_dir):
                if distributed:
                    # Several machines would all have to take part in a test of their common model.
                    model = building.build(settings, plan, images, build)
                    building.compile_model(model, plan, rate)
                _evaluate(model, images, recorder)
        distribution.wait_for_all(strategy)
    return Run.load(folder)


def _check_same(settings: Settings, folder: Path, light: bool) -> None:
    differences = Settings.load(folder / run_folder.SETTINGS).differences(settings)
    if differences:
        raise InputError(
            f"resume needs the settings of the run in {folder}, but these differ: {'; '.join(differences)}."
        )
    if (folder / run_folder.STATE).is_file() and (folder / run_folder.BEST_STATE).is_file() != light:
        raise invalid("light", light, f"{not light} to resume the run in {folder}, which was begun so")


@contextlib.contextmanager
def _surroundings(settings: Settings) -> Iterator[None]:
    """Seeds, deterministic mode, precision and restorable random generators, put back at the end."""
    policy = tf.keras.mixed_precision.global_policy()
    deterministic = framework_config.is_op_determinism_enabled()
    generators = tf.keras.backend.experimental.is_tf_random_generator_enabled()
    tf.keras.backend.clear_session()
    tf.keras.utils.set_random_seed(settings.seed)
    tf.keras.mixed_precision.set_global_policy(settings.precision)
    tf.keras.backend.experimental.enable_tf_random_generator()
    if settings.deterministic:
        tf.config.experimental.enable_op_determinism()
    try:
        yield
    finally:
        tf.keras.mixed_precision.set_global_policy(policy)
        if not generators:
            tf.keras.backend.experimental.disable_tf_random_generator()
        if settings.deterministic and not deterministic:
            framework_config.disable_op_determinism()


def _evaluate(model: tf.keras.Model, images: Data, recorder: Recorder) -> None:
    """Tests what the files hold, as weights of `model`: a callback may have changed them when the training ended."""
    epochs, best = recorder.state.epoch, recorder.state.best
    results: dict[str, Any] = {"epochs": epochs, "best_epoch": best[1] if best else None}
    recorder.load(model, run_folder.LAST)
    last = model.evaluate(images.test, verbose=0)
    best_is_last = best is not None and best[1] == epochs - 1
    if recorder.light or not best_is_last:
        recorder.load(model, run_folder.BEST)
    for prefix, values in (
        ("", last),
        ("best_", last if best_is_last else model.evaluate(images.test, verbose=0)),
    ):
        results.update(zip((f"{prefix}test_loss", f"{prefix}test_accuracy"), values, strict=True))
    for name, value in results.items():
        if value is not None and not math.isfinite(value):
            raise WorkError(
                f"the training diverged: {name} is {value}. Lower learning_rate or raise warmup_epochs; what was "
                f"trained is saved in {recorder.folder}."
            )
    _files.write_text(recorder.folder / run_folder.RESULTS, json.dumps(results, indent=2) + "\n")
