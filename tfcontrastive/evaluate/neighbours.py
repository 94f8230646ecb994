"""The nearest neighbours by cosine similarity, in blocks, so that no `[queries, memory]` matrix is ever held."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tfcontrastive.config import InputError
from tfcontrastive.evaluate.checks import checked_features


def nearest_neighbours(
    queries: np.ndarray,
    memory: np.ndarray,
    k: int,
    *,
    query_block: int = 1024,
    memory_block: int = 16384,
) -> tuple[np.ndarray, np.ndarray]:
    """The k rows of a memory that are most similar to each query, the most similar first.

    s(q, m) = q . m / (|q| |m|). The best k so far are merged with the best k of each block of the memory, so that
    1.28 million x 50,000 rows need one `query_block x memory_block` matrix at a time. Of equal similarities the earlier
    row of the memory comes first. A row of zeros is similar to nothing (s = 0).

    Args:
        queries: `[Q, F]` float.
        memory: `[N, F]` float.
        k: neighbours a query, at least 1; above N it counts as N.
        query_block: queries at a time.
        memory_block: rows of the memory at a time.

    Returns:
        Similarities, float32 `[Q, min(k, N)]` in [-1, 1], and rows of the memory, int32 `[Q, min(k, N)]`.

    Raises:
        InputError: for k < 1, features that are not finite, or widths that differ.

    Examples:
        >>> similarity, row = nearest_neighbours([[2.0, 0.0]], [[0.0, 1.0], [1.0, 0.0]], k=1)
        >>> similarity.tolist(), row.tolist()
        ([[1.0]], [[1]])
    """
    for name, value in {"k": k, "query_block": query_block, "memory_block": memory_block}.items():
        if value < 1:
            raise InputError(f"`{name}` must be >= 1. Received: {name}={value}.")
    memory = checked_features("memory", memory)
    queries = checked_features("queries", queries, width=memory.shape[1])
    blocks = [_unit(queries[start : start + query_block]) for start in range(0, len(queries), query_block)]
    best = [(tf.zeros([len(block), 0]), tf.zeros([len(block), 0], tf.int32)) for block in blocks]
    # The memory is the outer loop: each of its rows is moved to the device and normalised once.
    for start in range(0, len(memory), memory_block):
        rows = _unit(memory[start : start + memory_block])
        best = [_merge(block, rows, start, k, *found) for block, found in zip(blocks, best, strict=True)]
    similarity, row = zip(*best, strict=True)
    return tf.concat(similarity, 0).numpy(), tf.concat(row, 0).numpy()


def _unit(features: np.ndarray) -> tf.Tensor:
    return tf.math.l2_normalize(tf.constant(features), axis=1)


_MATRIX = tf.TensorSpec([None, None], tf.float32)
_SCALAR = tf.TensorSpec([], tf.int32)


@tf.function(input_signature=[_MATRIX, _MATRIX, _SCALAR, _SCALAR, _MATRIX, tf.TensorSpec([None, None], tf.int32)])
def _merge(queries, rows, offset, k, similarity, row):
    """The best k of (those found so far, a block of the memory that starts at `offset`)."""
    block = tf.matmul(queries, rows, transpose_b=True)
    block, index = tf.math.top_k(block, tf.minimum(k, tf.shape(rows)[0]))
    # Earlier rows stay in front, for `top_k` keeps the order of equal values.
    similarity = tf.concat([similarity, block], axis=1)
    row = tf.concat([row, index + offset], axis=1)
    similarity, index = tf.math.top_k(similarity, tf.minimum(k, tf.shape(similarity)[1]))
    return similarity, tf.gather(row, index, batch_dims=1)
