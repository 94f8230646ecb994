"""InfoNCE against a queue of keys (MoCo v1 and v2) and against the keys of the batch (MoCo v3)."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from tfcontrastive import distribute
from tfcontrastive.losses.common import (
    as_floats,
    check_matched,
    check_positive,
    check_width,
    l2_normalize,
    matched_rows,
    row_count,
)
from tfcontrastive.losses.row_softmax import against, contrast_metrics, row_softmax
from tfcontrastive.losses.view_pairs import target_pairs


def info_nce(
    queries: tf.Tensor, keys: tf.Tensor, queue: tf.Tensor, *, temperature: float, with_metrics: bool = False
) -> tf.Tensor | tuple[tf.Tensor, dict[str, tf.Tensor]]:
    r"""The cross entropy of each query's own key among the keys of a queue.

    $$ L = \frac{1}{B} \sum_i -\log \frac{\exp(\langle q_i, k_i \rangle / T)}
           {\exp(\langle q_i, k_i \rangle / T) + \sum_{j=1}^{K} \exp(\langle q_i, u_j \rangle / T)} $$

    All rows are scaled to unit length. No gradient flows to the keys or the queue. The other keys of the batch are not
    negatives, so replicas need no gather: each takes the mean over its own rows.

    Args:
        queries: `[B, D]`, any float dtype, from the trained encoder. Computed in float32.
        keys: `[B, D]`, from the momentum encoder: the other views of the same images.
        queue: `[K, D]`, keys of earlier batches.
        temperature: T > 0; 0.07 in MoCo v1, 0.2 in v2.
        with_metrics: return the metrics too, from the same similarities.

    Returns:
        The loss, a scalar; with `with_metrics`, (loss, {"contrast_acc", "contrast_entropy"}).

    Raises:
        InputError: for a temperature that is not positive or shapes that do not fit.

    Examples:
        >>> axes = tf.eye(3)
        >>> print(f"{info_nce(axes[:1], axes[:1], axes[1:], temperature=1.0):.4f}")  # log(1 + 2 / e)
        0.5514

    Source: He et al., "Momentum Contrast for Unsupervised Visual Representation Learning", arXiv 1911.05722, eq. 1.
    """
    check_positive(temperature=temperature)
    queries, keys, queue = as_floats(queries=queries, keys=keys, queue=queue)
    check_matched(queries=queries, keys=keys)
    check_width("queue", queue, queries)
    queries = l2_normalize(queries) / temperature
    positive = tf.reduce_sum(queries * tf.stop_gradient(l2_normalize(keys)), axis=1)
    negatives = row_softmax(queries, l2_normalize(queue), key_gradient=False)
    loss = tf.reduce_mean(against(positive, negatives))
    return (loss, contrast_metrics(positive, negatives)) if with_metrics else loss


def symmetric_info_nce(
    q1: tf.Tensor, q2: tf.Tensor, k1: tf.Tensor, k2: tf.Tensor, *, temperature: float, with_metrics: bool = False
) -> tf.Tensor | tuple[tf.Tensor, dict[str, tf.Tensor]]:
    r"""InfoNCE in both directions, where the keys of the whole batch are the candidates.

    $$ L = 2T \left[ \mathrm{CE}(q_1, k_2) + \mathrm{CE}(q_2, k_1) \right], \quad
       \mathrm{CE}(q, k) = \frac{1}{B} \sum_i -\log
           \frac{\exp(\langle q_i, k_i \rangle / T)}{\sum_j \exp(\langle q_i, k_j \rangle / T)} $$

    A query sees the keys of the other view only, never those of its own. All rows are scaled to unit length. Keys come
    from every replica, without gradient; the loss of a replica is the mean over its own rows.

    Args:
        q1, q2: `[B, D]`, any float dtype, the predictor's outputs for the two views. Computed in float32.
        k1, k2: `[B, D]`, the momentum encoder's outputs for the same two views.
        temperature: T > 0; in MoCo v3 1.0 for ResNet-50, 0.2 for ViT.
        with_metrics: return the metrics too, the mean over both directions.

    Returns:
        The loss, a scalar; with `with_metrics`, (loss, {"contrast_acc", "contrast_entropy"}).

    Raises:
        InputError: for a temperature that is not positive or views of different shapes.

    Examples:
        >>> z = tf.eye(2)
        >>> print(f"{symmetric_info_nce(z, z, z, z, temperature=1.0):.4f}")  # 4 log(1 + 1 / e)
        1.2530

    Source: Chen et al., "An Empirical Study of Training Self-Supervised Vision Transformers", arXiv 2104.02057,
    algorithm 1.
    """
    q1, q2, k1, k2 = matched_rows(q1=q1, q2=q2, k1=k1, k2=k2)
    return info_nce_views([q1, q2], [k1, k2], temperature=temperature, with_metrics=with_metrics)


def info_nce_views(
    queries: Sequence[tf.Tensor], keys: Sequence[tf.Tensor], *, temperature: float, with_metrics: bool = False
) -> tf.Tensor | tuple[tf.Tensor, dict[str, tf.Tensor]]:
    r"""`symmetric_info_nce` of V views, of which the first K have keys: the mean over pairs of a view and another's keys.

    $$ L = \frac{4T}{|P|} \sum_{(a, b) \in P} \mathrm{CE}(q_a, k_b), \quad P = \{(a, b): a \ne b \le K\} $$

    Args:
        queries: V >= 2 tensors `[B, D]`, any float dtype, the predictor's outputs. Computed in float32.
        keys: K <= V tensors `[B, D]`, the momentum encoder's outputs for the first K views.
        temperature: T > 0.
        with_metrics: return the metrics too, the mean over the pairs.

    Returns:
        The loss, a scalar; with `with_metrics`, (loss, {"contrast_acc", "contrast_entropy"}).

    Raises:
        InputError: for a temperature that is not positive, views of different shapes, or a view alone.

    Examples:
        >>> z = tf.eye(2)
        >>> print(f"{info_nce_views([z, z, z], [z, z], temperature=1.0):.4f}")  # 4 log(1 + 1 / e)
        1.2530

    Source: Chen et al., arXiv 2104.02057, for two views; the pairs are those of SwAV, arXiv 2006.09882.
    """
    check_positive(temperature=temperature)
    pairs = target_pairs(len(queries), len(keys))
    named = {f"queries[{i}]": q for i, q in enumerate(queries)} | {f"keys[{i}]": k for i, k in enumerate(keys)}
    rows = [l2_normalize(one) for one in matched_rows(**named)]
    seekers, targets = rows[: len(queries)], tf.stop_gradient(tf.stack(rows[len(queries) :]))
    batch = row_count(rows[0])
    candidates = distribute.all_gather(tf.transpose(targets, [1, 0, 2]))  # one gather for all views
    own = distribute.replica_id() * batch + tf.range(batch)

    losses, metrics = [], []
    for b in range(len(keys)):
        others = [a for a, target in pairs if target == b]
        seeking = tf.concat([seekers[a] for a in others], axis=0) / temperature
        positive = tf.reduce_sum(seeking * tf.tile(targets[b], [len(others), 1]), axis=1)
        places = tf.tile(own, [len(others)])
        negatives = row_softmax(seeking, candidates[:, b], places, key_gradient=False)
        losses.append(tf.reduce_mean(against(positive, negatives)))
        metrics.append(contrast_metrics(positive, negatives) if with_metrics else {})
    loss = 4 * temperature / len(losses) * tf.add_n(losses)
    mean = {name: tf.add_n([one[name] for one in metrics]) / len(metrics) for name in metrics[0]}
    return (loss, mean) if with_metrics else loss
