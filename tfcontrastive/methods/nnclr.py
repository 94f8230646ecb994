"""NNCLR: the nearest neighbour of a view, among past images, is what the other view is to predict."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from tfcontrastive import losses
from tfcontrastive.encoders import MLP
from tfcontrastive.methods.base import ContrastiveModel
from tfcontrastive.methods.configs.nnclr import NNCLRConfig
from tfcontrastive.methods.queue import Queue, check_memory_size
from tfcontrastive.methods.step_output import StepOutput
from tfcontrastive.methods.view_metrics import VIEW_METRICS, mean_metrics, view_metrics
from tfcontrastive.methods.view_pairs import large_views, target_pairs


class NNCLR(ContrastiveModel):
    """Nearest-neighbour contrastive learning of representations.

    With z = projector(encoder(view)), p = predictor(z), and nn(z) the closest of the queue's K embeddings:

        loss = 1/2 [CE(nn(z_1) . p_2 / T, own row) + CE(nn(z_2) . p_1 / T, own row)]

    over the predictions of every replica, with gradient. Then the projections of the first view take the place of the
    oldest in the queue.

    Source: Dwibedi et al., arXiv 2104.14548. There is no code of the authors'. Differs: both views share their batch
    statistics; with more than two views the loss is the mean over pairs of a view and another large one, whose neighbour
    it is to predict.
    """

    Config = NNCLRConfig
    metric_names = ("contrast_acc", "contrast_entropy", *VIEW_METRICS)
    least_views = 2
    takes_small_views = True
    least_images = 2

    def build_parts(self) -> None:
        config, out = self.config, self.config.proj_out_dim
        widths = (config.hidden_dim, config.hidden_dim, out)
        self.projection_head = self.add_head(MLP(widths, last_norm="full", **self.head_options, name="projection_head"))
        self.predictor = self.add_head(
            MLP((config.predictor_hidden_dim, out), **self.head_options, name="predictor"), out
        )
        self.queue = Queue(config.queue_size, out, dtype=self.head_options["dtype"])

    def views_loss(self, views: Sequence[tf.Tensor], training: bool) -> StepOutput:
        features = self.encode_views(self.encoder, views, training)
        projections = self.projection_head(features, training=training)
        p = tf.split(self.predictor(projections, training=training), len(views))
        z = tf.split(tf.stop_gradient(tf.math.l2_normalize(projections, axis=1)), len(views))
        large = large_views(views)
        neighbours = [self._neighbours(one) for one in z[:large]]
        found = [
            losses.nnclr(neighbours[b], p[a], temperature=self.config.temperature, with_metrics=True)
            for a, b in target_pairs(len(views), large)
        ]
        if training:
            self.queue.enqueue(z[0])
        loss, metrics = mean_metrics(found)
        return StepOutput(loss, {**metrics, **view_metrics(z[0], z[1])}, self.large_rows(features, views))

    def _neighbours(self, z: tf.Tensor) -> tf.Tensor:
        """Of each row, the closest in the queue."""
        rows = self.queue.keys()
        return tf.gather(rows, tf.argmax(tf.matmul(z, rows, transpose_b=True), axis=1))

    @classmethod
    def check(cls, config: NNCLRConfig, *, batch_size: int, replicas: int, num_examples: int | None) -> None:
        check_memory_size("queue_size", config.queue_size, batch_size)

    def logits_shape(self, images: int, replicas: int) -> tuple[int, int]:
        return images, max(self.config.queue_size, images * replicas)
