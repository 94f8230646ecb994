"""Instance discrimination: every image is a class of its own, with a memory of its last embedding."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import tensorflow as tf

from tfcontrastive import losses
from tfcontrastive.encoders import MLP
from tfcontrastive.methods.base import ContrastiveModel
from tfcontrastive.methods.configs.instdisc import InstDiscConfig
from tfcontrastive.methods.memory_bank import check_bank_size, draw, keep_first, remember
from tfcontrastive.methods.queue import unit_rows
from tfcontrastive.methods.step_output import StepOutput
from tfcontrastive.methods.view_metrics import VIEW_METRICS, view_metrics


class InstDisc(ContrastiveModel):
    """Non-parametric instance discrimination.

    With v the unit embedding of a view of image i, and f_j the memory of image j:

        P(i | v) = exp(f_i . v / T) / sum_j exp(f_j . v / T),    loss = -log P(i | v), or its NCE with m noise images

    Then f_i = unit(m f_i + (1 - m) v). The data must bring each image's `index`.

    Source: Wu et al., arXiv 1805.01978. Differs: both views of a batch count, and the memory takes their mean; NCE's
    constant is estimated on the first batch and kept, as in the paper; proximal regularization is left out.
    """

    Config = InstDiscConfig
    metric_names = VIEW_METRICS
    compares_images = False
    batch_keys = ("index",)

    def build_parts(self) -> None:
        config = self.config
        self.projection_head = self.add_head(MLP((config.proj_out_dim,), **self.head_options, name="projection_head"))
        self.bank = self.add_weight(
            name="bank",
            shape=(config.bank_size, config.proj_out_dim),
            initializer=unit_rows,
            trainable=False,
            autocast=False,
            dtype=self.head_options["dtype"],
        )
        self.log_normalizer = self.add_weight(
            name="log_normalizer",
            shape=(),
            initializer="zeros",
            trainable=False,
            autocast=False,
            dtype=self.head_options["dtype"],
        )

    def views_loss(self, views: Sequence[tf.Tensor], training: bool, index: tf.Tensor) -> StepOutput:
        features = self.encode(self.encoder, tf.concat(views, axis=0), training)
        embeddings = self.projection_head(features, training=training)
        rows, bank = tf.tile(index, [len(views)]), tf.convert_to_tensor(self.bank)
        if self.config.num_negatives:
            loss = self._nce(embeddings, bank, rows, index, training)
        else:
            loss = losses.instance_softmax(embeddings, bank, rows, temperature=self.config.temperature)
        parts = tf.split(embeddings, len(views))
        if training:
            remember(self.bank, index, tf.add_n(parts) / len(views), self.config.bank_momentum)
        return StepOutput(loss, view_metrics(parts[0], parts[-1]), features)

    def _nce(
        self, embeddings: tf.Tensor, bank: tf.Tensor, rows: tf.Tensor, index: tf.Tensor, training: bool
    ) -> tf.Tensor:
        config, images, step = self.config, tf.shape(index)[0], self.optimizer.iterations
        views = tf.shape(rows)[0] // images
        noise = draw(config.bank_size, config.num_negatives, images=images, views=views, seed=self.seed, step=step)
        estimate = losses.instance_log_normalizer(embeddings, bank, noise, temperature=config.temperature)
        kept = keep_first(self.log_normalizer, estimate, first=step == 0, training=training)
        return losses.instance_nce(embeddings, bank, rows, noise, temperature=config.temperature, log_normalizer=kept)

    @classmethod
    def check(cls, config: InstDiscConfig, *, batch_size: int, replicas: int, num_examples: int | None) -> None:
        check_bank_size(config.bank_size, num_examples)

    def logits_shape(self, images: int, replicas: int) -> tuple[int, int]:
        return images * len(self.policy.views), self.config.num_negatives or self.config.bank_size

    @property
    def queues(self) -> list[keras.Variable]:
        return [self.bank]
