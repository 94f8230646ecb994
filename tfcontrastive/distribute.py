"""Everything that knows about `tf.distribute`: strategies, replica ids, collectives with gradients, fixes for `fit`.

The collectives work in a replica context (inside `strategy.run`, hence inside `train_step`) and, with one replica, anywhere.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from absl import logging

from tfcontrastive.cluster import Cluster
from tfcontrastive.config import DeviceConfig, InputError

_FEW = 2**18  # numbers, a megabyte of float32


def replica_count() -> int:
    """The number of replicas that run the current step together (1 outside a strategy)."""
    context = tf.distribute.get_replica_context()
    return context.num_replicas_in_sync if context is not None else 1


def replica_id() -> tf.Tensor | int:
    """The number of this replica, from 0 (an int outside a strategy)."""
    context = tf.distribute.get_replica_context()
    return context.replica_id_in_sync_group if context is not None else 0


def all_gather(x: tf.Tensor) -> tf.Tensor:
    """Rows of every replica, in replica order: `[B, ...]` on each of R replicas -> `[R * B, ...]`.

    Gradients flow back to the replica that a row came from, summed over the replicas that used it.
    """
    count = replica_count()
    if count == 1:
        return x
    context = tf.distribute.get_replica_context()
    if x.dtype.is_floating and x.shape.is_fully_defined() and count * x.shape.num_elements() <= _FEW:
        # Each replica's rows in their place among zeros, summed: the same numbers by half of the ops of TensorFlow's
        # gather, which first gathers the shapes. It sends twice the bytes, which for few of them takes no longer.
        own = tf.reshape(tf.equal(tf.range(count), replica_id()), [count] + [1] * x.shape.rank)
        rows = context.all_reduce(tf.distribute.ReduceOp.SUM, tf.where(own, x[None], tf.zeros([], x.dtype)))
        return tf.reshape(rows, [count * x.shape[0], *x.shape[1:]])
    rows = context.all_gather(x, axis=0)
    known = x.shape.rank is not None and x.shape[0] is not None
    return tf.ensure_shape(rows, [count * x.shape[0], *x.shape[1:]]) if known else rows


def all_mean(x: tf.Tensor) -> tf.Tensor:
    """The mean of a tensor of the same shape over the replicas, with gradient."""
    count = replica_count()
    if count == 1:
        return x
    total = tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, x)
    return total / tf.cast(count, total.dtype)


def row_weights(counted: tf.Tensor, dtype: tf.DType = tf.float32) -> tf.Tensor:
    """What weighs rows so that their sum, averaged over the replicas, is the mean over all rows that count anywhere.

    A mean over each replica's own would weigh a row by how many others count beside it.

    Args:
        counted: bool, of any shape.
        dtype: of the weights.

    Returns:
        floats of that shape: 1 / (the number that count, averaged over the replicas), 0 for rows that do not.
    """
    counted = tf.cast(counted, dtype)
    return tf.math.divide_no_nan(counted, all_mean(tf.reduce_sum(counted)))


def all_sum(tensors: Sequence[tf.Tensor | None]) -> list[tf.Tensor | None]:
    """The sums over the replicas of tensors without gradient, in few collectives; None stays None."""
    given = [tensor for tensor in tensors if tensor is not None]
    if replica_count() == 1 or not given:
        return list(tensors)
    sums = iter(tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, given))
    return [None if tensor is None else next(sums) for tensor in tensors]


def assign_all(variables: Sequence[tf.Variable], values: Sequence[tf.Tensor]) -> None:
    """Assigns to variables, on every replica, values that are the same on every replica."""

    def update(strategy, variables, values):
        for variable, value in zip(variables, values, strict=True):
            strategy.extended.update(variable, lambda v, x: v.assign(x), args=(value,), group=False)

    tf.__internal__.distribute.interim.maybe_merge_call(update, tf.distribute.get_strategy(), variables, values)


def scatter_all(variable: tf.Variable, indices: tf.Tensor, rows: tf.Tensor) -> None:
    """Replaces rows of a variable `[K, ...]`, in place and on every replica, by rows that are the same on every replica."""

    def update(strategy, variable, indices, rows):
        def scatter(v, indices, rows):
            return v.scatter_update(tf.IndexedSlices(rows, indices))

        strategy.extended.update(variable, scatter, args=(indices, rows), group=False)

    tf.__internal__.distribute.interim.maybe_merge_call(update, tf.distribute.get_strategy(), variable, indices, rows)


def takes_sums(optimizer: keras.optimizers.Optimizer) -> None:
    """Tells an optimizer that its gradients come summed over the replicas.

    Keras' optimizers sum them themselves, but only after clipping each replica's own and looking for overflows there.
    """
    for part in (optimizer, getattr(optimizer, "inner_optimizer", None)):
        if part is not None:
            part._all_reduce_sum_gradients = list


def apply_if(condition: tf.Tensor, update: Callable[[list[tf.Tensor]], Any], tensors: Sequence[tf.Tensor]) -> None:
    """Calls `update(tensors)`, which assigns to variables as optimizers do, where a condition holds; else nothing moves.

    Args:
        condition: a boolean scalar, the same on every replica.
        update: called in a replica context; may enter a cross-replica context, which no branch of a replica's own can.
        tensors: what it takes, each replica's own.
    """

    def branch(call: Callable[[], Any]) -> tf.Tensor:
        call()
        return tf.constant(True)

    if not tf.distribute.has_strategy():  # a strategy of one replica enters a cross-replica context too
        tf.cond(condition, lambda: branch(lambda: update(list(tensors))), lambda: tf.constant(False))
        return

    def everywhere(strategy, condition, tensors):
        def call():
            strategy.extended.call_for_each_replica(lambda *own: branch(lambda: update(list(own))), args=tuple(tensors))

        first = strategy.experimental_local_results(condition)[0]
        tf.cond(first, lambda: branch(call), lambda: tf.constant(False))

    tf.__internal__.distribute.interim.maybe_merge_call(
        everywhere, tf.distribute.get_strategy(), condition, list(tensors)
    )


def as_log(value: tf.Tensor) -> tf.Tensor:
    """A scalar in the form that `fit` can reduce over replicas.

    `fit` concatenates logs of several workers along axis 0, which a scalar does not have.
    """
    return tf.reshape(value, [1]) if replica_count() > 1 else value


def over_replicas(
    function: Callable[[tf.Tensor], tf.Tensor], row_shape: Sequence[int]
) -> Callable[[tf.Tensor], tf.Tensor]:
    """A function of rows whose work the replicas of the current strategy share. Call it outside `strategy.run`.

    With several workers each passes the same rows and gets all the results.

    Args:
        function: `[b, *row_shape]` -> `[b, ...]`, each row on its own; traced once, whatever b is.
        row_shape: of a row; float32.

    Returns:
        The function, of `[B, ...]` rows in order; B need not divide by the number of replicas.
    """
    strategy = tf.distribute.get_strategy()
    count = strategy.num_replicas_in_sync
    signature = [tf.TensorSpec([None, *row_shape], tf.float32)]
    if count == 1:
        return tf.function(function, input_signature=signature)

    def own_part(rows):
        part = tf.shape(rows)[0] // count
        return all_gather(function(rows[replica_id() * part :][:part]))

    @tf.function(input_signature=signature)
    def every_part(rows):
        return strategy.experimental_local_results(strategy.run(own_part, (rows,)))[0]

    def mapped(rows):
        size = rows.shape[0]
        padded = tf.gather(rows, tf.minimum(tf.range(-(-size // count) * count), size - 1))
        return every_part(padded)[:size]

    return mapped


def step_of(model: keras.Model) -> int:
    """The number of steps a compiled model has been trained for, whatever it is distributed over."""
    return int(keras.ops.convert_to_numpy(model.optimizer.iterations))


def learning_rate_of(model: keras.Model) -> float:
    """The learning rate of the coming step."""
    return float(keras.ops.convert_to_numpy(model.optimizer.learning_rate))


def is_chief() -> bool:
    """Whether this process writes checkpoints and logs: the first worker, or the only one."""
    cluster = Cluster.from_environment()
    return cluster is None or cluster.is_chief


@contextlib.contextmanager
def names_lost_workers() -> Iterator[None]:
    """Turns TensorFlow's errors about a worker that left into a `ClusterError` that names it."""
    try:
        yield
    except tf.errors.OpError as error:
        cluster = Cluster.from_environment()
        lost = None if cluster is None else cluster.lost(str(error))
        if lost is None:
            raise
        raise lost from error


