"""What a second worker brings in training: the time of a step with one process and with two, one processor each.

The global batch is the same. Both ways take turns, each in processes of its own, joined over the loopback interface as
`larq-equalbits train --strategy multiworker` joins them.
"""

import json
import multiprocessing
import os
import socket
import statistics
import time
from concurrent.futures import ProcessPoolExecutor

import click

from larq_equalbits.cli import run_command


def _steps(
    index: int, addresses: list[str], processor: int, network: str, batch_size: int, steps: int
) -> list[tuple[float, float]]:
    """Wall and processor seconds of each step in this process, one of as many as there are addresses."""
    os.sched_setaffinity(0, {processor})
    cluster = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
    os.environ.update(TF_CONFIG=json.dumps(cluster), TF_NUM_INTRAOP_THREADS="1", TF_NUM_INTEROP_THREADS="1")

    from larq_equalbits import zoo
    from larq_equalbits.training import distribution

    # isort: split
    import tensorflow as tf

    strategy = distribution.strategy("multiworker" if len(addresses) > 1 else None)
    with strategy.scope():
        model = zoo.get(network)(input_shape=(32, 32, 3), num_classes=10)
        model.compile(tf.keras.optimizers.SGD(0.01, momentum=0.9), "sparse_categorical_crossentropy")
    own = batch_size // len(addresses)
    images = tf.random.stateless_normal((own, 32, 32, 3), [0, index])
    batch = tf.data.Dataset.from_tensors((images, tf.zeros(own, tf.int32))).repeat()
    data = iter(strategy.distribute_datasets_from_function(lambda _: batch))
    seconds = []
    with distribution.synchronized(model, strategy):
        train = model.make_train_function()
        for _ in range(steps + 2):
            wall, processor_time = time.perf_counter(), time.process_time()
            train(data)["loss"].numpy()
            seconds.append((time.perf_counter() - wall, time.process_time() - processor_time))
    # The first steps compile.
    return seconds[2:]


def _free_addresses(count: int) -> list[str]:
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    addresses = [f"127.0.0.1:{listener.getsockname()[1]}" for listener in listeners]
    for listener in listeners:
        listener.close()
    return addresses


def _together(workers: int, network: str, batch_size: int, steps: int) -> list[tuple[float, float]]:
    addresses, processors = _free_addresses(workers), sorted(os.sched_getaffinity(0))
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        running = [
            pool.submit(_steps, index, addresses, processors[index], network, batch_size, steps)
            for index in range(workers)
        ]
        results = [each.result() for each in running]
    return results[0]


@click.command(context_settings={"show_default": True})
@click.option("--model", default="conv2", help="A network of the zoo.")
@click.option("--batch-size", type=click.IntRange(2), default=128, help="Images in a step, of all workers.")
@click.option("--steps", type=click.IntRange(1), default=20, help="Timed steps of each turn.")
@click.option("--turns", type=click.IntRange(1), default=2, help="How often the two ways take turns.")
def main(model: str, batch_size: int, steps: int, turns: int) -> None:
    """Measure a step with one worker and with two, and print their medians and ratio as JSON."""
    seconds: dict[int, list[tuple[float, float]]] = {1: [], 2: []}
    for _ in range(turns):
        for workers, known in seconds.items():
            known += _together(workers, model, batch_size, steps)
    result = {}
    for place, kind in enumerate(("wall", "processor")):
        one, two = (statistics.median(each[place] for each in known) for known in seconds.values())
        result[f"{kind} ms of a step, in each process"] = {
            "one worker": round(1000 * one, 1),
            "two workers": round(1000 * two, 1),
            "two over one": round(two / one, 3),
        }
    click.echo(json.dumps(result, indent=2))


if __name__ == "__main__":
    run_command(main)
