"""Clusters of a memory bank, by the same numbers on every replica and after a restart."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

TILE = 2**24  # scores of rows with centroids that are in memory at a time


def first_rows(size: int, count: int, seed: tf.Tensor, present: tf.Tensor | None = None) -> tf.Tensor:
    """Numbers `[count]` of different rows of `size`, drawn uniformly by a seed `[2]`.

    Args:
        size: n, of the rows.
        count: how many, at most n.
        seed: integers `[2]`.
        present: `[n]`, 0 for rows that are drawn only where the others, 1, are too few.
    """
    drawn = tf.random.stateless_uniform([size], seed)
    return tf.math.top_k(drawn if present is None else drawn + tf.cast(present, drawn.dtype), count).indices


def one_by_one(clustering: Callable[[tf.Tensor], Any], count: int, signature: Any) -> Any:
    """What `clustering(0)`, ... `clustering(count - 1)` give, stacked; one is in memory at a time, and one in the graph.

    Args:
        clustering: takes the number of a clustering, an int64 scalar.
        count: of clusterings.
        signature: the `tf.TensorSpec` of what it gives.
    """
    numbers = tf.range(count, dtype=tf.int64)
    return tf.map_fn(clustering, numbers, fn_output_signature=signature, parallel_iterations=1)


def k_means(
    rows: tf.Tensor,
    centroids: tf.Tensor,
    *,
    iterations: int,
    spherical: bool = False,
    present: tf.Tensor | None = None,
) -> tuple[tf.Tensor, tf.Tensor]:
    r"""Lloyd's algorithm: which centroid is closest to each row, and centroids that are the means of their rows.

    $$ a_j = \arg\min_k |x_j - c_k|^2, \quad c_k = \mathrm{mean}_{j: a_j = k} \, x_j $$

    A cluster without rows keeps its centroid. Means are matrix products, not scattered sums, whose order a GPU does not
    keep: replicas that compute the same find the same.

    Args:
        rows: `[n, D]`, static n.
        centroids: `[K, D]`, the first ones.
        iterations: steps of assignment and mean, >= 1; the assignments returned are those of the last means.
        spherical: of directions: the centroid of the largest dot product, means scaled to length 1.
        present: `[n]`, 0 for rows that are assigned but move no centroid; None: all do.

    Returns:
        Centroids `[K, D]` and assignments, int64 `[n]`.

    Examples:
        >>> centroids, assignments = k_means(tf.constant([[0.0], [1.0], [9.0]]), tf.constant([[0.0], [8.0]]), iterations=2)
        >>> assignments.numpy().tolist(), centroids.numpy().tolist()
        ([0, 0, 1], [[0.5], [9.0]])

    Source: Lloyd, "Least squares quantization in PCM", 1982.
    """
    size, width = rows.shape
    count = centroids.shape[0]
    tile = min(size, max(1, TILE // count))
    tiles = -(-size // tile)
    parts = tf.reshape(tf.pad(rows, [[0, tiles * tile - size], [0, 0]]), [tiles, tile, width])
    present = tf.ones([size], rows.dtype) if present is None else tf.cast(present, rows.dtype)
    present = tf.reshape(tf.pad(present, [[0, tiles * tile - size]]), [tiles, tile])

    def assigned(part: tf.Tensor, centroids: tf.Tensor) -> tf.Tensor:
        scores = tf.matmul(part, centroids, transpose_b=True)
        if not spherical:
            scores -= tf.reduce_sum(tf.square(centroids), axis=1) / 2
        return tf.argmax(scores, axis=1)

    def add(i, centroids, sums, counts):
        members = tf.one_hot(assigned(parts[i], centroids), count, dtype=rows.dtype) * present[i][:, None]
        sums += tf.matmul(members, parts[i], transpose_a=True)
        return i + 1, centroids, sums, counts + tf.reduce_sum(members, axis=0)

    def improve(step, centroids):
        start = (0, centroids, tf.zeros_like(centroids), tf.zeros([count], rows.dtype))
        _, _, sums, counts = tf.while_loop(lambda i, *_: i < tiles, add, start, parallel_iterations=1)
        means = tf.math.l2_normalize(sums, axis=1) if spherical else sums / tf.maximum(counts, 1)[:, None]
        return step + 1, tf.where(counts[:, None] > 0, means, centroids)

    _, centroids = tf.while_loop(lambda step, _: step < iterations, improve, (0, centroids), parallel_iterations=1)
    found = tf.map_fn(
        lambda part: assigned(part, centroids), parts, fn_output_signature=tf.int64, parallel_iterations=1
    )
    return centroids, tf.reshape(found, [-1])[:size]
