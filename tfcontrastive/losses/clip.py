"""The loss of CLIP: pairs of images and texts, told from all other pairings in both directions."""

from __future__ import annotations

import tensorflow as tf

from tfcontrastive import distribute
from tfcontrastive.losses.common import check_positive, l2_normalize, matched_rows, row_count, scalar
from tfcontrastive.losses.row_softmax import against, contrast_metrics, row_softmax


def clip(
    images: tf.Tensor, texts: tf.Tensor, *, temperature: float | tf.Tensor, with_metrics: bool = False
) -> tf.Tensor | tuple[tf.Tensor, dict[str, tf.Tensor]]:
    r"""The mean cross entropy of an image's text among all texts, and of a text's image among all images.

    $$ L = -\frac{1}{2B} \sum_i \left[
           \log \frac{\exp(\langle x_i, y_i \rangle / T)}{\sum_j \exp(\langle x_i, y_j \rangle / T)}
           + \log \frac{\exp(\langle x_i, y_i \rangle / T)}{\sum_j \exp(\langle x_j, y_i \rangle / T)} \right] $$

    All rows are scaled to unit length. Under a strategy rows of all replicas are candidates, with gradient; the loss of
    a replica is the mean over its own pairs.

    Args:
        images: `[B, D]`, any float dtype, embeddings of images, or of any first of two things. Computed in float32.
        texts: `[B, D]`, those of their texts.
        temperature: T > 0, one over the scale of the logits; a tensor where it is learned. CLIP starts at 0.07.
        with_metrics: return the metrics too, the mean over both directions.

    Returns:
        The loss, a scalar; with `with_metrics`, (loss, {"contrast_acc", "contrast_entropy"}).

    Raises:
        InputError: for a temperature that is not positive or shapes that differ.

    Examples:
        >>> print(f"{clip(tf.eye(2), tf.eye(2), temperature=1.0):.4f}")  # log(1 + 1 / e)
        0.3133

    Source: Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", arXiv 2103.00020,
    figure 3.
    """
    check_positive(temperature=temperature)
    images, texts = map(l2_normalize, matched_rows(images=images, texts=texts))
    temperature = scalar(temperature, images)
    batch = row_count(images)
    every = distribute.all_gather(tf.stack([texts, images], axis=1))  # one gather for both
    own = distribute.replica_id() * batch + tf.range(batch)
    positive = tf.reduce_sum(images * texts, axis=1) / temperature
    rows = [row_softmax(x / temperature, every[:, i], own) for i, x in enumerate((images, texts))]
    loss = tf.add_n([tf.reduce_mean(against(positive, row)) for row in rows]) / 2
    if not with_metrics:
        return loss
    first, second = (contrast_metrics(positive, row) for row in rows)
    return loss, {name: (first[name] + second[name]) / 2 for name in first}
