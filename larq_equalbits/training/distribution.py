"""Training on several replicas by TensorFlow's own engine: strategies by name, and what one of many must know."""

import contextlib
import os
from collections.abc import Iterator

import tensorflow as tf

from larq_equalbits import _files
from larq_equalbits._choices import STRATEGIES
from larq_equalbits._errors import InputError, invalid


def strategy(name: str | None) -> tf.distribute.Strategy:
    """The strategy of a name.

    Args:
        name: None for one device; "mirrored" for all GPUs of this machine (one replica on the CPU without
            any); "multiworker" for several machines, as the environment variable ``TF_CONFIG`` lists them. The
            latter has to be called before TensorFlow does anything else.

    Raises:
        InputError: an unknown name, or a TF_CONFIG that is missing or no cluster.
    """
    if name is None:
        return tf.distribute.get_strategy()
    if name not in STRATEGIES:
        raise invalid("strategy", name, f"one of {', '.join(STRATEGIES)}")
    if name == "mirrored":
        return tf.distribute.MirroredStrategy()
    _check_cluster(os.environ.get("TF_CONFIG"))
    try:
        return tf.distribute.MultiWorkerMirroredStrategy()
    except RuntimeError as error:
        raise InputError(
            f"strategy multiworker must be made before TensorFlow starts, but {error}."
        ) from error


def _check_cluster(text: str | None) -> None:
    wanted = '{"cluster": {"worker": ["host:port", ...]}, "task": {"type": "worker", "index": 0}}'
    try:
        config = _files.parse_json(text or "", "TF_CONFIG")
        members = config["cluster"][config["task"]["type"]]
        known = (
            isinstance(members, list)
            and all(isinstance(member, str) for member in members)
            and 0 <= int(config["task"]["index"]) < len(members)
        )
    except (ValueError, KeyError, TypeError):
        known = False
    if not known:
        raise invalid("TF_CONFIG", text, f"the cluster and this machine's task, as {wanted}")


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Whether this process is the one among several machines that writes files."""
    resolver = strategy.cluster_resolver
    if resolver is None or not resolver.task_type:
        return True
    has_chief = "chief" in resolver.cluster_spec().jobs
    return resolver.task_type == "chief" if has_chief else resolver.task_id == 0


def wait_for_all(strategy: tf.distribute.Strategy) -> None:
    """Returns once every machine of the strategy has come here."""
    if strategy.num_replicas_in_sync == 1:
        return

    @tf.function
    def meet() -> tf.Tensor:
        def one() -> tf.Tensor:
            context = tf.distribute.get_replica_context()
            return context.all_reduce(tf.distribute.ReduceOp.SUM, tf.constant(1.0))

        return strategy.run(one)

    meet()


@contextlib.contextmanager
def synchronized(model: tf.keras.Model, strategy: tf.distribute.Strategy) -> Iterator[None]:
    """Lets batch normalization take its statistics over the batch of all replicas while the block runs."""
    if strategy.num_replicas_in_sync == 1:
        yield
        return
    norms = [
        layer for layer in model._flatten_layers() if isinstance(layer, tf.keras.layers.BatchNormalization)
    ]
    before = [(layer.synchronized, layer.fused) for layer in norms]
    for layer in norms:
        layer.synchronized, layer.fused = True, False
    try:
        yield
    finally:
        for layer, values in zip(norms, before, strict=True):
            layer.synchronized, layer.fused = values


def check_batch(batch_size: int, strategy: tf.distribute.Strategy) -> None:
    """Raises InputError where the batch is no multiple of the number of replicas."""
    replicas = strategy.num_replicas_in_sync
    if batch_size % replicas:
        raise invalid("batch_size", batch_size, f"a multiple of the {replicas} replicas")
