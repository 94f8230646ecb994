"""Noise-contrastive estimation with given negatives (PIRL, CMC)."""

from __future__ import annotations

import tensorflow as tf

from tfcontrastive.config import InputError
from tfcontrastive.losses.common import as_floats, check_matched, check_positive, l2_normalize, scalar
from tfcontrastive.losses.row_softmax import log_add_exp


def nce(
    embeddings: tf.Tensor,
    positives: tf.Tensor,
    negatives: tf.Tensor,
    *,
    temperature: float,
    log_normalizer: float | tf.Tensor,
    bank_size: int,
    epsilon: float = 0.0,
) -> tf.Tensor:
    r"""The logistic loss of telling an embedding's own key from m keys that were drawn from a bank of n.

    $$ L = -\frac{1}{B} \sum_i \left[ \log \frac{p_i}{p_i + m/n}
           + \sum_{j=1}^{m} \log \frac{m/n}{p_{ij} + m/n} \right], \quad
       p = \frac{1}{Z} \exp(\langle v, f \rangle / T) $$

    All rows are scaled to unit length. No gradient flows to the keys, so replicas need no gather: each takes the mean
    over its own rows. `instance_nce` is the same of a bank's rows, given by their numbers.

    Args:
        embeddings: `[B, D]`, any float dtype. Computed in float32.
        positives: `[B, D]`, their own keys.
        negatives: `[B, m, D]`, for each embedding m >= 1 keys that were drawn uniformly.
        temperature: T > 0; 0.07 in PIRL and CMC.
        log_normalizer: log Z: both keep the first batch's mean of `exp(s / T)` times n.
        bank_size: n, the keys that the noise was drawn from.
        epsilon: added to the denominators, as the authors' code does with 1e-7.

    Returns:
        A scalar >= 0.

    Raises:
        InputError: for a temperature or size that is not positive, or shapes that do not fit.

    Examples:
        >>> axes = tf.eye(2)
        >>> loss = nce(axes[:1], axes[:1], axes[None, 1:], temperature=1.0, log_normalizer=0.0, bank_size=1)
        >>> print(f"{loss:.4f}")  # log(1 + 1 / e) + log 2
        1.0064

    Sources: Gutmann and Hyvärinen, "Noise-contrastive estimation", AISTATS 2010; Misra and van der Maaten, "PIRL", arXiv
    1912.01991, equation 4; Tian, Krishnan and Isola, "Contrastive Multiview Coding", arXiv 1906.05849, appendix.
    """
    check_positive(temperature=temperature, bank_size=bank_size)
    v, own, others = as_floats(embeddings=embeddings, positives=positives, negatives=negatives)
    check_matched(embeddings=v, positives=own)
    if others.shape.rank != 3 or not others.shape.is_compatible_with([v.shape[0], None, v.shape[1]]):
        raise InputError(
            f"`negatives` must have the shape ({v.shape[0]}, m, {v.shape[1]}). "
            f"Received: negatives.shape={tuple(others.shape)}."
        )
    v, own, others = (l2_normalize(x) for x in (v, tf.stop_gradient(own), tf.stop_gradient(others)))
    count = tf.cast(tf.shape(others)[1], v.dtype)
    noise = tf.math.log(count / bank_size)
    padded = noise if not epsilon else tf.math.log(count / bank_size + epsilon)
    log_z = scalar(log_normalizer, v)
    positive = tf.reduce_sum(v * own, axis=1) / temperature - log_z
    negative = tf.einsum("bd,bmd->bm", v, others) / temperature - log_z
    of_positive = log_add_exp(padded, positive) - positive
    of_negatives = tf.reduce_sum(log_add_exp(padded, negative) - noise, axis=1)
    return tf.reduce_mean(of_positive + of_negatives)
