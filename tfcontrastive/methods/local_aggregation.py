"""Local aggregation: an image comes closer to those of its clusters than to its other neighbours."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import tensorflow as tf

from tfcontrastive import distribute, losses
from tfcontrastive.config import InputError
from tfcontrastive.encoders import MLP
from tfcontrastive.methods.base import ContrastiveModel
from tfcontrastive.methods.configs.local_aggregation import LocalAggregationConfig
from tfcontrastive.methods.k_means import first_rows, k_means, one_by_one
from tfcontrastive.methods.memory_bank import check_bank_size, remember
from tfcontrastive.methods.queue import unit_rows
from tfcontrastive.methods.step_output import StepOutput
from tfcontrastive.methods.view_metrics import VIEW_METRICS, view_metrics


class LocalAggregation(ContrastiveModel):
    """Local aggregation of embeddings in a memory bank.

    With v the unit embedding of a view of image i, the k entries B of the bank that are closest to v, and C the entries
    that share a cluster with i in one of H clusterings of the bank by k-means:

        loss = -log [P(C and B | v) / P(B | v)],    P(A | v) = sum over j in A of exp(f_j . v / T)

    The bank is clustered anew every `clustering_steps`, from seeds of the run's; the first steps are of instance
    discrimination, -log [exp(f_i . v / T) / P(all | v)]. Then f_i = unit(m f_i + (1 - m) v). The data must bring each
    image's `index`.

    Source: Zhuang, Zhai and Yamins, arXiv 1903.12355. Differs: all views of a batch count, and the memory takes their mean;
    the first steps have the full softmax, the authors' its NCE; k-means starts from random entries and an empty cluster
    keeps its centroid, where theirs is faiss'.
    """

    Config = LocalAggregationConfig
    metric_names = ("close_neighbours", *VIEW_METRICS)
    compares_images = False
    batch_keys = ("index",)

    def build_parts(self) -> None:
        config, dtype = self.config, self.head_options["dtype"]
        check_sizes(config)
        self.projection_head = self.add_head(MLP((config.proj_out_dim,), **self.head_options, name="projection_head"))
        fixed = {"trainable": False, "autocast": False}
        self.bank = self.add_weight(
            name="bank", shape=(config.bank_size, config.proj_out_dim), initializer=unit_rows, dtype=dtype, **fixed
        )
        self.clusters = self.add_weight(
            name="clusters",
            shape=(config.num_clusterings, config.bank_size),
            initializer="zeros",
            dtype="int64",
            **fixed,
        )

    def views_loss(self, views: Sequence[tf.Tensor], training: bool, index: tf.Tensor) -> StepOutput:
        config, bank = self.config, tf.convert_to_tensor(self.bank)
        features = self.encode(self.encoder, tf.concat(views, axis=0), training)
        embeddings = self.projection_head(features, training=training)
        rows = tf.tile(index, [len(views)])
        instance = losses.instance_softmax(embeddings, bank, rows, temperature=config.temperature)
        local, metrics = losses.local_aggregation(
            embeddings,
            bank,
            rows,
            tf.convert_to_tensor(self.clusters),
            temperature=config.temperature,
            num_neighbours=config.num_neighbours,
            with_metrics=True,
        )
        loss = tf.where(self.optimizer.iterations < config.instance_steps, instance, local)
        parts = tf.split(embeddings, len(views))
        if training:
            remember(self.bank, index, tf.add_n(parts) / len(views), config.bank_momentum)
        return StepOutput(loss, {**metrics, **view_metrics(parts[0], parts[-1])}, features)

    def on_weights_updated(self) -> None:
        config, done = self.config, tf.cast(self.optimizer.iterations, tf.int64) - self.config.instance_steps

        def cluster(_) -> None:
            distribute.assign_all([self.clusters.value], [self._clustered(tf.convert_to_tensor(self.bank))])

        distribute.apply_if((done >= 0) & (done % config.clustering_steps == 0), cluster, [])

    def _clustered(self, bank: tf.Tensor) -> tf.Tensor:
        """The cluster of each entry in each clustering, `[H, n]`, of this step."""
        config, step = self.config, tf.cast(self.optimizer.iterations, tf.int64)

        def clustering(number: tf.Tensor) -> tf.Tensor:
            seed = tf.stack([tf.constant(self.seed, tf.int64), step * config.num_clusterings + number])
            start = tf.gather(bank, first_rows(config.bank_size, config.num_clusters, seed))
            return k_means(bank, start, iterations=config.clustering_iterations)[1]

        return one_by_one(clustering, config.num_clusterings, tf.TensorSpec([config.bank_size], tf.int64))

    @classmethod
    def check(cls, config: LocalAggregationConfig, *, batch_size: int, replicas: int, num_examples: int | None) -> None:
        check_bank_size(config.bank_size, num_examples)
        check_sizes(config)

    def logits_shape(self, images: int, replicas: int) -> tuple[int, int]:
        return images * len(self.policy.views), self.config.bank_size

    @property
    def queues(self) -> list[keras.Variable]:
        return [self.bank]


def check_sizes(config: LocalAggregationConfig) -> None:
    """Raises InputError where the bank has fewer entries than neighbours or clusters are asked for."""
    for name in ("num_neighbours", "num_clusters"):
        if getattr(config, name) > config.bank_size:
            raise InputError(
                f"`{name}` must be at most bank_size, {config.bank_size}. Received: {name}={getattr(config, name)}."
            )
