"""The softmax of every query over many keys, which all contrastive losses share."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

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
    queries: tf.Tensor, keys: tf.Tensor, excluded: tf.Tensor | None = None, *, key_gradient: bool = True
) -> RowSoftmax:
    """The softmax of the logits `s_ij = <q_i, k_j>` of each row i over the keys j that are not excluded.

    Args:
        queries: `[M, D]` float32 or float64, already divided by the temperature.
        keys: `[K, D]`, same dtype.
        excluded: `[M, E]` int32, the keys that row i does not see (itself, its positive), or None.
        key_gradient: False for keys from a queue or a target network, whose gradient would be thrown away.

    Returns:
        A `RowSoftmax`. A row without any key has a `log_sum_exp` of about -1e30, hence no weight beside its positive.
    """
    if not key_gradient:
        keys = tf.stop_gradient(keys)

    @tf.custom_gradient
    def dense(queries, keys):
        row, weights, total = _softmax(queries, keys, excluded)

        def gradient(upstream, *_):
            scale = (upstream / total)[:, None]
            by_queries = scale * tf.matmul(weights, keys)
            by_keys = tf.matmul(weights, scale * queries, transpose_a=True) if key_gradient else None
            return by_queries, by_keys

        return row, gradient

    return RowSoftmax(*dense(queries, keys))


def _softmax(queries, keys, excluded):
    logits = _logits(queries, keys, excluded)
    highest = tf.reduce_max(logits, axis=1)
    weights = tf.exp(logits - highest[:, None])
    total = tf.reduce_sum(weights, axis=1)
    mean = tf.reduce_sum(weights * logits, axis=1) / total
    return RowSoftmax(highest + tf.math.log(total), highest, mean), weights, total


def _logits(queries, keys, excluded):
    logits = tf.matmul(queries, keys, transpose_b=True)
    if excluded is None:
        return logits
    columns = tf.range(tf.shape(keys)[0])
    hidden = tf.equal(columns, excluded[:, :1])
    for i in range(1, excluded.shape[1]):
        hidden = tf.logical_or(hidden, tf.equal(columns, excluded[:, i : i + 1]))
    return tf.where(hidden, tf.constant(_HIDDEN, logits.dtype), logits)


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
