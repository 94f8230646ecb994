"""The loss of ReLIC: contrast, and invariance of its softmax to the augmentation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import tensorflow as tf

from tfcontrastive import distribute
from tfcontrastive.config import InputError, unknown
from tfcontrastive.losses.common import check_positive, l2_normalize, matched_rows, row_count
from tfcontrastive.losses.view_pairs import target_pairs


def relic(
    z1: tf.Tensor,
    z2: tf.Tensor,
    targets1: tf.Tensor,
    targets2: tf.Tensor,
    *,
    temperature: float,
    alpha: float,
    stop_gradient: bool = True,
    direction: Literal["forward", "reverse"] = "forward",
    with_metrics: bool = False,
) -> tf.Tensor | tuple[tf.Tensor, dict[str, tf.Tensor]]:
    r"""The cross entropy between two views and alpha times the divergence of their softmax distributions.

    $$ L = \frac{1}{2B} \sum_{(l,k)} \sum_i \left[ -\log p^{lk}_{ii}
           + \alpha \, \mathrm{KL}(\mathrm{sg}[p^{kl}_i] \,\|\, p^{lk}_i) \right], \quad
       p^{lk}_i = \mathrm{softmax}_j(\langle z^l_i, t^k_j \rangle / T) $$

    over the ordered pairs of views (1, 2) and (2, 1). Negatives are the other images' targets in the other view only.

    The paper gives neither normalisation nor the treatment of the divergence's gradient. Scaling the rows to unit
    length, the mean over both pairs, the stopped gradient of the first distribution and the direction are this
    project's choices; the last two are options.

    Under a strategy the targets come from every replica, with gradient; the loss of a replica is the mean over its own
    rows.

    Args:
        z1, z2: `[B, D]`, any float dtype, the critic's outputs for the two views. Computed in float32.
        targets1, targets2: `[B, D]`, the target network's outputs for the same views, or `z1`, `z2` again without one.
        temperature: T > 0.
        alpha: the weight of the invariance penalty, >= 0.
        stop_gradient: False lets the gradient flow through both distributions of the divergence.
        direction: "forward" is KL(sg[p_kl] || p_lk), "reverse" is KL(p_lk || sg[p_kl]).
        with_metrics: return the metrics too, from the same logits.

    Returns:
        The loss, a scalar; with `with_metrics`, (loss, {"contrast_acc", "contrast_entropy", "invariance"}), where
        "invariance" is the mean divergence without alpha.

    Raises:
        InputError: for a temperature that is not positive, a negative alpha, an unknown direction, or unequal shapes.

    Examples:
        >>> z = tf.eye(2)
        >>> print(f"{relic(z, z, z, z, temperature=1.0, alpha=1.0):.4f}")  # log(1 + 1 / e), equal views
        0.3133

    Source: Mitrovic et al., "Representation Learning via Invariant Causal Mechanisms", arXiv 2010.07922, equation 5.
    """
    views = matched_rows(z1=z1, z2=z2, targets1=targets1, targets2=targets2)
    return relic_views(
        views[:2],
        views[2:],
        temperature=temperature,
        alpha=alpha,
        stop_gradient=stop_gradient,
        direction=direction,
        with_metrics=with_metrics,
    )


def relic_views(
    z: Sequence[tf.Tensor],
    targets: Sequence[tf.Tensor],
    *,
    temperature: float,
    alpha: float,
    stop_gradient: bool = True,
    direction: Literal["forward", "reverse"] = "forward",
    own_pairs: bool = False,
    with_metrics: bool = False,
) -> tf.Tensor | tuple[tf.Tensor, dict[str, tf.Tensor]]:
    r"""`relic` of V views, of which the first K have targets.

    $$ L = \frac{1}{|P|} \sum_{(l,k) \in P} \mathrm{CE}(p^{lk}) + \frac{\alpha}{|Q|} \sum_{(l,k) \in Q}
           \mathrm{KL}(\mathrm{sg}[p^{kl}] \,\|\, p^{lk}), \quad
       P = \{(l, k): l \ne k \le K\}, \quad Q = \{(l, k) \in P: l \le K\} $$

    both terms means over the rows. The divergence is over the pairs whose views both have targets: of a view that has
    none there is no p^{kl}.

    Args:
        z: V >= 2 tensors `[B, D]`, any float dtype, the critic's outputs. Computed in float32.
        targets: K tensors `[B, D]`, 2 <= K <= V, the target network's outputs for the first K views, or those of `z`.
        temperature, alpha, stop_gradient, direction, with_metrics: as of `relic`.
        own_pairs: P also has the pairs (k, k) of a view with its own target, as ReLICv2, for targets of another network.

    Returns:
        As `relic`, the metrics' means over the pairs.

    Raises:
        InputError: as `relic`; fewer than two targets.

    Examples:
        >>> z = tf.eye(2)
        >>> print(f"{relic_views([z, z, z], [z, z], temperature=1.0, alpha=1.0):.4f}")  # log(1 + 1 / e), equal views
        0.3133

    Source: Mitrovic et al., arXiv 2010.07922, for two views; the pairs of small and large views are those of ReLICv2,
    Tomasev et al., arXiv 2201.05119, which has `own_pairs` too.
    """
    check_positive(temperature=temperature)
    if not isinstance(alpha, tf.Tensor) and not alpha >= 0:
        raise InputError(f"`alpha` must be >= 0. Received: alpha={alpha!r}.")
    if direction not in _DIVERGENCES:
        raise InputError(f"`direction` {unknown(direction, _DIVERGENCES)}")
    if len(targets) < 2:
        raise InputError(f"`targets` must be of 2 views or more. Received: {len(targets)}.")
    pairs = target_pairs(len(z), len(targets))
    both = [(b, a) for a, b in pairs if a < len(targets)]  # the first pairs the other way round
    pairs += [(a, a) for a in range(len(targets))] if own_pairs else []
    named = {f"z[{i}]": one for i, one in enumerate(z)} | {f"targets[{i}]": one for i, one in enumerate(targets)}
    rows = [l2_normalize(one) for one in matched_rows(**named)]
    critic, batch = rows[: len(z)], row_count(rows[0])
    keys = distribute.all_gather(tf.stack(rows[len(z) :], axis=1))  # one gather for all views
    logits = {(a, b): tf.matmul(critic[a] / temperature, keys[:, b], transpose_b=True) for a, b in pairs}

    own = distribute.replica_id() * batch + tf.range(batch)
    labels = tf.tile(own, [len(pairs)])
    log_p = tf.nn.log_softmax(tf.concat([logits[pair] for pair in pairs], axis=0))
    log_q = tf.nn.log_softmax(tf.concat([logits[pair] for pair in both], axis=0))
    if stop_gradient:
        log_q = tf.stop_gradient(log_q)
    contrast = -tf.reduce_mean(tf.gather(log_p, labels, batch_dims=1))
    invariance = tf.reduce_mean(_DIVERGENCES[direction](log_q, log_p[: batch * len(both)]))
    loss = contrast + alpha * invariance
    return (loss, {**_metrics(log_p, labels), "invariance": invariance}) if with_metrics else loss


def _divergence(log_a, log_b):
    return tf.reduce_sum(tf.exp(log_a) * (log_a - log_b), axis=1)


_DIVERGENCES = {"forward": _divergence, "reverse": lambda log_q, log_p: _divergence(log_p, log_q)}


def _metrics(log_p, labels):
    right = tf.argmax(log_p, axis=1, output_type=labels.dtype) == labels
    return {
        "contrast_acc": tf.reduce_mean(tf.cast(right, log_p.dtype)),
        "contrast_entropy": -tf.reduce_mean(tf.reduce_sum(tf.exp(log_p) * log_p, axis=1)),
    }
