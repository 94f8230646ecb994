"""The loss of decoupled contrastive learning: NT-Xent without the positive in the denominator."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from tfcontrastive import distribute
from tfcontrastive.config import InputError
from tfcontrastive.losses.common import check_positive, matched_rows, row_count
from tfcontrastive.losses.nt_xent import mean_contrast_metrics, positives_and_negatives


def dcl(
    z1: tf.Tensor,
    z2: tf.Tensor,
    *,
    temperature: float,
    sigma: float | None = None,
    normalize: bool = True,
    memory: tf.Tensor | None = None,
    with_metrics: bool = False,
) -> tf.Tensor | tuple[tf.Tensor, dict[str, tf.Tensor]]:
    r"""NT-Xent whose denominator has the negatives alone, averaged over all 2N rows.

    $$ L = \frac{1}{2N} \sum_{i=1}^{2N} \left[ -w_i \langle z_i, z_{p(i)} \rangle / T
           + \log \sum_{j \ne i, p(i)} \exp(\langle z_i, z_j \rangle / T) \right] $$

    with $w_i = 1$ or, given sigma (DCLW), $w_i = 2 - N \, \mathrm{softmax}_i(\langle z^1_i, z^2_i \rangle / \sigma)$
    over the N pairs: the more alike a pair already is, the less it is pulled. These weights have the mean 1, may be
    negative, and carry gradient.

    Under a strategy every replica's rows see the rows of all replicas, with gradient, and the N pairs are those of all.
    The loss of a replica is the mean over its own rows.

    Args:
        z1: `[B, D]`, any float dtype, the first views of this replica's images. Computed in float32.
        z2: `[B, D]`, the second views, row by row of the same images.
        temperature: T > 0.
        sigma: > 0, of DCLW's weights, 0.5 in the paper; None: DCL.
        normalize: scale the rows to unit length first.
        memory: `[K, D]`, further negatives, without gradient.
        with_metrics: return the metrics too, from the same similarities.

    Returns:
        The loss, a scalar, which may be negative; with `with_metrics`, (loss, {"contrast_acc", "contrast_entropy"}), as
        `nt_xent` has them.

    Raises:
        InputError: for a temperature or sigma that is not positive, views of different shapes, or one pair alone.

    Examples:
        >>> z = tf.one_hot([0, 1], 2)
        >>> print(f"{dcl(z, z, temperature=1.0):.4f}")  # log(2) - 1
        -0.3069

    The public code sums the losses of the two directions, which is twice this value.
    Source: Yeh et al., "Decoupled Contrastive Learning", arXiv 2110.06848, equations 5 and 6.
    """
    return dcl_views(
        matched_rows(z1=z1, z2=z2),
        temperature=temperature,
        sigma=sigma,
        normalize=normalize,
        memory=memory,
        with_metrics=with_metrics,
    )


def dcl_views(
    z: Sequence[tf.Tensor],
    *,
    temperature: float,
    sigma: float | None = None,
    normalize: bool = True,
    memory: tf.Tensor | None = None,
    with_metrics: bool = False,
) -> tf.Tensor | tuple[tf.Tensor, dict[str, tf.Tensor]]:
    r"""`dcl` of V views: the mean over the ordered pairs of views of an image, as `nt_xent_views`.

    $$ L = \frac{1}{V (V - 1) N} \sum_{a \ne b} \sum_i \left[ -w^{ab}_i \langle z^a_i, z^b_i \rangle / T
           + \log \sum_{c, m \ne i} \exp(\langle z^a_i, z^c_m \rangle / T) \right] $$

    Args:
        z: V >= 2 tensors `[B, D]`, any float dtype, row by row of the same images. Computed in float32.
        temperature, sigma, normalize, memory, with_metrics: as of `dcl`; each pair of views has weights of its own.

    Returns:
        As `dcl`; the metrics are the means over the pairs.

    Raises:
        InputError: as `dcl`; a view alone.

    Examples:
        >>> z = tf.one_hot([0, 1], 2)
        >>> print(f"{dcl_views([z, z, z], temperature=1.0):.4f}")  # log(3) - 1
        0.0986

    Source: DCL, arXiv 2110.06848; more than two views are this project's choice.
    """
    check_positive(**({} if sigma is None else {"sigma": sigma}))
    positive, negatives = positives_and_negatives(
        z, temperature=temperature, normalize=normalize, gather=True, memory=memory
    )
    if z[0].shape[0] == 1 and distribute.replica_count() == 1 and memory is None:
        raise InputError("`z` must have two rows or more of each view, over all replicas. Received: one.")
    weights = [1.0 if sigma is None else _weights(one, len(z), temperature / sigma) for one in positive]
    terms = [
        tf.reduce_mean(negatives.log_sum_exp - weight * one) for weight, one in zip(weights, positive, strict=True)
    ]
    loss = tf.add_n(terms) / len(positive)
    return (loss, mean_contrast_metrics(positive, negatives)) if with_metrics else loss


def _weights(positive, views, scale):
    own = tf.reshape(positive * scale, [views, -1])
    everyone = distribute.all_gather(tf.transpose(own))  # [N, V]
    count = tf.cast(row_count(everyone), own.dtype)
    return tf.reshape(2 - count * tf.exp(own - tf.reduce_logsumexp(everyone, axis=0)[:, None]), [-1])
