"""The loss of SimCSE: a sentence against its other encoding, in the rows alone."""

from __future__ import annotations

import tensorflow as tf

from tfcontrastive import distribute
from tfcontrastive.losses.common import as_floats, check_matched, check_positive, l2_normalize, row_count, scalar
from tfcontrastive.losses.row_softmax import RowSoftmax, against, contrast_metrics, row_softmax


def sim_cse(
    z1: tf.Tensor,
    z2: tf.Tensor,
    *,
    temperature: float,
    hard_negatives: tf.Tensor | None = None,
    hard_negative_weight: float = 0.0,
    with_metrics: bool = False,
) -> tf.Tensor | tuple[tf.Tensor, dict[str, tf.Tensor]]:
    r"""The cross entropy of each row's partner among all partners, and all hard negatives where there are any.

    $$ L = -\frac{1}{B} \sum_i \log \frac{\exp(\langle z^1_i, z^2_i \rangle / T)}
           {\sum_j \left[ \exp(\langle z^1_i, z^2_j \rangle / T)
           + e^{\alpha [i = j]} \exp(\langle z^1_i, h_j \rangle / T) \right]} $$

    in this direction alone. All rows are scaled to unit length. Under a strategy the candidates are those of all
    replicas, with gradient (the authors' code leaves it out); the loss of a replica is the mean over its own rows.

    Args:
        z1: `[B, D]`, any float dtype, embeddings of sentences. Computed in float32.
        z2: `[B, D]`, of the same sentences under other dropout; with labels: of those that they entail.
        temperature: T > 0; 0.05 in the paper.
        hard_negatives: `[B, D]`, of sentences that contradict them.
        hard_negative_weight: alpha, added to the logit of a row's own hard negative.
        with_metrics: return the metrics too, from the same similarities.

    Returns:
        The loss, a scalar; with `with_metrics`, (loss, {"contrast_acc", "contrast_entropy"}).

    Raises:
        InputError: for a temperature that is not positive or shapes that differ.

    Examples:
        >>> z = tf.eye(2)
        >>> print(f"{sim_cse(z, z, temperature=1.0, hard_negatives=-z):.4f}")  # log(1 + 2 / e + 1 / e^2)
        0.6265

    Source: Gao, Yao and Chen, "SimCSE", arXiv 2104.08821, equations 1, 5 and 8.
    """
    check_positive(temperature=temperature)
    given = {"z1": z1, "z2": z2}
    given |= {} if hard_negatives is None else {"hard_negatives": hard_negatives}
    values = as_floats(**given)
    check_matched(**dict(zip(given, values, strict=True)))
    z1, *candidates = map(l2_normalize, values)
    batch = row_count(z1)
    own = distribute.replica_id() * batch + tf.range(batch)
    queries = z1 / scalar(temperature, z1)
    positive = tf.reduce_sum(queries * candidates[0], axis=1)
    every = distribute.all_gather(tf.stack(candidates, axis=1))  # one gather for both
    negatives = row_softmax(queries, every[:, 0], own)
    if hard_negatives is not None:
        hard = tf.reduce_sum(queries * candidates[1], axis=1) + hard_negative_weight
        negatives = negatives.merge(row_softmax(queries, every[:, 1], own)).merge(RowSoftmax(hard, hard, hard))
    loss = tf.reduce_mean(against(positive, negatives))
    return (loss, contrast_metrics(positive, negatives)) if with_metrics else loss
