"""VICReg: views that agree, features that vary, and features that do not repeat one another."""

from __future__ import annotations

import tensorflow as tf

from tfcontrastive import distribute
from tfcontrastive.config import InputError
from tfcontrastive.losses.common import matched_rows, row_count

_EPSILON = 1e-4


def vicreg(
    z1: tf.Tensor,
    z2: tf.Tensor,
    *,
    invariance: float = 25.0,
    variance: float = 25.0,
    covariance: float = 1.0,
    with_metrics: bool = False,
) -> tf.Tensor | tuple[tf.Tensor, dict[str, tf.Tensor]]:
    r"""The weighted sum of invariance, variance and covariance terms, as the authors' code has them.

    $$ L = \lambda \frac{1}{BD} \sum_{b,j} (z^1_{bj} - z^2_{bj})^2
         + \mu \frac{1}{2} \sum_{v} \frac{1}{D} \sum_j \max\!\left(0, 1 - \sqrt{\mathrm{var}(z^v_j) + 10^{-4}}\right)
         + \nu \sum_v \frac{1}{D} \sum_{i \ne j} \mathrm{cov}(z^v_i, z^v_j)^2 $$

    Embeddings are not normalised; variance and covariance are divided by B - 1. The code halves the variance term and
    averages the invariance over D, which the paper does not write.

    Under a strategy variance and covariance are those of all replicas' rows, with gradient; the invariance of a replica
    is the mean over its own.

    Args:
        z1: `[B, D]`, any float dtype, the first views of this replica's images. Computed in float32.
        z2: `[B, D]`, the second views.
        invariance, variance, covariance: the weights lambda, mu and nu, each >= 0.
        with_metrics: return the three terms too, unweighted.

    Returns:
        A scalar >= 0; with `with_metrics`, (loss, {"invariance", "variance", "covariance"}).

    Raises:
        InputError: for a negative weight, views of different shapes, or less than two rows, over all replicas.

    Examples:
        >>> z = tf.constant([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
        >>> print(f"{vicreg(z, -z):.1f}")  # nothing but the invariance: 25 * 4
        100.0

    Source: Bardes, Ponce and LeCun, "VICReg", arXiv 2105.04906, equations 1 to 6, and the code beside it.
    """
    for name, weight in (("invariance", invariance), ("variance", variance), ("covariance", covariance)):
        if not isinstance(weight, tf.Tensor) and not weight >= 0:
            raise InputError(f"`{name}` must be >= 0. Received: {name}={weight!r}.")
    z1, z2 = matched_rows(z1=z1, z2=z2)
    rows, width = row_count(z1), z1.shape[1]
    if z1.shape[0] == 1 and distribute.replica_count() == 1:
        raise InputError("`z1` must have two rows or more, over all replicas. Received: one.")
    # In two passes: the variance as a difference of moments would lose precision. One reduction for both views.
    both = tf.stack([z1, z2])
    both -= distribute.all_mean(tf.reduce_mean(both, axis=1, keepdims=True))
    everyone = tf.cast(rows * distribute.replica_count(), z1.dtype)
    products = distribute.all_mean(tf.matmul(both, both, transpose_a=True) / tf.cast(rows, z1.dtype))
    products *= everyone / tf.maximum(everyone - 1, 1)
    diagonal = tf.linalg.diag_part(products)
    terms = {
        "invariance": tf.reduce_mean(tf.square(z1 - z2)),
        "variance": tf.reduce_mean(tf.nn.relu(1 - tf.sqrt(diagonal + _EPSILON))),  # over both views: half of their sum
        "covariance": (tf.reduce_sum(tf.square(products)) - tf.reduce_sum(tf.square(diagonal))) / width,
    }
    loss = invariance * terms["invariance"] + variance * terms["variance"] + covariance * terms["covariance"]
    return (loss, {name: tf.stop_gradient(term) for name, term in terms.items()}) if with_metrics else loss
