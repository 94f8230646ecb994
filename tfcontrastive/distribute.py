"""Everything that knows about `tf.distribute` contexts: strategies, replica ids, and collectives with gradients.

The functions work in a replica context (inside `strategy.run`, hence inside `train_step`) and, with one replica, anywhere.
"""

from __future__ import annotations

import tensorflow as tf


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
    if replica_count() == 1:
        return x
    return tf.distribute.get_replica_context().all_gather(x, axis=0)


def all_mean(x: tf.Tensor) -> tf.Tensor:
    """The mean of a tensor of the same shape over the replicas, with gradient."""
    count = replica_count()
    if count == 1:
        return x
    total = tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, x)
    return total / tf.cast(count, total.dtype)
