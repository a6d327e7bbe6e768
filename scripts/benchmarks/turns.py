"""Functions that take turns in one process, as all then see the same machine, or run in one of their own."""

import multiprocessing
import statistics
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from typing import Any

WALL, PROCESSOR = 0, 1


def in_own_process(function: Callable[..., Any], *arguments: Any) -> Any:
    """What `function` answers in a new process."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        return process.submit(function, *arguments).result()


def training_step(model: Any, batch_size: int) -> Callable[[], Any]:
    """A function that trains a step on random images."""
    import tensorflow as tf

    model.compile(tf.keras.optimizers.SGD(0.01, momentum=0.9), "sparse_categorical_crossentropy")
    images = tf.random.stateless_normal((batch_size, *model.input_shape[1:]), [0, 1])
    data = iter(tf.data.Dataset.from_tensors((images, tf.zeros(batch_size, tf.int32))).repeat())
    train = model.make_train_function()
    return lambda: train(data)["loss"].numpy()


def timed(function: Callable[[], Any]) -> tuple[float, float]:
    """Wall time and processor time of one call, in seconds."""
    wall, processor = time.perf_counter(), time.process_time()
    function()
    return time.perf_counter() - wall, time.process_time() - processor


def taken(functions: Mapping[str, Callable[[], Any]], turns: int) -> dict[str, list[tuple[float, float]]]:
    """The `timed` calls of each function but its first two, which compile or fill caches."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in functions}
    for turn in range(turns + 2):
        # Whoever runs second finds other caches, so they change places.
        for name in sorted(functions, reverse=bool(turn % 2)):
            times[name].append(timed(functions[name]))
    return {name: each[2:] for name, each in times.items()}


def medians(functions: Mapping[str, Callable[[], Any]], turns: int, clock: int = WALL) -> dict[str, float]:
    """The median seconds of each function's calls."""
    times = taken(functions, turns)
    return {name: statistics.median(each[clock] for each in times[name]) for name in functions}
