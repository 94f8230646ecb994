"""Losses that pull two vectors together without negatives (BYOL, SimSiam)."""

from __future__ import annotations

import tensorflow as tf

from tfcontrastive.losses.common import l2_normalize, matched_rows


def negative_cosine(p: tf.Tensor, z: tf.Tensor) -> tf.Tensor:
    r"""The mean negative cosine of predictions and targets.

    $$ L = -\frac{1}{B} \sum_i \frac{\langle p_i, z_i \rangle}{|p_i| \, |z_i|} $$

    No gradient flows to the targets: with it, the trivial minimum is all outputs equal. BYOL's loss of one direction,
    the squared distance of the unit vectors, is `2 + 2 * negative_cosine(p, z)`.

    Args:
        p: `[B, D]`, any float dtype, the predictor's outputs for one view. Computed in float32.
        z: `[B, D]`, the targets: the target network's outputs for the other view (SimSiam: the projector's).

    Returns:
        A scalar in [-1, 1], the mean over this replica's rows.

    Raises:
        InputError: for shapes that differ.

    Examples:
        >>> print(f"{negative_cosine(tf.constant([[1.0, 0.0]]), tf.constant([[3.0, 4.0]])):.2f}")
        -0.60

    Sources: Grill et al., "Bootstrap Your Own Latent", arXiv 2006.07733, equation 2; Chen and He, "Exploring Simple
    Siamese Representation Learning", arXiv 2011.10566, equation 1.
    """
    p, z = matched_rows(p=p, z=z)
    return -tf.reduce_mean(tf.reduce_sum(l2_normalize(p) * tf.stop_gradient(l2_normalize(z)), axis=1))
