"""Losses on the cross-correlation of two views' features (Barlow Twins)."""

from __future__ import annotations

import tensorflow as tf

from tfcontrastive import distribute
from tfcontrastive.config import InputError
from tfcontrastive.losses.common import matched_rows

_SMALLEST_VARIANCE = 1e-5  # batch norm's epsilon in the authors' code; here a floor, so that C is exact above it


def barlow_twins(z1: tf.Tensor, z2: tf.Tensor, *, off_diagonal_weight: float) -> tf.Tensor:
    r"""The distance of the cross-correlation matrix of two views from the identity.

    $$ L = \sum_i (1 - C_{ii})^2 + \lambda \sum_{i \ne j} C_{ij}^2, \quad
       C_{ij} = \frac{1}{N} \sum_b \hat z^1_{bi} \hat z^2_{bj} $$

    where the features are standardised over the N rows of the global batch. Under a strategy the moments and C are
    those of all replicas' rows, with gradient, and every replica returns the same loss.

    Args:
        z1: `[B, D]`, any float dtype, the first views of this replica's images. Computed in float32.
        z2: `[B, D]`, the second views.
        off_diagonal_weight: lambda >= 0; 0.005 in the paper.

    Returns:
        A scalar >= 0. A feature whose variance is below 1e-5 is divided by the root of 1e-5 instead, so that a constant
        feature has correlation 0 and a bounded gradient.

    Raises:
        InputError: for a negative weight or views of different shapes.

    Examples:
        >>> z = tf.constant([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
        >>> print(f"{barlow_twins(z, -z, off_diagonal_weight=0.005):.1f}")
        8.0

    Source: Zbontar et al., "Barlow Twins", arXiv 2103.03230, equations 1 and 2.
    """
    if not isinstance(off_diagonal_weight, tf.Tensor) and not off_diagonal_weight >= 0:
        raise InputError(f"`off_diagonal_weight` must be >= 0. Received: off_diagonal_weight={off_diagonal_weight!r}.")
    z1, z2 = matched_rows(z1=z1, z2=z2)
    width = z1.shape[1]
    features = _standardise(tf.concat([z1, z2], axis=1))  # one reduction for both views
    rows = tf.cast(tf.shape(z1)[0], z1.dtype)
    local = tf.matmul(features[:, :width], features[:, width:], transpose_a=True) / rows
    squares = tf.square(distribute.all_mean(local) - tf.eye(width, dtype=z1.dtype))
    diagonal = tf.linalg.trace(squares)
    return diagonal + off_diagonal_weight * (tf.reduce_sum(squares) - diagonal)


def _standardise(x):
    # In two passes: the variance as a difference of moments would lose precision.
    x = x - distribute.all_mean(tf.reduce_mean(x, axis=0))
    variance = distribute.all_mean(tf.reduce_mean(tf.square(x), axis=0))
    return x * tf.math.rsqrt(tf.maximum(variance, _SMALLEST_VARIANCE))
