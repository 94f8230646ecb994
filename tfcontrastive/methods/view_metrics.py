"""Metrics of two views' embeddings that every method reports."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from tfcontrastive import distribute, losses

VIEW_METRICS = ("alignment", "uniformity", "embedding_std")


def view_metrics(z1: tf.Tensor, z2: tf.Tensor) -> dict[str, tf.Tensor]:
    """How close the views of an image are, and how spread out the images; alarms of collapse.

    Args:
        z1, z2: `[B, D]`, this replica's embeddings; scaled to length 1 here.

    Returns:
        `alignment` (0: equal views) over this replica's rows; `uniformity` of the first view (0: all images equal, or one
        alone) and `embedding_std` (near 0: all images equal; 1 / sqrt(D): spread evenly) over the rows of all replicas. All
        without gradient.
    """
    z1, z2 = (tf.math.l2_normalize(tf.stop_gradient(tf.cast(z, tf.float32)), axis=1) for z in (z1, z2))
    every = distribute.all_gather(z1)  # neither is a mean over rows: those of parts do not give that of the whole
    return {
        "alignment": losses.alignment(z1, z2),
        "uniformity": _uniformity(every),
        "embedding_std": losses.embedding_std(every),
    }


def mean_metrics(found: Sequence[tuple[tf.Tensor, dict[str, tf.Tensor]]]) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
    """The mean over pairs of views of (loss, metrics)."""
    every, metrics = zip(*found, strict=True)
    means = {name: tf.add_n([one[name] for one in metrics]) / len(found) for name in metrics[0]}
    return tf.add_n(list(every)) / len(found), means


def _uniformity(z: tf.Tensor) -> tf.Tensor:
    if z.shape[0] == 1:
        return tf.zeros([])
    return tf.where(tf.shape(z)[0] > 1, losses.uniformity(z), 0.0)
