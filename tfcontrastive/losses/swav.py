"""The loss of SwAV: the assignment of one view predicted from another."""

from __future__ import annotations

import tensorflow as tf

from tfcontrastive.losses.common import check_positive, matched_rows


def swav(
    scores: tf.Tensor, assignments: tf.Tensor, *, temperature: float, with_metrics: bool = False
) -> tf.Tensor | tuple[tf.Tensor, dict[str, tf.Tensor]]:
    r"""The cross entropy of a view's scores with the assignments of another view of the same images.

    $$ L = -\frac{1}{B} \sum_b \sum_k q_{bk} \log \mathrm{softmax}_k(s_{bk} / T) $$

    This is one pair of views. SwAV's loss of V crops is the mean over the pairs of one of the A crops that have
    assignments and one of the V - 1 others. A replica takes the mean over its own rows; `sinkhorn` sees all replicas'.

    Args:
        scores: `[B, K]`, any float dtype, cosines of a view's embeddings and the prototypes. Computed in float32.
        assignments: `[B, K]`, rows that sum to 1, such as `sinkhorn` makes of the other view's scores. No gradient.
        temperature: T > 0; 0.1 in the paper.
        with_metrics: return the metrics too.

    Returns:
        A scalar >= 0; with `with_metrics`, (loss, {"assignment_acc", "assignment_entropy"}): the share of rows whose
        highest score is at the prototype that they are most assigned to, and the mean entropy of the assignments in nats,
        which is log K where all samples are alike.

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
    q = tf.stop_gradient(assignments)
    loss = -tf.reduce_mean(tf.reduce_sum(q * log_p, axis=1))
    if not with_metrics:
        return loss
    right = tf.argmax(scores, axis=1) == tf.argmax(q, axis=1)
    return loss, {
        "assignment_acc": tf.reduce_mean(tf.cast(right, loss.dtype)),
        "assignment_entropy": -tf.reduce_mean(tf.reduce_sum(tf.math.xlogy(q, q), axis=1)),
    }
