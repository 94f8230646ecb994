"""The loss of NNCLR: the nearest neighbour of a view stands in for it."""

from __future__ import annotations

import tensorflow as tf

from tfcontrastive import distribute
from tfcontrastive.losses.common import check_positive, l2_normalize, matched_rows, row_count
from tfcontrastive.losses.row_softmax import against, contrast_metrics, row_softmax


def nnclr(
    neighbours: tf.Tensor, p: tf.Tensor, *, temperature: float, with_metrics: bool = False
) -> tf.Tensor | tuple[tf.Tensor, dict[str, tf.Tensor]]:
    r"""The cross entropy of a view's neighbour among the predictions of the other view.

    $$ L = \frac{1}{B} \sum_i -\log
           \frac{\exp(\langle \mathrm{nn}(z_i), p_i \rangle / T)}{\sum_j \exp(\langle \mathrm{nn}(z_i), p_j \rangle / T)} $$

    This is one direction; NNCLR's loss is the mean of both. All rows are scaled to unit length. Predictions come from
    every replica, with gradient; the loss of a replica is the mean over its own rows.

    Args:
        neighbours: `[B, D]`, any float dtype, the rows of a queue closest to the projections of one view. No gradient.
            Computed in float32.
        p: `[B, D]`, the predictor's outputs for the other view of the same images.
        temperature: T > 0; 0.1 in the paper.
        with_metrics: return the metrics too, from the same similarities.

    Returns:
        The loss, a scalar; with `with_metrics`, (loss, {"contrast_acc", "contrast_entropy"}).

    Raises:
        InputError: for a temperature that is not positive or shapes that differ.

    Examples:
        >>> print(f"{nnclr(tf.eye(2), tf.eye(2), temperature=1.0):.4f}")  # log(1 + 1 / e)
        0.3133

    Source: Dwibedi et al., "With a Little Help from My Friends", arXiv 2104.14548, equation 3.
    """
    check_positive(temperature=temperature)
    neighbours, p = map(l2_normalize, matched_rows(neighbours=neighbours, p=p))
    queries = tf.stop_gradient(neighbours) / temperature
    batch = row_count(p)
    own = distribute.replica_id() * batch + tf.range(batch)
    positive = tf.reduce_sum(queries * p, axis=1)
    negatives = row_softmax(queries, distribute.all_gather(p), own)
    loss = tf.reduce_mean(against(positive, negatives))
    return (loss, contrast_metrics(positive, negatives)) if with_metrics else loss
