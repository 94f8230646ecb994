"""SwAV: every view predicts which prototype another view of its image was assigned to."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from tfcontrastive import distribute, losses
from tfcontrastive.encoders import MLP
from tfcontrastive.methods.base import ContrastiveModel
from tfcontrastive.methods.configs.swav import SwAVConfig
from tfcontrastive.methods.queue import Queue, check_memory_size, unit_rows
from tfcontrastive.methods.step_output import StepOutput
from tfcontrastive.methods.view_metrics import VIEW_METRICS, mean_metrics, view_metrics
from tfcontrastive.methods.view_pairs import large_views, target_pairs


class SwAV(ContrastiveModel):
    """Swapping assignments between views.

    With z = head(encoder(view)) scaled to length 1, K prototypes c of length 1, and the assignments q that Sinkhorn's
    algorithm makes of a large view's scores, over the images of all replicas and with equal shares for all prototypes:

        loss = mean over (large view l, other view v) of -sum_k q_k(z_l) log softmax_k(z_v . c / T)

    After each step the prototypes are scaled back to length 1, without gradient. A queue adds the embeddings of past
    batches to those that are assigned, where a batch has fewer images than there are prototypes.

    Source: Caron et al., arXiv 2006.09882. Differs: Sinkhorn is computed in logarithms, which gives the same numbers
    and cannot overflow; prototypes are scaled after the step, not before the next; the queue takes in embeddings from the
    first step and is the same on every replica, which assigns its share of it; the hidden layer has no bias beside its
    batch norm.
    """

    Config = SwAVConfig
    metric_names = ("assignment_acc", "assignment_entropy", *VIEW_METRICS)
    least_views = 2
    takes_small_views = True
    least_images = 2

    def build_parts(self) -> None:
        config, dtype = self.config, self.head_options["dtype"]
        widths = (config.hidden_dim, config.proj_out_dim)
        self.projection_head = self.add_head(MLP(widths, **self.head_options, name="projection_head"))
        self.prototypes = self.add_weight(
            name="prototypes",
            shape=(config.num_prototypes, config.proj_out_dim),
            initializer=unit_rows,
            autocast=False,
            dtype=dtype,
        )
        if config.queue_size:
            large = self.policy.geometries.count(self.policy.geometries[0])
            self.queue = Queue(config.queue_size, large * config.proj_out_dim, dtype=dtype)

    def views_loss(self, views: Sequence[tf.Tensor], training: bool) -> StepOutput:
        config, large = self.config, large_views(views)
        features = self.encode_views(self.encoder, views, training)
        embeddings = tf.math.l2_normalize(self.projection_head(features, training=training), axis=1)
        prototypes = tf.convert_to_tensor(self.prototypes)
        still = self.optimizer.iterations < config.freeze_prototypes_steps
        prototypes = tf.where(still, tf.stop_gradient(prototypes), prototypes)
        z, scores = (tf.split(x, len(views)) for x in (embeddings, tf.matmul(embeddings, prototypes, transpose_b=True)))
        assignments = self._assignments(scores[:large], prototypes)
        found = [
            losses.swav(scores[a], assignments[b], temperature=config.temperature, with_metrics=True)
            for a, b in target_pairs(len(views), large)
        ]
        if config.queue_size and training:
            self.queue.enqueue(tf.concat(z[:large], axis=1))
        loss, metrics = mean_metrics(found)
        return StepOutput(loss, {**metrics, **view_metrics(z[0], z[1])}, self.large_rows(features, views))

    def _assignments(self, scores: Sequence[tf.Tensor], prototypes: tf.Tensor) -> list[tf.Tensor]:
        """Of each large view `[B, K]`, with the queue's embeddings of that view once it is in use."""
        config = self.config
        options = {"epsilon": config.epsilon, "iterations": config.sinkhorn_iterations}
        alone = [losses.sinkhorn(one, **options) for one in scores]
        if not config.queue_size:
            return alone
        rows, replicas = tf.shape(scores[0])[0], distribute.replica_count()
        share = config.queue_size // replicas
        past = self.queue.keys()[distribute.replica_id() * share :][:share]
        past = tf.reshape(past, [share, len(scores), -1])
        full = -(-config.queue_size // (rows * replicas))
        used = self.optimizer.iterations >= tf.cast(tf.maximum(full, config.queue_start_step), tf.int64)
        found = []
        for view, (own, without) in enumerate(zip(scores, alone, strict=True)):
            every = tf.concat([tf.matmul(past[:, view], prototypes, transpose_b=True), own], axis=0)
            found.append(tf.where(used, losses.sinkhorn(every, **options)[share:], without))
        return found

    def on_weights_updated(self) -> None:
        unit = tf.math.l2_normalize(tf.convert_to_tensor(self.prototypes), axis=1)
        distribute.assign_all([self.prototypes.value], [unit])

    @classmethod
    def check(cls, config: SwAVConfig, *, batch_size: int, replicas: int, num_examples: int | None) -> None:
        check_memory_size("queue_size", config.queue_size, batch_size)

    def logits_shape(self, images: int, replicas: int) -> tuple[int, int]:
        past = self.config.queue_size // replicas
        return images * len(self.policy.views) + past, self.config.num_prototypes
