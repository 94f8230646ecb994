"""What memories of embeddings, queues and banks, have in common."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import tensorflow as tf


def unit_rows(shape: Sequence[int], dtype: str | None = None) -> tf.Tensor:
    """An initializer: random directions `[K, D]`, from Keras' global seed."""
    return tf.math.l2_normalize(keras.random.normal(shape, dtype=dtype), axis=1)
