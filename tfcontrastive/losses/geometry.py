"""Measures of how embeddings lie on the sphere: what the contrastive loss weighs, and alarms of collapse."""

from __future__ import annotations

import math

import tensorflow as tf

from tfcontrastive.config import InputError
from tfcontrastive.losses.common import as_floats, check_positive, check_rank, l2_normalize, matched_rows, row_count
from tfcontrastive.losses.row_softmax import row_softmax


def alignment(z1: tf.Tensor, z2: tf.Tensor, *, alpha: float = 2) -> tf.Tensor:
    r"""The mean distance of positive pairs, `mean_i |z1_i - z2_i|^alpha`. Lower is better aligned.

    Args:
        z1: `[B, D]`, any float dtype, on the unit sphere (not scaled here). Computed in float32.
        z2: `[B, D]`, the other views of the same images.
        alpha: the power of the distance, > 0.

    Returns:
        A scalar; in [0, 4] for unit vectors and alpha 2.

    Raises:
        InputError: for an alpha that is not positive or shapes that differ.

    Examples:
        >>> print(f"{alignment(tf.constant([[1.0, 0.0]]), tf.constant([[0.0, 1.0]])):.1f}")
        2.0

    Source: Wang and Isola, "Understanding Contrastive Representation Learning through Alignment and Uniformity on the
    Hypersphere", arXiv 2005.10242, section 4.1.
    """
    check_positive(alpha=alpha)
    z1, z2 = matched_rows(z1=z1, z2=z2)
    squared = tf.reduce_sum(tf.square(z1 - z2), axis=1)
    if alpha == 2:
        return tf.reduce_mean(squared)
    apart = squared > 0  # the power's gradient at 0 may be infinite
    return tf.reduce_mean(tf.where(apart, tf.where(apart, squared, 1) ** (alpha / 2), 0))


def uniformity(z: tf.Tensor, *, t: float = 2) -> tf.Tensor:
    r"""The logarithm of the mean Gaussian potential of all pairs. Lower is more evenly spread.

    $$ U = \log \frac{1}{N (N - 1)} \sum_{i \ne j} \exp(-t \, |z_i - z_j|^2) $$

    Args:
        z: `[N, D]`, any float dtype, on the unit sphere (not scaled here), N >= 2. Computed in float32.
        t: the sharpness of the potential, > 0.

    Returns:
        A scalar <= 0; 0 when all rows are equal. About -2t for many rows spread over a sphere of many dimensions.

    Raises:
        InputError: for a t that is not positive, or fewer than 2 rows.

    Examples:
        >>> print(f"{uniformity(tf.constant([[1.0, 0.0], [-1.0, 0.0]])):.1f}")
        -8.0

    Source: Wang and Isola, arXiv 2005.10242, section 4.1.
    """
    check_positive(t=t)
    (z,) = as_floats(z=z)
    check_rank("z", z, 2)
    rows = row_count(z)
    if isinstance(rows, int) and rows < 2:
        raise InputError(f"`z` must have at least 2 rows. Received: z.shape={tuple(z.shape)}.")
    z = z - tf.reduce_mean(z, axis=0)  # distances stay, and the products below lose less precision
    # The exponent as one inner product: <[2t x, -t|x|^2, 1], [y, 1, -t|y|^2]> = -t |x - y|^2.
    potential, ones = -t * tf.reduce_sum(tf.square(z), axis=1, keepdims=True), tf.ones([rows, 1], z.dtype)
    queries = tf.concat([2 * t * z, potential, ones], axis=1)
    keys = tf.concat([z, ones, potential], axis=1)
    pairs = row_softmax(queries, keys, tf.range(rows)).log_sum_exp
    count = tf.cast(rows, z.dtype)
    return tf.reduce_logsumexp(pairs) - tf.math.log(count) - tf.math.log(count - 1)


def embedding_std(z: tf.Tensor) -> tf.Tensor:
    r"""The standard deviation of unit-length embeddings over the rows, averaged over the dimensions.

    Near 0 when all embeddings collapse to one, `1 / sqrt(D)` when they spread evenly over the sphere.

    Args:
        z: `[N, D]`, any float dtype; scaled to unit length here. Computed in float32.

    Returns:
        A scalar in [0, 1].

    Examples:
        >>> print(f"{embedding_std(tf.constant([[1.0, 0.0], [0.0, 1.0]])):.1f}")
        0.5

    Source: Chen and He, "Exploring Simple Siamese Representation Learning", arXiv 2011.10566, section 4.1.
    """
    (z,) = as_floats(z=z)
    check_rank("z", z, 2)
    return tf.reduce_mean(tf.math.reduce_std(l2_normalize(z), axis=0))


def infonce_bound(loss: tf.Tensor | float, candidates: int) -> tf.Tensor | float:
    r"""The lower bound that a contrastive loss gives on the mutual information of two views, in nats.

    $$ I(z_1; z_2) \ge \log k - L $$

    Args:
        loss: a mean cross entropy over k candidates, such as InfoNCE's.
        candidates: k >= 1, the positive included: 1 + K for a queue of K, 2N - 1 for NT-Xent over N images.

    Returns:
        The bound, of the loss' type; at most log k.

    Raises:
        InputError: for fewer than 1 candidate.

    Examples:
        >>> print(f"{infonce_bound(0.5, candidates=256):.2f}")
        5.05

    Source: van den Oord et al., "Representation Learning with Contrastive Predictive Coding", arXiv 1807.03748, eq. 8.
    """
    if not candidates >= 1:
        raise InputError(f"`candidates` must be >= 1. Received: candidates={candidates!r}.")
    return math.log(candidates) - loss
