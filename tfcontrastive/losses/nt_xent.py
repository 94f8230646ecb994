"""NT-Xent, the loss of SimCLR."""

from __future__ import annotations

import tensorflow as tf

from tfcontrastive import distribute
from tfcontrastive.losses.common import check_positive, check_width, l2_normalize, matched_rows, row_count
from tfcontrastive.losses.row_softmax import RowSoftmax, against, contrast_metrics, row_softmax


def nt_xent(
    z1: tf.Tensor,
    z2: tf.Tensor,
    *,
    temperature: float,
    normalize: bool = True,
    gather: bool = True,
    memory: tf.Tensor | None = None,
    with_metrics: bool = False,
) -> tf.Tensor | tuple[tf.Tensor, dict[str, tf.Tensor]]:
    r"""The normalised, temperature-scaled cross entropy of two views, averaged over all 2N rows.

    $$ L = \frac{1}{2N} \sum_{i=1}^{2N} -\log
           \frac{\exp(\langle z_i, z_{p(i)} \rangle / T)}{\sum_{j \ne i} \exp(\langle z_i, z_j \rangle / T)} $$

    where p(i) is the other view of row i: each row has 1 positive and 2N - 2 negatives.

    Under a strategy every replica's rows see the rows of all replicas, with gradient. The loss of a replica is the mean
    over its own rows, so that the mean over the replicas is the loss of the whole batch.

    Args:
        z1: `[B, D]`, any float dtype, the first views of this replica's images. Computed in float32.
        z2: `[B, D]`, the second views, row by row of the same images.
        temperature: T > 0.
        normalize: scale the rows to unit length first.
        gather: False keeps to the negatives of this replica.
        memory: `[K, D]`, further negatives, without gradient, such as the queue of SimCLRv2's momentum encoder.
        with_metrics: return the metrics too, from the same similarities.

    Returns:
        The loss, a scalar; with `with_metrics`, (loss, {"contrast_acc", "contrast_entropy"}). The accuracy counts the
        rows whose positive is above all 2N - 2 negatives (and the memory); google-research/simclr logs the easier one
        among the N rows of the other view.

    Raises:
        InputError: for a temperature that is not positive or views of different shapes.

    Examples:
        >>> z = tf.one_hot([0, 1], 2)
        >>> print(f"{nt_xent(z, z, temperature=1.0):.4f}")  # log(1 + 2 / e)
        0.5514

    google-research/simclr sums the losses of the two directions, which is twice this value.
    Source: Chen et al., "A Simple Framework for Contrastive Learning of Visual Representations", arXiv 2002.05709,
    equation 1; the memory: "Big Self-Supervised Models are Strong Semi-Supervised Learners", arXiv 2006.10029.
    """
    check_positive(temperature=temperature)
    z1, z2 = matched_rows(z1=z1, z2=z2)
    positive, negatives = positive_and_negatives(
        z1, z2, temperature=temperature, normalize=normalize, gather=gather, memory=memory
    )
    loss = tf.reduce_mean(against(positive, negatives))
    return (loss, contrast_metrics(positive, negatives)) if with_metrics else loss


def positive_and_negatives(
    z1: tf.Tensor, z2: tf.Tensor, *, temperature: float, normalize: bool, gather: bool, memory: tf.Tensor | None
) -> tuple[tf.Tensor, RowSoftmax]:
    """Each row's similarity to its other view, over T, and the softmax over its 2N - 2 negatives and the memory.

    Args:
        z1, z2: `[B, D]`, float32 or float64.
        temperature, normalize, gather, memory: as `nt_xent`'s.

    Returns:
        `[2B]`, the first views before the second ones, and their `RowSoftmax`.
    """
    prepare = l2_normalize if normalize else tf.identity
    z = prepare(tf.concat([z1, z2], axis=0))
    batch = row_count(z1)
    queries, positives = z / temperature, tf.roll(z, batch, axis=0)
    positive = tf.reduce_sum(queries * positives, axis=1)

    # A gather keeps a replica's rows together, first views before second ones.
    keys, replica = (distribute.all_gather(z), distribute.replica_id()) if gather else (z, 0)
    place = tf.range(row_count(keys))
    images = place // (2 * batch) * batch + place % batch
    own = replica * batch + tf.range(2 * batch) % batch
    negatives = row_softmax(queries, keys, own, images)  # neither the row itself nor its positive
    if memory is not None:
        memory = tf.cast(memory, z.dtype)
        check_width("memory", memory, z)
        negatives = negatives.merge(row_softmax(queries, prepare(memory), key_gradient=False))
    return positive, negatives
