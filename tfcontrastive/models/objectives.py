"""What a classifier is trained for, on labels."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import tensorflow as tf

from tfcontrastive import distribute


@dataclasses.dataclass(frozen=True)
class CrossEntropy:
    r"""Cross entropy with labels of which a share $\epsilon$ is spread over all C classes.

    $$ L = -\frac{1}{B} \sum_b \sum_c \left( (1 - \epsilon) [c = y_b] + \epsilon / C \right) \log P(c|x_b) $$

    Rows without a label (-1) do not count.

    Args:
        label_smoothing: epsilon, in [0, 1).
    """

    label_smoothing: float = 0.0
    names: ClassVar[tuple[str, ...]] = ("accuracy",)

    def __call__(
        self, images: tf.Tensor, logits: tf.Tensor, batch: dict[str, tf.Tensor]
    ) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        labels = batch["label"]
        weight = distribute.row_weights(labels >= 0)
        log_p = tf.nn.log_softmax(tf.cast(logits, tf.float32))
        own = tf.gather(log_p, tf.maximum(labels, 0), batch_dims=1)
        spread = tf.reduce_mean(log_p, axis=1)
        entropy = -(1.0 - self.label_smoothing) * own - self.label_smoothing * spread
        right = tf.cast(tf.argmax(logits, axis=1, output_type=labels.dtype) == labels, tf.float32)
        return tf.reduce_sum(weight * entropy), {"accuracy": tf.reduce_sum(weight * right)}
