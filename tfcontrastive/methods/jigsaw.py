"""Jigsaw: tell in which order the tiles of an image were laid."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import tensorflow as tf

from tfcontrastive import augment
from tfcontrastive.augment.tiles import GRID, tile_side
from tfcontrastive.config import AugmentConfig
from tfcontrastive.encoders import MLP
from tfcontrastive.methods.base import ContrastiveModel
from tfcontrastive.methods.configs.jigsaw import JigsawConfig
from tfcontrastive.methods.permutations import distant_permutations
from tfcontrastive.methods.step_output import StepOutput
from tfcontrastive.methods.tiles import CUT_SIZE, encode_tiles, puzzle_seeds
from tfcontrastive.methods.view_metrics import VIEW_METRICS, view_metrics

TILES = GRID * GRID


class Jigsaw(ContrastiveModel):
    """Jigsaw puzzles, a pretext task: images are not compared.

    Each view is cut into nine tiles with random gaps between them, which are laid in one of N orders:

        loss = mean over views of -log softmax_n(classifier(concat_k head(encoder(tile at place k in order n))))

    n is drawn anew for each view in each step; the orders are `distant_permutations`. The probe sees the mean of a view's
    nine features, and evaluation whole images: the encoder takes any size, and one that takes a single size sees tiles
    resized to it.

    Source: Noroozi and Favaro, arXiv 1603.09246; head and sizes as in VISSL, which has a batch norm and a ReLU after the
    tiles' layer. Differs: the views are the policy's, two by default, at 255/224 of the image size; the orders are chosen
    by their smallest distance, not by the mean one.
    """

    Config = JigsawConfig
    metric_names = ("jigsaw_acc", *VIEW_METRICS)
    compares_images = False

    @classmethod
    def make_policy(cls, augmentation: AugmentConfig) -> augment.Policy:
        policy = super().make_policy(augmentation)
        return dataclasses.replace(policy, geometry=dataclasses.replace(policy.geometry, size=CUT_SIZE))

    def build_parts(self) -> None:
        width = self.config.hidden_dim
        self.permutations = distant_permutations(self.config.num_permutations, TILES)
        self.tile_head = self.add_head(MLP((width,), last_norm="full", **self.head_options, name="tile_head"))
        self.classifier = self.add_head(
            MLP((len(self.permutations),), **self.head_options, name="classifier"), TILES * width
        )

    def views_loss(self, views: Sequence[tf.Tensor], training: bool) -> StepOutput:
        config, images, seeds = self.config, tf.concat(views, axis=0), puzzle_seeds(self, views)
        features = encode_tiles(
            self, images, seeds, training, side=config.tile_size, standardize=config.standardize_tiles
        )
        rows = tf.reshape(features, [-1, self.num_features])
        vectors = tf.nn.relu(self.tile_head(rows, training=training))
        vectors = tf.reshape(vectors, [-1, TILES, config.hidden_dim])

        draws = augment.uniform(seeds, "order of tiles", 1)[:, 0]
        labels = tf.cast(tf.floor(draws * len(self.permutations)), tf.int32)
        order = tf.gather(tf.constant(self.permutations, tf.int32), labels)
        laid = tf.reshape(tf.gather(vectors, order, batch_dims=1), [-1, TILES * config.hidden_dim])
        logits = self.classifier(laid, training=training)
        loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits))
        right = tf.argmax(logits, axis=1, output_type=labels.dtype) == labels
        means = tf.reduce_mean(features, axis=1)
        parts = tf.split(means, len(views))
        metrics = {"jigsaw_acc": tf.reduce_mean(tf.cast(right, loss.dtype)), **view_metrics(parts[0], parts[-1])}
        return StepOutput(loss, metrics, means)

    @classmethod
    def encoded_sides(cls, config: JigsawConfig, sides: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(config.tile_size or tile_side(side) for side in sides for _ in range(TILES))

    def logits_shape(self, images: int, replicas: int) -> tuple[int, int]:
        return 0, 0
