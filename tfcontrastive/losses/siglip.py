"""The loss of SigLIP: every pairing of an image and a text is a yes or a no of its own."""

from __future__ import annotations

import tensorflow as tf

from tfcontrastive import distribute
from tfcontrastive.losses.common import check_positive, l2_normalize, matched_rows, row_count, scalar


def siglip(
    images: tf.Tensor,
    texts: tf.Tensor,
    *,
    scale: float | tf.Tensor,
    bias: float | tf.Tensor,
    with_metrics: bool = False,
) -> tf.Tensor | tuple[tf.Tensor, dict[str, tf.Tensor]]:
    r"""The logistic loss of all pairings of images and texts, divided by the number of images.

    $$ L = -\frac{1}{B} \sum_{i,j} \log \mathrm{sigmoid}\left( y_{ij} (t \langle x_i, y_j \rangle + b) \right), \quad
       y_{ij} = 1 \text{ if } i = j \text{ else } -1 $$

    All rows are scaled to unit length. Under a strategy images are paired with the texts of all replicas, with gradient;
    the loss of a replica is the mean over its own images.

    Args:
        images: `[B, D]`, any float dtype, embeddings of images, or of any first of two things. Computed in float32.
        texts: `[B, D]`, those of their texts.
        scale: t > 0; a tensor where it is learned. SigLIP starts at 10.
        bias: b; SigLIP starts at -10, as most pairings are none.
        with_metrics: return the metrics too.

    Returns:
        The loss, a scalar; with `with_metrics`, (loss, {"contrast_acc"}): the share of images whose own text is closest.

    Raises:
        InputError: for a scale that is not positive or shapes that differ.

    Examples:
        >>> print(f"{siglip(tf.eye(2), tf.eye(2), scale=1.0, bias=0.0):.4f}")  # log(1 + 1 / e) + log 2
        1.0064

    Source: Zhai et al., "Sigmoid Loss for Language Image Pre-Training", arXiv 2303.15343, algorithm 1.
    """
    check_positive(scale=scale)
    images, texts = map(l2_normalize, matched_rows(images=images, texts=texts))
    batch = row_count(images)
    every = distribute.all_gather(texts)
    own = distribute.replica_id() * batch + tf.range(batch)
    cosines = tf.matmul(images, every, transpose_b=True)
    logits = scalar(scale, images) * cosines + scalar(bias, images)
    paired = own[:, None] == tf.range(row_count(every))
    loss = tf.reduce_mean(tf.reduce_sum(tf.nn.softplus(tf.where(paired, -logits, logits)), axis=1))
    if not with_metrics:
        return loss
    right = tf.argmax(cosines, axis=1, output_type=own.dtype) == own
    return loss, {"contrast_acc": tf.reduce_mean(tf.cast(right, loss.dtype))}
