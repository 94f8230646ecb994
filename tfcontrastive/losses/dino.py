"""The loss of DINO: the teacher's centred and sharpened softmax, predicted by the student."""

from __future__ import annotations

import tensorflow as tf

from tfcontrastive.config import InputError
from tfcontrastive.losses.common import as_floats, check_matched, check_positive, scalar


def dino(
    student: tf.Tensor,
    teacher: tf.Tensor,
    center: tf.Tensor,
    *,
    student_temperature: float,
    teacher_temperature: float | tf.Tensor,
    with_metrics: bool = False,
) -> tf.Tensor | tuple[tf.Tensor, dict[str, tf.Tensor]]:
    r"""The cross entropy of the student's softmax with the teacher's, of another view of the same images.

    $$ L = -\frac{1}{B} \sum_b \sum_k
           \mathrm{softmax}_k\!\left( \frac{t_{bk} - c_k}{T_t} \right) \log \mathrm{softmax}_k(s_{bk} / T_s) $$

    The centre keeps one output from winning for all images, the teacher's lower temperature keeps the softmax from
    becoming uniform. This is one pair of views; DINO's loss is the mean over the pairs of a teacher's crop and another
    crop of the student. A replica takes the mean over its own rows.

    Args:
        student: `[B, K]`, any float dtype, outputs of the student's head. Computed in float32.
        teacher: `[B, K]`, outputs of the teacher's head for the other view. No gradient.
        center: `[K]`, a moving mean of the teacher's outputs over all replicas. No gradient.
        student_temperature: T_s > 0; 0.1 in the paper.
        teacher_temperature: T_t > 0; 0.04 to 0.07 in the paper.
        with_metrics: return the metrics too.

    Returns:
        A scalar >= 0; with `with_metrics`, (loss, {"teacher_entropy"}): the mean entropy of the teacher's softmax in nats,
        which stays at log K, or falls to 0 for good, in a collapse.

    Raises:
        InputError: for a temperature that is not positive or shapes that do not fit.

    Examples:
        >>> loss = dino(tf.eye(2), tf.eye(2), tf.zeros([2]), student_temperature=1.0, teacher_temperature=0.01)
        >>> print(f"{loss:.4f}")  # the teacher is sure: log(1 + 1 / e)
        0.3133

    Source: Caron et al., "Emerging Properties in Self-Supervised Vision Transformers", arXiv 2104.14294, algorithm 1.
    """
    check_positive(student_temperature=student_temperature, teacher_temperature=teacher_temperature)
    student, teacher, center = as_floats(student=student, teacher=teacher, center=center)
    check_matched(student=student, teacher=teacher)
    if not center.shape.is_compatible_with(student.shape[1:]):
        raise InputError(
            f"`center` must have the shape ({student.shape[1]},). Received: center.shape={tuple(center.shape)}."
        )
    log_q = tf.nn.log_softmax(tf.stop_gradient(teacher - center) / scalar(teacher_temperature, student))
    q, log_p = tf.stop_gradient(tf.exp(log_q)), tf.nn.log_softmax(student / student_temperature)
    loss = -tf.reduce_mean(tf.reduce_sum(q * log_p, axis=1))
    entropy = -tf.reduce_mean(tf.reduce_sum(q * tf.stop_gradient(log_q), axis=1))
    return (loss, {"teacher_entropy": entropy}) if with_metrics else loss
