"""DeepCluster v2: every view predicts the cluster that its image was in an epoch ago."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import tensorflow as tf

from tfcontrastive import distribute, losses
from tfcontrastive.config import InputError
from tfcontrastive.encoders import MLP
from tfcontrastive.methods.base import ContrastiveModel
from tfcontrastive.methods.configs.deepcluster_v2 import DeepClusterV2Config
from tfcontrastive.methods.k_means import first_rows, k_means, one_by_one
from tfcontrastive.methods.memory_bank import check_bank_size
from tfcontrastive.methods.queue import unit_rows
from tfcontrastive.methods.step_output import StepOutput
from tfcontrastive.methods.view_metrics import VIEW_METRICS, mean_metrics, view_metrics
from tfcontrastive.methods.view_pairs import large_views, target_pairs

UNSEEN = -100  # the assignment of an image that was in no batch since the clustering before


class DeepClusterV2(ContrastiveModel):
    """DeepCluster v2, the clustering counterpart of SwAV.

    With z = head(encoder(view)) scaled to length 1 and, for each of H clusterings, K centroids c of length 1 and the cluster
    a_i of image i in it:

        loss = mean over clusterings, views and images of -log softmax_k(z . c / T) at k = a_i

    Every `clustering_steps`, the embeddings of the large views since then, a bank of each, are clustered by spherical
    k-means, from seeds of the run's; clustering h takes bank h modulo their number. Images without an embedding since then
    are left out until the next. The data must bring each image's `index`.

    Source: Caron et al., arXiv 2006.09882, section 4 and appendix, and its public code. Differs: the authors fill their
    banks by a pass over all images before they train; here those first steps learn as SwAV does, by Sinkhorn's assignments
    to directions that stay as they are. The hidden layer has no bias beside its batch norm.
    """

    Config = DeepClusterV2Config
    metric_names = ("assignment_acc", *VIEW_METRICS)
    least_views = 2
    takes_small_views = True
    least_images = 2
    batch_keys = ("index",)

    def build_parts(self) -> None:
        config, dtype = self.config, self.head_options["dtype"]
        check_sizes(config)
        widths = (config.hidden_dim, config.proj_out_dim)
        self.projection_head = self.add_head(MLP(widths, **self.head_options, name="projection_head"))
        self.banks = self.policy.geometries.count(self.policy.geometries[0])
        fixed = {"trainable": False, "autocast": False}
        width, clusterings = config.proj_out_dim, config.num_clusterings
        self.bank = self.add_weight(
            name="bank", shape=(config.bank_size, self.banks * width), initializer=unit_rows, dtype=dtype, **fixed
        )
        self.seen = self.add_weight(name="seen", shape=(config.bank_size,), initializer="zeros", dtype=dtype, **fixed)
        self.centroids = self.add_weight(
            name="centroids",
            shape=(clusterings * config.num_prototypes, width),
            initializer=unit_rows,
            dtype=dtype,
            **fixed,
        )
        self.assignments = self.add_weight(
            name="assignments",
            shape=(clusterings, config.bank_size),
            initializer=keras.initializers.Constant(UNSEEN),
            dtype="int64",
            **fixed,
        )

    def views_loss(self, views: Sequence[tf.Tensor], training: bool, index: tf.Tensor) -> StepOutput:
        config, large = self.config, large_views(views)
        if large < self.banks:
            raise InputError(
                f"DeepClusterV2 has a bank of each large view of its policy, {self.banks}. Received: {large} large views."
            )
        features = self.encode_views(self.encoder, views, training)
        embeddings = tf.math.l2_normalize(self.projection_head(features, training=training), axis=1)
        scores = tf.matmul(embeddings, tf.convert_to_tensor(self.centroids), transpose_b=True)
        assignments = tf.unstack(tf.gather(tf.convert_to_tensor(self.assignments), index, axis=1))
        found = []
        for of_one, assigned in zip(tf.split(scores, config.num_clusterings, axis=1), assignments, strict=True):
            first, clustered = self._of_sinkhorn(of_one, len(views), large), self._of_clusters(of_one, assigned)
            early = self.optimizer.iterations < config.clustering_steps
            found.append(tf.nest.map_structure(lambda one, two: tf.where(early, one, two), first, clustered))  # noqa: B023
        z = tf.split(embeddings, len(views))
        if training:
            self._remember(index, tf.concat(z[: self.banks], axis=1))
        loss, metrics = mean_metrics(found)
        return StepOutput(loss, {**metrics, **view_metrics(z[0], z[1])}, self.large_rows(features, views))

    def _of_sinkhorn(self, scores: tf.Tensor, views: int, large: int) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """SwAV's loss of one clustering's scores `[V * B, K]`."""
        parts = tf.split(scores, views)
        assigned = [losses.sinkhorn(one, epsilon=self.config.epsilon, iterations=3) for one in parts[:large]]
        temperature = self.config.temperature
        loss, metrics = mean_metrics(
            [
                losses.swav(parts[a], assigned[b], temperature=temperature, with_metrics=True)
                for a, b in target_pairs(views, large)
            ]
        )
        return loss, {"assignment_acc": metrics["assignment_acc"]}

    def _of_clusters(self, scores: tf.Tensor, assigned: tf.Tensor) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """The cross entropy of one clustering's scores `[V * B, K]` with the clusters `[B]`: of all images that have one."""
        labels = tf.tile(assigned, [tf.shape(scores)[0] // tf.shape(assigned)[0]])
        weights = distribute.row_weights(labels >= 0, scores.dtype)
        entropy = tf.nn.sparse_softmax_cross_entropy_with_logits(
            labels=tf.maximum(labels, 0), logits=scores / self.config.temperature
        )
        right = tf.cast(tf.argmax(scores, axis=1) == labels, scores.dtype)
        return tf.reduce_sum(weights * entropy), {"assignment_acc": tf.reduce_sum(weights * right)}

    def _remember(self, index: tf.Tensor, embeddings: tf.Tensor) -> None:
        places, rows = distribute.all_gather(index), distribute.all_gather(tf.stop_gradient(embeddings))
        distribute.scatter_all(self.bank.value, places, rows)
        distribute.scatter_all(self.seen.value, places, tf.ones_like(rows[:, 0]))

    def on_weights_updated(self) -> None:
        def cluster(_) -> None:
            centroids, assignments = self._clustered()
            variables = [self.centroids.value, self.assignments.value, self.seen.value]
            distribute.assign_all(variables, [centroids, assignments, tf.zeros_like(self.seen)])

        done = tf.cast(self.optimizer.iterations, tf.int64)
        distribute.apply_if((done > 0) & (done % self.config.clustering_steps == 0), cluster, [])

    def _clustered(self) -> tuple[tf.Tensor, tf.Tensor]:
        """The centroids `[H * K, D]` and assignments `[H, n]` of this step's banks."""
        config, seen = self.config, tf.convert_to_tensor(self.seen)
        banks = tf.stack(tf.split(tf.convert_to_tensor(self.bank), self.banks, axis=1))
        step = tf.cast(self.optimizer.iterations, tf.int64)

        def clustering(number: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            rows = banks[number % self.banks]
            seed = tf.stack([tf.constant(self.seed, tf.int64), step * config.num_clusterings + number])
            start = tf.gather(rows, first_rows(config.bank_size, config.num_prototypes, seed, seen))
            return k_means(rows, start, iterations=config.clustering_iterations, spherical=True, present=seen)

        of_one = [config.num_prototypes, config.proj_out_dim]
        signature = tf.TensorSpec(of_one, banks.dtype), tf.TensorSpec([config.bank_size], tf.int64)
        centroids, assignments = one_by_one(clustering, config.num_clusterings, signature)
        unseen = tf.constant(UNSEEN, tf.int64)
        return tf.reshape(centroids, [-1, config.proj_out_dim]), tf.where(seen > 0, assignments, unseen)

    @classmethod
    def check(cls, config: DeepClusterV2Config, *, batch_size: int, replicas: int, num_examples: int | None) -> None:
        check_bank_size(config.bank_size, num_examples)
        check_sizes(config)

    def logits_shape(self, images: int, replicas: int) -> tuple[int, int]:
        return images * len(self.policy.views), self.config.num_clusterings * self.config.num_prototypes

    @property
    def queues(self) -> list[keras.Variable]:
        return [self.bank]


def check_sizes(config: DeepClusterV2Config) -> None:
    """Raises InputError where the bank has fewer entries than clusters are asked for."""
    if config.num_prototypes > config.bank_size:
        raise InputError(
            f"`num_prototypes` must be at most bank_size, {config.bank_size}. "
            f"Received: num_prototypes={config.num_prototypes}."
        )
