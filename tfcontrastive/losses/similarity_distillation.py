"""Distillation of features: a student is like its teacher in what it finds alike."""

from __future__ import annotations

import tensorflow as tf

from tfcontrastive.losses.common import (
    as_floats,
    check_matched,
    check_positive,
    check_width,
    l2_normalize,
)


def similarity_distillation(
    student: tf.Tensor,
    teacher: tf.Tensor,
    queue: tf.Tensor,
    *,
    temperature: float,
    teacher_temperature: float,
    with_metrics: bool = False,
) -> tf.Tensor | tuple[tf.Tensor, dict[str, tf.Tensor]]:
    r"""The cross entropy of whom the student finds an image alike, under whom its teacher does.

    $$ L = -\frac{1}{B} \sum_i \sum_{j=0}^{K} p_{ij} \log q_{ij}, \quad
       p_i = \mathrm{softmax}_j \frac{\langle t_i, u_{ij} \rangle}{T_t}, \quad
       q_i = \mathrm{softmax}_j \frac{\langle s_i, u_{ij} \rangle}{T} $$

    with $u_{i0} = t_i$, the teacher's own embedding of the image, and $u_{i1}, \ldots, u_{iK}$ the queue's. All rows are
    scaled to unit length. No gradient flows to the teacher or the queue. The rest of the batch is not compared with, so
    replicas need no gather: each takes the mean over its own rows.

    Args:
        student: `[B, D]`, any float dtype, the student's embeddings in the teacher's space. Computed in float32.
        teacher: `[B, D]`, the teacher's embeddings of the same views.
        queue: `[K, D]`, the teacher's embeddings of other images.
        temperature: T > 0 of the student; 0.2 in SEED.
        teacher_temperature: T_t > 0; 0.01 in SEED.
        with_metrics: return the metrics too, from the same similarities.

    Returns:
        The loss, a scalar; with `with_metrics`, (loss, {"target_entropy"}), the mean entropy of p in nats, which the loss
        is never below.

    Raises:
        InputError: for a temperature that is not positive or shapes that do not fit.

    Examples:
        >>> axes, same = tf.eye(3), {"temperature": 1.0, "teacher_temperature": 1.0}
        >>> loss, metrics = similarity_distillation(axes[:1], axes[:1], axes[1:], **same, with_metrics=True)
        >>> print(f"{loss:.4f} {metrics['target_entropy']:.4f}")  # log(e + 2) - e / (e + 2)
        0.9753 0.9753

    Source: Fang et al., "SEED: Self-supervised Distillation For Visual Representation", arXiv 2101.04731, equations 3 to
    5. ReSSL, arXiv 2107.09282, compares with the queue alone.
    """
    check_positive(temperature=temperature, teacher_temperature=teacher_temperature)
    student, teacher, queue = as_floats(student=student, teacher=teacher, queue=queue)
    check_matched(student=student, teacher=teacher)
    check_width("queue", queue, teacher)
    own = tf.stop_gradient(l2_normalize(teacher))
    others = tf.stop_gradient(l2_normalize(queue))

    def similarities(rows):
        with_own = tf.reduce_sum(rows * own, axis=1, keepdims=True)
        return tf.concat([with_own, tf.matmul(rows, others, transpose_b=True)], axis=1)

    target = tf.nn.log_softmax(similarities(own) / teacher_temperature)
    found = tf.nn.log_softmax(similarities(l2_normalize(student)) / temperature)
    weights = tf.exp(target)
    loss = -tf.reduce_mean(tf.reduce_sum(weights * found, axis=1))
    if not with_metrics:
        return loss
    return loss, {"target_entropy": -tf.reduce_mean(tf.reduce_sum(weights * target, axis=1))}
