"""The loss of contrastive predictive coding: patches further down predicted from those above."""

from __future__ import annotations

import tensorflow as tf

from tfcontrastive import distribute
from tfcontrastive.config import InputError
from tfcontrastive.losses.common import as_floats, check_rank, row_count
from tfcontrastive.losses.row_softmax import against, contrast_metrics, row_softmax


def cpc(
    predictions: tf.Tensor, targets: tf.Tensor, *, offset: int, with_metrics: bool = False
) -> tf.Tensor | tuple[tf.Tensor, dict[str, tf.Tensor]]:
    r"""The cross entropy of a patch's prediction with the patch some rows below, among all patches of all images.

    $$ L = -\frac{1}{B (H - k) W} \sum_{b,\, r,\, c} \log
           \frac{\exp(\langle \hat z_{brc}, z_{b,r+k,c} \rangle)}
                {\sum_{b',\, r',\, c'} \exp(\langle \hat z_{brc}, z_{b'r'c'} \rangle)} $$

    One offset k, in one direction: CPC adds up the offsets, CPC v2 the four directions (turn the grids). Nothing is
    normalised. Under a strategy the patches are those of all replicas, with gradient.

    Args:
        predictions: `[B, H, W, D]`, any float dtype, made at row r of what is at row r + k. The last k rows are not
            looked at. Computed in float32.
        targets: `[B, H, W, D]`, the patches' features.
        offset: k, from 1 to H - 1.
        with_metrics: return the metrics too.

    Returns:
        A scalar, the mean over this replica's predictions; with `with_metrics`, (loss, {"contrast_acc",
        "contrast_entropy"}).

    Raises:
        InputError: for shapes that differ, or an offset beyond the grid.

    Examples:
        >>> grid = tf.reshape(tf.eye(2), [1, 2, 1, 2])
        >>> print(f"{cpc(grid[:, ::-1], grid, offset=1):.4f}")  # log(1 + 1 / e)
        0.3133

    Sources: van den Oord, Li and Vinyals, "Representation Learning with Contrastive Predictive Coding", arXiv 1807.03748;
    Hénaff et al., "Data-Efficient Image Recognition with Contrastive Predictive Coding", arXiv 1905.09272, equation 1.
    """
    predictions, targets = as_floats(predictions=predictions, targets=targets)
    for name, value in (("predictions", predictions), ("targets", targets)):
        check_rank(name, value, 4)
    if not predictions.shape.is_compatible_with(targets.shape):
        raise InputError(
            f"`predictions` must have the shape of `targets`. Received: predictions.shape={tuple(predictions.shape)}, "
            f"targets.shape={tuple(targets.shape)}."
        )
    height, width, depth = targets.shape[1:]
    if not 1 <= offset < height:
        raise InputError(
            f"`offset` must be from 1 to {height - 1}, in a grid of {height} rows. Received: offset={offset!r}."
        )
    rows = row_count(targets)
    queries = tf.reshape(predictions[:, :-offset], [-1, depth])
    keys = distribute.all_gather(tf.reshape(targets, [-1, depth]))
    image = distribute.replica_id() * rows + tf.range(rows)
    below = tf.range(height * width)[offset * width :]  # of each prediction, where its target lies
    places = tf.reshape(image[:, None] * (height * width) + below, [-1])
    positive = tf.reduce_sum(queries * tf.reshape(targets[:, offset:], [-1, depth]), axis=1)
    negatives = row_softmax(queries, keys, places)
    loss = tf.reduce_mean(against(positive, negatives))
    return (loss, contrast_metrics(positive, negatives)) if with_metrics else loss
