"""MoCo v1 and v2: a queue of past keys, made by a momentum encoder, as negatives."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import keras
import tensorflow as tf

from tfcontrastive import augment, distribute, losses
from tfcontrastive.augment.tiles import tile_side
from tfcontrastive.config import AugmentConfig, InputError
from tfcontrastive.encoders import MLP
from tfcontrastive.methods.base import ContrastiveModel
from tfcontrastive.methods.configs.moco import MoCoConfig
from tfcontrastive.methods.queue import Queue, check_memory_size
from tfcontrastive.methods.step_output import StepOutput
from tfcontrastive.methods.tiles import TILES, add_tile_heads, cut_geometry, embed_tiles, puzzle_seeds
from tfcontrastive.methods.view_metrics import VIEW_METRICS, view_metrics


class MoCo(ContrastiveModel):
    """Momentum contrast.

    A query q of view 1 against its key k of view 2, made by the momentum encoder, and the K keys of the queue:

        loss = -log( exp(q . k / T) / (exp(q . k / T) + sum_j exp(q . queue_j / T)) )

    Then the global batch's keys replace the oldest in the queue. With batch norm per replica (`global_bn=False`), or in
    `bn_splits` groups on one device, images are shuffled before the key encoder and put back in order after it, so that
    a query and its key are never normalised by the statistics of the same images.

    With `jigsaw_weight` beta > 0, InfoMin's third view, three fifths of the image or more without changes of colour, is cut
    into nine tiles, whose embedding t, PIRL's g, is a second query:

        loss = (1 - beta) h(q) + beta h(t),    h the loss above, of the same key and queue

    Source: He et al., arXiv 1911.05722 (v1); Chen et al., arXiv 2003.04297 (v2); the tiles: Tian et al., arXiv 2005.10243,
    as in PyContrast. Differs: the moving variance of batch norm follows the biased variance of each batch; PyTorch's, in the
    authors' code, the unbiased one.
    """

    Config = MoCoConfig
    metric_names: Sequence[str] = ("contrast_acc", "contrast_entropy", *VIEW_METRICS)
    num_views = 2
    encoded_views = 1

    @classmethod
    def policy_of(cls, augmentation: AugmentConfig, config: MoCoConfig) -> augment.Policy:
        policy = cls.make_policy(augmentation)
        if not config.jigsaw_weight:
            return policy
        cut = augment.View(geometry=cut_geometry(policy.geometry.flip))
        return dataclasses.replace(policy, views=(*policy.views, cut))

    def build_parts(self) -> None:
        config = self.config
        widths = (config.proj_out_dim,) if config.moco_head == "linear" else (self.num_features, config.proj_out_dim)
        self.projection_head = self.add_head(
            MLP(widths, hidden_norm=False, **self.head_options, name="projection_head")
        )
        if config.jigsaw_weight:
            add_tile_heads(self, widths)
            self.num_views, self.encoded_views = 3, None
            self.metric_names = (*self.metric_names, "tiles_contrast_acc")
        self.target_encoder = self.add_target(self.encoder)
        self.target_head = self.add_target(self.projection_head)
        self.queue = Queue(config.queue_size, config.proj_out_dim, dtype=self.head_options["dtype"])

    def views_loss(self, views: Sequence[tf.Tensor], training: bool) -> StepOutput:
        features = self._in_groups(self.encoder, views[0], training)
        queries = self.projection_head(features, training=training)
        keys = tf.math.l2_normalize(tf.stop_gradient(self._keys(views[1], training)), axis=1)
        loss, metrics = losses.info_nce(
            queries, keys, self.queue.keys(), temperature=self.config.temperature, with_metrics=True
        )
        metrics = {**metrics, **view_metrics(queries, keys)}
        if self.config.jigsaw_weight:
            beta, (of_tiles, tile_metrics) = self.config.jigsaw_weight, self._of_tiles(views, keys, training)
            loss = (1.0 - beta) * loss + beta * of_tiles
            metrics["tiles_contrast_acc"] = tile_metrics["contrast_acc"]
        if training:
            self.queue.enqueue(keys)
        return StepOutput(loss, metrics, features)

    def _of_tiles(
        self, views: Sequence[tf.Tensor], keys: tf.Tensor, training: bool
    ) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """The loss of the tiles of the third view, and its metrics."""
        seeds, side = puzzle_seeds(self, views[:1]), self.config.tile_size
        queries = embed_tiles(self, views[2], seeds, training, side=side, encode=self._in_groups)
        return losses.info_nce(queries, keys, self.queue.keys(), temperature=self.config.temperature, with_metrics=True)

    def _in_groups(self, network: keras.Model, images: tf.Tensor, training: bool) -> tf.Tensor:
        splits = self.config.bn_splits
        if splits == 1 or not training:
            return self.encode(network, images, training)
        if images.shape[0] is not None and images.shape[0] % splits:
            raise InputError(
                f"`bn_splits` must divide a replica's batch, {images.shape[0]}. Received: bn_splits={splits}."
            )
        return tf.concat([self.encode(network, group, True) for group in tf.split(images, splits)], axis=0)

    def _keys(self, images: tf.Tensor, training: bool) -> tf.Tensor:
        shuffles = training and (
            self.config.bn_splits > 1 or (distribute.replica_count() > 1 and not self.head_options["global_bn"])
        )
        if not shuffles:
            return self.target_head(self.encode(self.target_encoder, images, training), training=training)
        batch = tf.shape(images)[0]
        rows = distribute.replica_id() * batch
        step = tf.convert_to_tensor(self.optimizer.iterations)
        order = permutation(batch * distribute.replica_count(), self.seed, step)
        own = tf.gather(distribute.all_gather(images), order[rows : rows + batch])
        keys = self.target_head(self._in_groups(self.target_encoder, own, training), training=training)
        back = tf.argsort(order)[rows : rows + batch]
        return tf.gather(distribute.all_gather(keys), back)

    @classmethod
    def check(cls, config: MoCoConfig, *, batch_size: int, replicas: int, num_examples: int | None) -> None:
        check_memory_size("queue_size", config.queue_size, batch_size)
        share = batch_size // replicas
        if share % config.bn_splits:
            raise InputError(
                f"`bn_splits` must divide a replica's batch, {share}. Received: bn_splits={config.bn_splits}."
            )

    @classmethod
    def encoded_sides(cls, config: MoCoConfig, sides: tuple[int, ...]) -> tuple[int, ...]:
        if not config.jigsaw_weight:
            return sides
        return (sides[0], *(config.tile_size or tile_side(sides[2]) for _ in range(TILES)))

    def target_sides(self, sides: tuple[int, ...], encoded: tuple[int, ...]) -> tuple[int, ...]:
        return sides[1:2]

    def logits_shape(self, images: int, replicas: int) -> tuple[int, int]:
        return images, self.config.queue_size


def permutation(count: tf.Tensor | int, seed: int, step: tf.Tensor) -> tf.Tensor:
    """The numbers below `count` in an order of the step's own; TensorFlow's shuffle has no kernel that XLA could use."""
    rows = augment.row_seeds(seed, step, tf.range(count), 1)[:, 0]
    return tf.argsort(augment.uniform(rows, "shuffle", 1)[:, 0], stable=True)
