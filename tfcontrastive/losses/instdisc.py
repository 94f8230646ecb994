"""Instance discrimination: every image is a class, whose weight vector is its own embedding in a memory bank."""

from __future__ import annotations

import tensorflow as tf

from tfcontrastive.losses.common import as_floats, check_positive, check_rank, check_width, integers, l2_normalize
from tfcontrastive.losses.row_softmax import against, contrast_metrics, row_softmax


def instance_softmax(
    embeddings: tf.Tensor, bank: tf.Tensor, indices: tf.Tensor, *, temperature: float, with_metrics: bool = False
) -> tf.Tensor | tuple[tf.Tensor, dict[str, tf.Tensor]]:
    r"""The cross entropy of each image's own entry in the bank, over the whole bank.

    $$ L = -\frac{1}{B} \sum_b \log P(i_b | v_b), \quad
       P(i | v) = \frac{\exp(\langle f_i, v \rangle / T)}{\sum_{j=1}^{n} \exp(\langle f_j, v \rangle / T)} $$

    All rows are scaled to unit length. No gradient flows to the bank.

    Args:
        embeddings: `[B, D]`, any float dtype. Computed in float32.
        bank: `[n, D]`, one row for each training image.
        indices: `[B]`, integers in [0, n): which images these are.
        temperature: T > 0; 0.07 in the paper.
        with_metrics: return the metrics too, from the same similarities.

    Returns:
        The loss, a scalar, the mean over this replica's rows; with `with_metrics`, (loss, {"contrast_acc",
        "contrast_entropy"}).

    Raises:
        InputError: for a temperature that is not positive or shapes or dtypes that do not fit.

    Examples:
        >>> print(f"{instance_softmax(tf.eye(3)[:1], tf.eye(3), tf.constant([0]), temperature=1.0):.4f}")
        0.5514

    Source: Wu et al., "Unsupervised Feature Learning via Non-Parametric Instance Discrimination", arXiv 1805.01978,
    equation 2.
    """
    check_positive(temperature=temperature)
    queries, bank, indices = _prepare(embeddings, bank, indices)
    queries = queries / temperature
    positive = tf.reduce_sum(queries * tf.gather(bank, indices), axis=1)
    negatives = row_softmax(queries, bank, indices, key_gradient=False)
    loss = tf.reduce_mean(against(positive, negatives))
    return (loss, contrast_metrics(positive, negatives)) if with_metrics else loss


def instance_nce(
    embeddings: tf.Tensor,
    bank: tf.Tensor,
    indices: tf.Tensor,
    noise: tf.Tensor,
    *,
    temperature: float,
    log_normalizer: tf.Tensor | float,
) -> tf.Tensor:
    r"""Noise-contrastive estimation of `instance_softmax`, at the cost of m entries of the bank per image.

    $$ L = -\frac{1}{B} \sum_b \Big[ \log h(i_b, v_b) + \sum_{j=1}^{m} \log (1 - h(i'_{bj}, v_b)) \Big], \quad
       h(i, v) = \frac{P(i|v)}{P(i|v) + m / n}, \quad P(i|v) = \frac{1}{Z} \exp(\langle f_i, v \rangle / T) $$

    All rows are scaled to unit length. No gradient flows to the bank.

    Args:
        embeddings: `[B, D]`, any float dtype. Computed in float32.
        bank: `[n, D]`, one row for each training image.
        indices: `[B]`, integers in [0, n): which images these are.
        noise: `[B, m]`, integers drawn uniformly from [0, n).
        temperature: T > 0; 0.07 in the paper.
        log_normalizer: log Z, estimated once by `instance_log_normalizer` and then kept.

    Returns:
        A scalar, the mean over this replica's rows.

    Raises:
        InputError: for a temperature that is not positive or shapes or dtypes that do not fit.

    Examples:
        >>> z = tf.eye(2)
        >>> print(f"{instance_nce(z[:1], z, [0], [[1]], temperature=1.0, log_normalizer=0.0):.4f}")
        1.2675

    Source: Wu et al., arXiv 1805.01978, equations 4 to 7.
    """
    check_positive(temperature=temperature)
    queries, bank, indices = _prepare(embeddings, bank, indices)
    noise = integers("noise", noise, 2)
    queries = queries / temperature
    if tf.is_tensor(log_normalizer):
        log_normalizer = tf.cast(log_normalizer, queries.dtype)
    size, draws = tf.cast(tf.shape(bank)[0], queries.dtype), tf.cast(tf.shape(noise)[1], queries.dtype)
    log_noise = tf.math.log(draws / size)
    # h as a sigmoid of log-odds: log P(i|v) - log(m / n).
    positive = tf.reduce_sum(queries * tf.gather(bank, indices), axis=1) - log_normalizer - log_noise
    negative = tf.einsum("bd,bmd->bm", queries, tf.gather(bank, noise)) - log_normalizer - log_noise
    return tf.reduce_mean(tf.nn.softplus(-positive) + tf.reduce_sum(tf.nn.softplus(negative), axis=1))


def instance_log_normalizer(
    embeddings: tf.Tensor, bank: tf.Tensor, noise: tf.Tensor, *, temperature: float
) -> tf.Tensor:
    r"""The Monte Carlo estimate of NCE's constant, `log Z = log(n * mean_bj exp(<f_{i'_bj}, v_b> / T))`.

    The paper estimates it on the first batch and keeps it.

    Args:
        embeddings: `[B, D]`, any float dtype. Computed in float32.
        bank: `[n, D]`, one row for each training image.
        noise: `[B, m]`, integers drawn uniformly from [0, n).
        temperature: T > 0.

    Returns:
        A scalar, without gradient.

    Raises:
        InputError: for a temperature that is not positive or shapes or dtypes that do not fit.

    Examples:
        >>> z = tf.ones([1, 1])
        >>> print(f"{instance_log_normalizer(z, z, [[0]], temperature=0.5):.1f}")
        2.0

    Source: Wu et al., arXiv 1805.01978, equation 8.
    """
    check_positive(temperature=temperature)
    noise = integers("noise", noise, 2)
    queries, bank, _ = _prepare(embeddings, bank, noise[:, 0])
    logits = tf.einsum("bd,bmd->bm", queries / temperature, tf.gather(bank, noise))
    size, samples = tf.cast(tf.shape(bank)[0], logits.dtype), tf.cast(tf.size(noise), logits.dtype)
    return tf.stop_gradient(tf.reduce_logsumexp(logits) + tf.math.log(size / samples))


def _prepare(embeddings, bank, indices):
    embeddings, bank = as_floats(embeddings=embeddings, bank=bank)
    check_rank("embeddings", embeddings, 2)
    check_width("bank", bank, embeddings)
    return l2_normalize(embeddings), tf.stop_gradient(l2_normalize(bank)), integers("indices", indices, 1)