def loops(strategy: tf.distribute.Strategy) -> bool:
    """Whether several steps of a strategy can be one call: Keras' loop fails with mirrored strategies' collectives."""
    return strategy.num_replicas_in_sync == 1 or isinstance(strategy, tf.distribute.TPUStrategy)


def gather_from_processes(strategy: tf.distribute.Strategy) -> Callable[[Sequence[int]], np.ndarray]:
    """A function that waits for every process of a strategy, and gives what each of them brought.

    Returns:
        n whole numbers of this process -> `[P, n]`, those of P processes, in the order of their tasks.
    """
    cluster = Cluster.from_environment()
    if cluster is None or strategy.num_replicas_in_sync == 1:
        return lambda values: np.array([values])

    def gathered(values):
        rows = _compiled_gather(strategy)(tf.constant([list(values)], tf.int32)).numpy()
        return rows[:: max(1, len(rows) // len(cluster.tasks))]  # each replica of a process brings its row

    return gathered


@functools.lru_cache(maxsize=1)  # compiled once for all questions of a run
def _compiled_gather(strategy: tf.distribute.Strategy) -> Callable[[tf.Tensor], tf.Tensor]:
    @tf.function(input_signature=[tf.TensorSpec([1, None], tf.int32)])
    def gather(row):
        # An argument of a function has no device, and a collective asks where its tensor lies.
        rows = strategy.run(lambda row: all_gather(tf.identity(row)), (row,))
        return strategy.experimental_local_results(rows)[0]

    return gather


def agree(strategy: tf.distribute.Strategy, value: int) -> bool:
    """Waits for every process of a strategy; whether all of them came with the same value."""
    return bool((gather_from_processes(strategy)([value]) == value).all())


def check_alike(strategy: tf.distribute.Strategy, facts: dict[str, Any], what: str, timeout: float) -> None:
    """Waits for every process of a strategy; all must have come with the same facts.

    Args:
        facts: JSON values, by name.
        what: where they come from, for the error's sake.
        timeout: seconds after which a process that is still waiting ends itself.

    Raises:
        InputError: on every process, with the names and values that differ.
    """
    cluster = Cluster.from_environment()
    if cluster is None:
        return
    text = json.dumps(facts).encode()
    gather = gather_from_processes(strategy)
    with cluster.ends_unless_done(timeout), names_lost_workers():
        longest = gather([len(text)]).max()
        rows = gather(text.ljust(longest))
    first, *others = [json.loads(bytes(row.tolist())) for row in rows]
    for task, other in zip(cluster.tasks[1:], others, strict=False):
        differing = [name for name in {**first, **other} if first.get(name) != other.get(name)]
        if differing:
            mine, theirs = (", ".join(f"{name}={held.get(name)!r}" for name in differing) for held in (first, other))
            raise InputError(
                f"every task of TF_CONFIG must have the same {what}. Received: {mine} on {cluster.name(*cluster.tasks[0])}; "
                f"{theirs} on {cluster.name(*task)}."
            )


def strategy_of(devices: DeviceConfig) -> tf.distribute.Strategy:
    """The strategy that a config asks for. Call it before anything else uses TensorFlow's devices."""
    return make_strategy(
        "tpu" if devices.use_tpu else devices.strategy,
        num_virtual_replicas=devices.num_virtual_replicas,
        tpu_name=devices.tpu_name,
        tpu_zone=devices.tpu_zone,
        gcp_project=devices.gcp_project,
        cluster_timeout=devices.cluster_timeout,
    )


def make_strategy(
    name: str = "auto",
    *,
    num_virtual_replicas: int = 0,
    tpu_name: str | None = None,
    tpu_zone: str | None = None,
    gcp_project: str | None = None,
    cluster_timeout: float = 300.0,
) -> tf.distribute.Strategy:
    """The strategy a name stands for. Call it before anything else uses TensorFlow's devices.

    Args:
        name: auto (several GPUs -> mirrored, TF_CONFIG -> multi_worker, else none), none, mirrored, multi_worker or tpu.
        num_virtual_replicas: splits the CPU into this many logical devices, to try replicas on one machine.
        tpu_name, tpu_zone, gcp_project: the Cloud TPU of `tpu`.
        cluster_timeout: seconds in which all workers of `multi_worker` must come.

    Raises:
        InputError: no such name, no TPU, a TF_CONFIG that is not a valid one, or a worker that cannot be reached.
    """
    if num_virtual_replicas > 1:
        cpu = tf.config.list_physical_devices("CPU")[0]
        devices = [tf.config.LogicalDeviceConfiguration()] * num_virtual_replicas
        if len(tf.config.get_logical_device_configuration(cpu) or [None]) != num_virtual_replicas:
            tf.config.set_logical_device_configuration(cpu, devices)
        name = "mirrored" if name == "auto" else name
    gpus = tf.config.list_physical_devices("GPU")
    if name == "auto":
        name = "multi_worker" if os.environ.get("TF_CONFIG") else "mirrored" if len(gpus) > 1 else "none"
    if name == "none":
        return tf.distribute.get_strategy()
    if name == "mirrored":
        cpus = [device.name for device in tf.config.list_logical_devices("CPU")]
        return _mirrored_strategy(cpus if num_virtual_replicas > 1 or not gpus else None)
    if name == "multi_worker":
        return _multi_worker_strategy(cluster_timeout)
    if name == "tpu":
        return _tpu_strategy(tpu_name, tpu_zone, gcp_project)
    raise InputError(f"`strategy` must be auto, none, mirrored, multi_worker or tpu. Received: strategy={name!r}.")


_key_bases = itertools.count(1_000_000, 1_000_000)


def _mirrored_strategy(devices: Sequence[str] | None) -> tf.distribute.Strategy:
    """A MirroredStrategy beside any others of this process.

    Each counts its collectives from the same number, while the process keeps one table of them: a second one would be told
    that its sums are the first one's gathers. So each gets a range of its own.
    """

    class MirroredStrategy(tf.distribute.MirroredStrategy):
        _collective_key_base = next(_key_bases)

    return MirroredStrategy(devices)


def _multi_worker_strategy(timeout: float) -> tf.distribute.Strategy:
    cluster = Cluster.from_environment()
    if cluster is None:
        raise InputError("`strategy=multi_worker` needs TF_CONFIG, which names the workers. Received: it is not set.")
    cluster.wait_for_all(timeout)
    with cluster.ends_unless_done(timeout), names_lost_workers():
        return tf.distribute.MultiWorkerMirroredStrategy()


def _tpu_strategy(name: str | None, zone: str | None, project: str | None) -> tf.distribute.Strategy:
    """All cores of a TPU or of a slice of a pod, from a host of its own (`local`) or by its name or address."""
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(tpu=name or "", zone=zone, project=project)
        if name != "local":
            tf.config.experimental_connect_to_cluster(resolver)
        topology = tf.tpu.experimental.initialize_tpu_system(resolver)
    except (ValueError, ImportError, OSError, tf.errors.OpError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"`strategy=tpu` needs a TPU that can be reached. Received: tpu_name={name!r}: {reason}"
        ) from error
    logging.info("TPU: %d hosts of %d cores.", topology.num_tasks, topology.num_tpus_per_task)
    return tf.distribute.TPUStrategy(resolver)
