"""Everything that knows about `tf.distribute`: strategies, replica ids, collectives with gradients, fixes for `fit`.

The collectives work in a replica context (inside `strategy.run`, hence inside `train_step`) and, with one replica, anywhere.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence

import keras
import tensorflow as tf

from tfcontrastive.config import DeviceConfig, InputError


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
    rows = tf.distribute.get_replica_context().all_gather(x, axis=0)
    known = x.shape.rank is not None and x.shape[0] is not None
    return tf.ensure_shape(rows, [count * x.shape[0], *x.shape[1:]]) if known else rows


def all_mean(x: tf.Tensor) -> tf.Tensor:
    """The mean of a tensor of the same shape over the replicas, with gradient."""
    count = replica_count()
    if count == 1:
        return x
    total = tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, x)
    return total / tf.cast(count, total.dtype)


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
    task = _task()
    return task is None or task == ("chief", 0) or (task == ("worker", 0) and "chief" not in _cluster())


def strategy_of(devices: DeviceConfig) -> tf.distribute.Strategy:
    """The strategy that a config asks for. Call it before anything else uses TensorFlow's devices."""
    return make_strategy(
        "tpu" if devices.use_tpu else devices.strategy,
        num_virtual_replicas=devices.num_virtual_replicas,
        tpu_name=devices.tpu_name,
        tpu_zone=devices.tpu_zone,
        gcp_project=devices.gcp_project,
    )


def make_strategy(
    name: str = "auto",
    *,
    num_virtual_replicas: int = 0,
    tpu_name: str | None = None,
    tpu_zone: str | None = None,
    gcp_project: str | None = None,
) -> tf.distribute.Strategy:
    """The strategy a name stands for. Call it before anything else uses TensorFlow's devices.

    Args:
        name: auto (GPUs -> mirrored, TF_CONFIG -> multi_worker, else none), none, mirrored, multi_worker or tpu.
        num_virtual_replicas: splits the CPU into this many logical devices, to try replicas on one machine.
        tpu_name, tpu_zone, gcp_project: the Cloud TPU of `tpu`.

    Raises:
        InputError: no such name, no TPU, or a TF_CONFIG that is not a valid one.
    """
    if num_virtual_replicas > 1:
        cpu = tf.config.list_physical_devices("CPU")[0]
        devices = [tf.config.LogicalDeviceConfiguration()] * num_virtual_replicas
        if len(tf.config.get_logical_device_configuration(cpu) or [None]) != num_virtual_replicas:
            tf.config.set_logical_device_configuration(cpu, devices)
        name = "mirrored" if name == "auto" else name
    gpus = tf.config.list_physical_devices("GPU")
    if name == "auto":
        name = "multi_worker" if os.environ.get("TF_CONFIG") else "mirrored" if gpus else "none"
    if name == "none":
        return tf.distribute.get_strategy()
    if name == "mirrored":
        cpus = [device.name for device in tf.config.list_logical_devices("CPU")]
        return tf.distribute.MirroredStrategy(cpus if num_virtual_replicas > 1 or not gpus else None)
    if name == "multi_worker":
        _task()
        return tf.distribute.MultiWorkerMirroredStrategy()
    if name == "tpu":
        return _tpu_strategy(tpu_name, tpu_zone, gcp_project)
    raise InputError(f"`strategy` must be auto, none, mirrored, multi_worker or tpu. Received: strategy={name!r}.")


def _tpu_strategy(name: str | None, zone: str | None, project: str | None) -> tf.distribute.Strategy:
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(tpu=name or "", zone=zone, project=project)
        tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
    except (ValueError, tf.errors.OpError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"`strategy=tpu` needs a TPU that can be reached. Received: tpu_name={name!r}: {reason}"
        ) from error
    return tf.distribute.TPUStrategy(resolver)


def _cluster() -> dict[str, list[str]]:
    text = os.environ.get("TF_CONFIG")
    if not text:
        return {}
    try:
        cluster = json.loads(text)["cluster"]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"TF_CONFIG must be JSON with `cluster` and `task`. Received: {text!r}.") from error
    return cluster


def _task() -> tuple[str, int] | None:
    cluster = _cluster()
    if not cluster:
        return None
    task = json.loads(os.environ["TF_CONFIG"]).get("task") or {}
    kind, index = task.get("type"), task.get("index")
    if kind not in cluster or not isinstance(index, int) or not 0 <= index < len(cluster[kind]):
        raise InputError(f"TF_CONFIG's `task` must name a member of its `cluster`. Received: {task} of {cluster}.")
    return kind, index
