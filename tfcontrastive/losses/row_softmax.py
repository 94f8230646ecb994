"""The softmax of every query over many keys, which all contrastive losses share, at any size.

Up to `DENSE_LIMIT` logits the matrix `[M, K]` is formed, and kept for the backward pass. Above it, blocks of rows of at
most `TILE` logits follow one another. A block sees all keys, so it ends with the gradient of its queries; only for that
of the keys does the backward pass compute the block again. Memory stays that of a few blocks, for one more matrix
product beside the three of the dense form, and for none more where keys have no gradient.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from tfcontrastive.system.custom_gradient import custom_gradient

DENSE_LIMIT = 2**26
TILE = 2**24
_HIDDEN = -1e30  # the logit of an excluded key: exp() of it is 0, and sums and products of it stay finite


class RowSoftmax(NamedTuple):
    """What is left of a row of logits `s_j`, each field `[M]`."""

    log_sum_exp: tf.Tensor
    """`log sum_j exp(s_j)`; gradients flow through this field only."""
    highest: tf.Tensor
    """`max_j s_j`."""
    mean: tf.Tensor
    """`sum_j p_j s_j` under the softmax p, so that its entropy is `log_sum_exp - mean`."""

    def merge(self, other: RowSoftmax) -> RowSoftmax:
        """The softmax over the keys of both."""
        share = tf.stop_gradient(tf.sigmoid(self.log_sum_exp - other.log_sum_exp))
        return RowSoftmax(
            log_add_exp(self.log_sum_exp, other.log_sum_exp),
            tf.maximum(self.highest, other.highest),
            share * self.mean + (1 - share) * other.mean,
        )


def row_softmax(
    queries: tf.Tensor,
    keys: tf.Tensor,
    query_ids: tf.Tensor | None = None,
    key_ids: tf.Tensor | None = None,
    *,
    key_gradient: bool = True,
) -> RowSoftmax:
    """The softmax of the logits `s_ij = <q_i, k_j>` of each row i over the keys j that have another id.

    Args:
        queries: `[M, D]` float32 or float64, already divided by the temperature.
        keys: `[K, D]`, same dtype.
        query_ids: `[M]` int32; row i does not see the keys of its id (itself, its positive). None: it sees every key.
        key_ids: `[K]` int32; default: the places of the keys, 0 to K - 1.
        key_gradient: False for keys from a queue or a target network, whose gradient would be thrown away.

    Returns:
        A `RowSoftmax`. A row without any key has a `log_sum_exp` of about -1e30, hence no weight beside its positive.
    """
    if not key_gradient:
        keys = tf.stop_gradient(keys)
    if query_ids is not None and key_ids is None:
        key_ids = tf.range(tf.shape(keys)[0], dtype=query_ids.dtype)
    rows, columns = queries.shape[0], keys.shape[0]
    if rows is None or columns is None or rows * columns <= DENSE_LIMIT:
        return _dense(queries, keys, query_ids, key_ids, key_gradient)
    blocks = -(-rows // max(TILE // columns, 1))
    return _tiled(queries, keys, query_ids, key_ids, key_gradient, blocks)


def _dense(queries, keys, query_ids, key_ids, key_gradient):
    @custom_gradient
    def softmax(queries, keys):
        row, mean_key, weights = _softmax(_logits(queries, keys, query_ids, key_ids), queries, keys)

        def gradient(upstream, *_):
            scaled = upstream[:, None] * queries
            by_keys = tf.matmul(weights, scaled, transpose_a=True) if key_gradient else None
            return upstream[:, None] * mean_key, by_keys

        return row, gradient

    return RowSoftmax(*softmax(queries, keys))


def _tiled(queries, keys, query_ids, key_ids, key_gradient, blocks):
    rows = queries.shape[0]
    block = -(-rows // blocks)

    def split(x):
        """`[M, ...]` -> `[blocks, block, ...]`, with rows of zeros at the end, whose gradients are zero."""
        padding = [[0, blocks * block - rows]] + [[0, 0]] * (x.shape.rank - 1)
        return tf.reshape(tf.pad(x, padding), [blocks, block, *x.shape[1:]])

    def join(x):
        return tf.reshape(x, [blocks * block, *x.shape[2:]])[:rows]

    ids = None if query_ids is None else split(query_ids)

    def logits(part, i):
        return _logits(part, keys, None if ids is None else ids[i], key_ids)

    @custom_gradient
    def softmax(queries, keys):
        parts = split(queries)

        def forward(i):
            row, mean_key, _ = _softmax(logits(parts[i], i), parts[i], keys)
            return *row, mean_key

        fields = [tf.TensorSpec([block], queries.dtype)] * len(RowSoftmax._fields)
        signature = (*fields, tf.TensorSpec(parts.shape[1:], queries.dtype))
        found = tf.map_fn(forward, tf.range(blocks), fn_output_signature=signature, parallel_iterations=1)
        *row, mean_key = map(join, found)

        def gradient(upstream, *_):
            by_queries = upstream[:, None] * mean_key
            if not key_gradient:
                return by_queries, None
            scaled = split(upstream[:, None] * queries)

            def backward(i, by_keys):
                weights = tf.nn.softmax(logits(parts[i], i))
                return i + 1, by_keys + tf.matmul(weights, scaled[i], transpose_a=True)

            start = (0, tf.zeros_like(keys))
            _, by_keys = tf.while_loop(lambda i, _: i < blocks, backward, start, parallel_iterations=1)
            return by_queries, by_keys

        return RowSoftmax(*row), gradient

    return RowSoftmax(*softmax(queries, keys))


def _softmax(logits, queries, keys):
    """The softmax, the mean key under it (the gradient of `log_sum_exp`) and its weights."""
    weights, highest = tf.nn.softmax(logits), tf.reduce_max(logits, axis=1)
    mean_key = tf.matmul(weights, keys)
    log_sum_exp = highest - tf.math.log(tf.reduce_max(weights, axis=1))  # of the highest, w = exp(s - log_sum_exp)
    return RowSoftmax(log_sum_exp, highest, tf.reduce_sum(queries * mean_key, axis=1)), mean_key, weights


def _logits(queries, keys, query_ids, key_ids):
    logits = tf.matmul(queries, keys, transpose_b=True)
    if query_ids is None:
        return logits
    return tf.where(query_ids[:, None] == key_ids, tf.constant(_HIDDEN, logits.dtype), logits)


def log_add_exp(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    """`log(exp(x) + exp(y))`, of any size."""
    return x + tf.nn.softplus(y - x)


def against(positive: tf.Tensor, negatives: RowSoftmax) -> tf.Tensor:
    """The loss of every row, `-log(exp(p) / (exp(p) + sum_j exp(s_j))) = softplus(log_sum_exp - p)`: `[M]`."""
    return tf.nn.softplus(negatives.log_sum_exp - positive)


def contrast_metrics(positive: tf.Tensor, negatives: RowSoftmax) -> dict[str, tf.Tensor]:
    """How well, and how surely, the positive is told from the negatives.

    Returns:
        `contrast_acc`, the share of rows whose positive is above all negatives (0 for equal embeddings), and
        `contrast_entropy`, the mean entropy of the rows' softmax in nats.
    """
    positive = tf.stop_gradient(positive)
    chosen = RowSoftmax(positive, positive, positive).merge(negatives)
    return {
        "contrast_acc": tf.reduce_mean(tf.cast(positive > negatives.highest, positive.dtype)),
        "contrast_entropy": tf.reduce_mean(tf.stop_gradient(chosen.log_sum_exp) - chosen.mean),
    }
