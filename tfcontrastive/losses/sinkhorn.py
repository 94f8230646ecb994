"""Sinkhorn's algorithm: soft assignments of a batch to prototypes, of equal share each (SwAV, DINOv2)."""

from __future__ import annotations

import tensorflow as tf

from tfcontrastive import distribute
from tfcontrastive.config import InputError
from tfcontrastive.losses.common import as_floats, check_positive, check_rank


def sinkhorn(scores: tf.Tensor, *, epsilon: float, iterations: int) -> tf.Tensor:
    r"""Soft assignments of samples to prototypes that follow the scores and use the prototypes evenly.

    $$ Q^* = \arg\max_Q \; \langle Q, S \rangle + \epsilon H(Q), \quad
       \sum_b Q_{bk} = \tfrac{B}{K}, \; \sum_k Q_{bk} = 1 $$

    by turns: an iteration makes the sums over the samples equal, then those over the prototypes, starting from
    $\exp(S / \epsilon)$. The last turn is the samples', so that rows sum to 1 exactly and the prototypes' shares are
    equal only in the limit. Computed in logarithms, which no score overflows at any epsilon.

    Under a strategy the samples are those of all replicas. No gradient flows through the assignments.

    Args:
        scores: `[B, K]`, any float dtype, of this replica's samples. Computed in float32.
        epsilon: > 0, how soft: 0.05 in SwAV. DINOv2 takes its teacher's temperature.
        iterations: >= 1; 3 in both.

    Returns:
        `[B, K]`, the assignments of this replica's samples.

    Raises:
        InputError: for an epsilon that is not positive, or no iterations.

    Examples:
        >>> scores = tf.constant([[1.0, 0.0], [1.0, 0.0]])  # both prefer the first
        >>> print(sinkhorn(scores, epsilon=0.05, iterations=3).numpy())
        [[0.5 0.5]
         [0.5 0.5]]

    Sources: Cuturi, "Sinkhorn Distances", arXiv 1306.0895; Caron et al., "Unsupervised Learning of Visual Features by
    Contrasting Cluster Assignments", arXiv 2006.09882, section 3.1, whose code does not use logarithms: the same numbers.
    """
    check_positive(epsilon=epsilon)
    if not iterations >= 1:
        raise InputError(f"`iterations` must be >= 1. Received: iterations={iterations!r}.")
    (scores,) = as_floats(scores=scores)
    check_rank("scores", scores, 2)
    logits = tf.stop_gradient(scores) / epsilon
    for _ in range(iterations):
        own = tf.reduce_logsumexp(logits, axis=0, keepdims=True)
        logits -= tf.reduce_logsumexp(
            distribute.all_gather(own), axis=0
        )  # the constants K and B cancel in the next line
        logits -= tf.reduce_logsumexp(logits, axis=1, keepdims=True)
    return tf.exp(logits)
