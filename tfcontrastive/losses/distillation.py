"""Knowledge distillation, the third step of SimCLRv2."""

from __future__ import annotations

import tensorflow as tf

from tfcontrastive.losses.common import check_positive, matched_rows


def distillation(student_logits: tf.Tensor, teacher_logits: tf.Tensor, *, temperature: float) -> tf.Tensor:
    r"""The cross entropy of the student's distribution under the teacher's, both softened.

    $$ L = -\frac{1}{B} \sum_b \sum_y P^T(y|x_b; \tau) \log P^S(y|x_b; \tau), \quad
       P(y|x; \tau) = \mathrm{softmax}(\mathrm{logits} / \tau)_y $$

    No gradient flows to the teacher, and there is no factor of tau^2. With labels, mix it with their cross entropy as
    `(1 - alpha) * CE + alpha * L`.

    Args:
        student_logits: `[B, C]`, any float dtype. Computed in float32.
        teacher_logits: `[B, C]`, from the teacher in inference mode.
        temperature: tau > 0; 0.1 for self-distillation and 1.0 for a big teacher and a small student in the paper.

    Returns:
        A scalar, the mean over this replica's rows. It is at least the teacher's entropy, not 0.

    Raises:
        InputError: for a temperature that is not positive or shapes that differ.

    Examples:
        >>> print(f"{distillation(tf.zeros([1, 4]), tf.ones([1, 4]), temperature=1.0):.4f}")  # log 4
        1.3863

    Source: Chen et al., "Big Self-Supervised Models are Strong Semi-Supervised Learners", arXiv 2006.10029, equation 2.
    """
    check_positive(temperature=temperature)
    student, teacher = matched_rows(student_logits=student_logits, teacher_logits=teacher_logits)
    target = tf.stop_gradient(tf.nn.softmax(teacher / temperature))
    return -tf.reduce_mean(tf.reduce_sum(target * tf.nn.log_softmax(student / temperature), axis=1))
