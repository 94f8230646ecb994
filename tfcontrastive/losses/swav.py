"""The loss of SwAV: the assignment of one view predicted from another."""

from __future__ import annotations

import tensorflow as tf

from tfcontrastive.losses.common import check_positive, matched_rows


def swav(scores: tf.Tensor, assignments: tf.Tensor, *, temperature: float) -> tf.Tensor:
    r"""The cross entropy of a view's scores with the assignments of another view of the same images.

    $$ L = -\frac{1}{B} \sum_b \sum_k q_{bk} \log \mathrm{softmax}_k(s_{bk} / T) $$

    This is one pair of views. SwAV's loss of V crops is the mean over the pairs of one of the A crops that have
    assignments and one of the V - 1 others. A replica takes the mean over its own rows; `sinkhorn` sees all replicas'.

    Args:
        scores: `[B, K]`, any float dtype, cosines of a view's embeddings and the prototypes. Computed in float32.
        assignments: `[B, K]`, rows that sum to 1, such as `sinkhorn` makes of the other view's scores. No gradient.
        temperature: T > 0; 0.1 in the paper.

    Returns:
        A scalar >= 0.

    Raises:
        InputError: for a temperature that is not positive or shapes that differ.

    Examples:
        >>> print(f"{swav(tf.eye(2), tf.eye(2), temperature=1.0):.4f}")  # log(1 + 1 / e)
        0.3133

    Source: Caron et al., "Unsupervised Learning of Visual Features by Contrasting Cluster Assignments", arXiv 2006.09882,
    equation 2.
    """
    check_positive(temperature=temperature)
    scores, assignments = matched_rows(scores=scores, assignments=assignments)
    log_p = tf.nn.log_softmax(scores / temperature)
    return -tf.reduce_mean(tf.reduce_sum(tf.stop_gradient(assignments) * log_p, axis=1))
