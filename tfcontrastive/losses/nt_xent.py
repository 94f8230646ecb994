"""NT-Xent, the loss of SimCLR."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from tfcontrastive import distribute
from tfcontrastive.losses.common import check_positive, check_width, l2_normalize, matched_rows, row_count
from tfcontrastive.losses.row_softmax import RowSoftmax, against, contrast_metrics, row_softmax
from tfcontrastive.losses.view_pairs import check_views


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
    return nt_xent_views(
        matched_rows(z1=z1, z2=z2),
        temperature=temperature,
        normalize=normalize,
        gather=gather,
        memory=memory,
        with_metrics=with_metrics,
    )


def nt_xent_views(
    z: Sequence[tf.Tensor],
    *,
    temperature: float,
    normalize: bool = True,
    gather: bool = True,
    memory: tf.Tensor | None = None,
    with_metrics: bool = False,
) -> tf.Tensor | tuple[tf.Tensor, dict[str, tf.Tensor]]:
    r"""`nt_xent` of V views: the mean over the ordered pairs of views of an image.

    $$ L = \frac{1}{V (V - 1) N} \sum_{a \ne b} \sum_i -\log \frac{\exp(\langle z^a_i, z^b_i \rangle / T)}
           {\exp(\langle z^a_i, z^b_i \rangle / T) + \sum_{c, m \ne i} \exp(\langle z^a_i, z^c_m \rangle / T)} $$

    so that a row has V - 1 positives, one at a time, each against the V (N - 1) rows of the other images.

    Args:
        z: V >= 2 tensors `[B, D]`, any float dtype, row by row of the same images. Computed in float32.
        temperature, normalize, gather, memory, with_metrics: as of `nt_xent`.

    Returns:
        As `nt_xent`; the metrics are the means over the pairs.

    Raises:
        InputError: as `nt_xent`; a view alone.

    Examples:
        >>> z = tf.one_hot([0, 1], 2)
        >>> print(f"{nt_xent_views([z, z, z], temperature=1.0):.4f}")  # log(1 + 3 / e)
        0.7437

    Source: as the authors of SwAV (arXiv 2006.09882) extend SimCLR to multi-crop in VISSL, small views being rows as all.
    """
    positive, negatives = positives_and_negatives(
        z, temperature=temperature, normalize=normalize, gather=gather, memory=memory
    )
    loss = tf.add_n([tf.reduce_mean(against(one, negatives)) for one in positive]) / len(positive)
    return (loss, mean_contrast_metrics(positive, negatives)) if with_metrics else loss


def positives_and_negatives(
    z: Sequence[tf.Tensor], *, temperature: float, normalize: bool, gather: bool, memory: tf.Tensor | None
) -> tuple[list[tf.Tensor], RowSoftmax]:
    """The similarities, over T, of every row of V views to its other views, and its softmax over all other images.

    Args:
        z, temperature, normalize, gather, memory: as of `nt_xent_views`.

    Returns:
        V - 1 tensors `[V * B]`, first views before second ones, and the `RowSoftmax` over V (N - 1) negatives and memory.

    Raises:
        InputError: as `nt_xent_views`.
    """
    check_positive(temperature=temperature)
    check_views(len(z))
    views = matched_rows(**{f"z[{i}]": one for i, one in enumerate(z)})
    prepare = l2_normalize if normalize else tf.identity
    rows = prepare(tf.concat(views, axis=0))
    batch, count = row_count(views[0]), len(views)
    queries = rows / temperature
    positives = [tf.roll(rows, shift * batch, axis=0) for shift in range(1, count)]
    positive = [tf.reduce_sum(queries * other, axis=1) for other in positives]

    # A gather keeps a replica's rows together, first views before second ones.
    keys, replica = (distribute.all_gather(rows), distribute.replica_id()) if gather else (rows, 0)
    place = tf.range(row_count(keys))
    images = place // (count * batch) * batch + place % batch
    own = replica * batch + tf.range(count * batch) % batch
    negatives = row_softmax(queries, keys, own, images)  # neither the row itself nor a positive
    if memory is not None:
        memory = tf.cast(memory, rows.dtype)
        check_width("memory", memory, rows)
        negatives = negatives.merge(row_softmax(queries, prepare(memory), key_gradient=False))
    return positive, negatives


def mean_contrast_metrics(positive: Sequence[tf.Tensor], negatives: RowSoftmax) -> dict[str, tf.Tensor]:
    """`contrast_metrics` of each positive against the same negatives, their mean."""
    metrics = [contrast_metrics(one, negatives) for one in positive]
    return {name: tf.add_n([one[name] for one in metrics]) / len(positive) for name in metrics[0]}
