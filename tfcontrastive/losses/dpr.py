"""The loss of dense passage retrieval: a question's passage among those of the batch."""

from __future__ import annotations

import tensorflow as tf

from tfcontrastive import distribute
from tfcontrastive.losses.common import as_floats, check_matched, check_width, row_count
from tfcontrastive.losses.row_softmax import against, contrast_metrics, row_softmax


def dpr(
    queries: tf.Tensor, contexts: tf.Tensor, *, hard_negatives: tf.Tensor | None = None, with_metrics: bool = False
) -> tf.Tensor | tuple[tf.Tensor, dict[str, tf.Tensor]]:
    r"""The cross entropy of a query's context among all contexts and all hard negatives, by plain dot products.

    $$ L = -\frac{1}{B} \sum_i \log \frac{\exp(\langle q_i, c_i \rangle)}
           {\sum_j \exp(\langle q_i, c_j \rangle) + \sum_j \exp(\langle q_i, h_j \rangle)} $$

    Neither a temperature nor a normalisation. Under a strategy contexts and hard negatives are those of all replicas,
    with gradient (the authors' code leaves it out); the loss of a replica is the mean over its own queries.

    Args:
        queries: `[B, D]`, any float dtype, embeddings of questions. Computed in float32.
        contexts: `[B, D]`, of the passage that answers each.
        hard_negatives: `[M, D]`, of passages that answer none, any number of them.
        with_metrics: return the metrics too, from the same products.

    Returns:
        The loss, a scalar; with `with_metrics`, (loss, {"contrast_acc", "contrast_entropy"}).

    Raises:
        InputError: for shapes that do not fit.

    Examples:
        >>> print(f"{dpr(tf.eye(2), tf.eye(2)):.4f}")  # log(1 + 1 / e)
        0.3133

    Source: Karpukhin et al., "Dense Passage Retrieval for Open-Domain Question Answering", arXiv 2004.04906, equation 2.
    """
    given = {"queries": queries, "contexts": contexts}
    given |= {} if hard_negatives is None else {"hard_negatives": hard_negatives}
    queries, contexts, *hard = as_floats(**given)
    check_matched(queries=queries, contexts=contexts)
    batch = row_count(queries)
    own = distribute.replica_id() * batch + tf.range(batch)
    positive = tf.reduce_sum(queries * contexts, axis=1)
    negatives = row_softmax(queries, distribute.all_gather(contexts), own)
    for passages in hard:
        check_width("hard_negatives", passages, queries)
        negatives = negatives.merge(row_softmax(queries, distribute.all_gather(passages)))
    loss = tf.reduce_mean(against(positive, negatives))
    return (loss, contrast_metrics(positive, negatives)) if with_metrics else loss
