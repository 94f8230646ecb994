"""What the losses of local against global features share (Deep InfoMax, AMDIM)."""

from __future__ import annotations

import tensorflow as tf

from tfcontrastive import distribute
from tfcontrastive.config import InputError
from tfcontrastive.losses.common import as_floats, check_rank, row_count


def all_scores(features: tf.Tensor, local_features: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The dot products of this replica's global features with the local ones of all replicas, with gradient.

    Args:
        features: `[B, D]`.
        local_features: `[B, L, D]`.

    Returns:
        `[B, N, L]` for the N images of all replicas, and the mask `[B, N]` of a row's own image.

    Raises:
        InputError: for shapes that do not fit, or one image alone.
    """
    features, local_features = as_floats(features=features, local_features=local_features)
    check_rank("features", features, 2)
    check_rank("local_features", local_features, 3)
    rows, width = features.shape
    if not local_features.shape.is_compatible_with([rows, None, width]):
        raise InputError(
            f"`local_features` must have the shape ({rows}, L, {width}). "
            f"Received: local_features.shape={tuple(local_features.shape)}."
        )
    everyone = distribute.all_gather(local_features)
    if everyone.shape[0] == 1:
        raise InputError("`features` must have two rows or more, over all replicas. Received: one.")
    own = distribute.replica_id() * row_count(features) + tf.range(row_count(features))
    return tf.einsum("bd,nld->bnl", features, everyone), own[:, None] == tf.range(row_count(everyone))


def local_info_nce(scores: tf.Tensor, own: tf.Tensor) -> tf.Tensor:
    """The mean cross entropy of each own location, `scores[own]`, against all locations of the other images."""
    positive = tf.reduce_sum(tf.where(own[:, :, None], scores, tf.zeros_like(scores)), axis=1)
    others = tf.where(own[:, :, None], tf.constant(-1e30, scores.dtype), scores)
    return tf.reduce_mean(tf.nn.softplus(tf.reduce_logsumexp(others, axis=[1, 2])[:, None] - positive))
