"""What memories of embeddings, queues and banks, have in common; and the queue."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import tensorflow as tf

from tfcontrastive import distribute
from tfcontrastive.config import InputError


def unit_rows(shape: Sequence[int], dtype: str | None = None) -> tf.Tensor:
    """An initializer: random directions `[K, D]`, from Keras' global seed."""
    return tf.math.l2_normalize(keras.random.normal(shape, dtype=dtype), axis=1)


def check_memory_size(setting: str, size: int, keys: int) -> None:
    """The size of a memory must be a multiple of the keys that a step adds, lest a part be lost.

    Args:
        setting: the name of the config's field.
        size: of the memory.
        keys: of a step.

    Raises:
        InputError: it is not; names the nearest sizes that are.
    """
    if size % keys:
        near = [one for one in (size // keys * keys, (size // keys + 1) * keys) if one]
        raise InputError(
            f"`{setting}` must be a multiple of the keys of a step, {keys}. Received: {setting}={size}. "
            f"Take {' or '.join(map(str, near))}, or another batch."
        )


class Queue(keras.layers.Layer):
    """First in, first out: the newest keys take the place of the oldest. The same on every replica, and checkpointed.

    Args:
        size: K >= 1, the keys that it holds; random directions at first.
        dim: D, their width.
        dtype: of the keys.
        setting: the name of the config's field that the size came from, for the error's sake.

    Examples:
        >>> queue = Queue(65_536, 128)
        >>> queue.enqueue(tf.ones([256, 128]))  # the keys of this replica
        >>> queue.keys().shape
        TensorShape([65536, 128])
    """

    def __init__(
        self, size: int, dim: int, *, setting: str = "queue_size", name: str = "queue", dtype: str = "float32"
    ):
        super().__init__(name=name, dtype=dtype)
        self.size, self.setting = size, setting
        fixed = {"trainable": False, "autocast": False}
        self.rows = self.add_weight(name="rows", shape=(size, dim), initializer=unit_rows, **fixed)
        self.position = self.add_weight(name="position", shape=(), initializer="zeros", dtype="int64", **fixed)
        self.built = True

    def keys(self) -> tf.Tensor:
        """What it holds, `[K, D]`."""
        return tf.convert_to_tensor(self.rows)

    def enqueue(self, keys: tf.Tensor) -> None:
        """Takes in every replica's keys, `[B, D]` of this one.

        Raises:
            InputError: where the size is not a multiple of the keys of a step, so that a part would be lost.
        """
        keys = distribute.all_gather(tf.stop_gradient(keys))
        if keys.shape[0] is not None:
            check_memory_size(self.setting, self.size, keys.shape[0])
        count = tf.shape(keys, out_type=tf.int64)[0]
        position = tf.convert_to_tensor(self.position)
        places = (position + tf.range(count)) % self.size  # a last, smaller batch moves the next ones across the end
        distribute.scatter_all(self.rows.value, places, keys)
        distribute.assign_all([self.position.value], [(position + count) % self.size])
