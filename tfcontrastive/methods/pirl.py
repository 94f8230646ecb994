"""PIRL: an image and its shuffled tiles both agree with what a memory holds of the image."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import keras
import tensorflow as tf

from tfcontrastive import augment
from tfcontrastive.augment.tiles import tile_side
from tfcontrastive.config import AugmentConfig
from tfcontrastive.encoders import MLP
from tfcontrastive.methods.base import ContrastiveModel
from tfcontrastive.methods.configs.pirl import PIRLConfig
from tfcontrastive.methods.memory_bank import MemoryBank, check_bank_size
from tfcontrastive.methods.step_output import StepOutput
from tfcontrastive.methods.tiles import TILES, add_tile_heads, cut_geometry, embed_tiles, puzzle_seeds
from tfcontrastive.methods.view_metrics import VIEW_METRICS, view_metrics


class PIRL(ContrastiveModel):
    """Pretext-invariant representations, by jigsaw puzzles.

    With v = f(encoder(view 1)), t = g(encoder(the nine tiles of view 2), in random order) and m_i what the memory bank holds
    of image i, all of length 1, and h a contrastive loss against other entries of the bank, NCE or InfoNCE:

        loss = lambda h(m_i, t) + (1 - lambda) h(m_i, v),    then m_i = unit(momentum m_i + (1 - momentum) v)

    g has a vector for each tile, and one layer on all nine. Tiles are of a view of its own, of three fifths of the image or
    more, at 255/224 of the image size. The data must bring each image's `index`.

    Source: Misra and van der Maaten, arXiv 1912.01991; details as in VISSL. Differs: NCE's constant is estimated on the
    entries that were drawn for the first batch, its own left out.
    """

    Config = PIRLConfig
    metric_names = VIEW_METRICS
    num_views = 2
    compares_images = False
    batch_keys = ("index",)

    @classmethod
    def make_policy(cls, augmentation: AugmentConfig) -> augment.Policy:
        policy = super().make_policy(augmentation)
        image, cut = policy.views
        cut = dataclasses.replace(cut, geometry=cut_geometry(policy.geometry.flip))
        return dataclasses.replace(policy, views=(image, cut))

    def build_parts(self) -> None:
        config, dim = self.config, self.config.proj_out_dim
        widths = (dim,) if config.pirl_head == "linear" else (self.num_features, dim)

        self.projection_head = self.add_head(
            MLP(widths, hidden_norm=False, **self.head_options, name="projection_head")
        )
        add_tile_heads(self, widths)
        dtype = self.head_options["dtype"]
        self.bank = MemoryBank(config.bank_size, dim, temperature=config.temperature, dtype=dtype)

    def views_loss(self, views: Sequence[tf.Tensor], training: bool, index: tf.Tensor) -> StepOutput:
        config, (image, cut) = self.config, views
        features = self.encode(self.encoder, image, training)
        v = self.projection_head(features, training=training)
        t = embed_tiles(self, cut, puzzle_seeds(self, views[:1]), training, side=config.tile_size)

        step, noise, log_normalizer = self.optimizer.iterations, None, None
        if config.num_negatives:
            noise = self.bank.draw(config.num_negatives, images=tf.shape(index)[0], views=1, seed=self.seed, step=step)
        if config.objective == "nce":
            log_normalizer = self.bank.normalizer(t, noise, first=step == 0, training=training)
        of_tiles, of_image = (self.bank.loss(x, index, noise, log_normalizer) for x in (t, v))
        loss = config.tiles_weight * of_tiles + (1.0 - config.tiles_weight) * of_image
        if training:
            self.bank.remember(index, v, momentum=config.bank_momentum)
        return StepOutput(loss, view_metrics(v, t), features)

    @classmethod
    def check(cls, config: PIRLConfig, *, batch_size: int, replicas: int, num_examples: int | None) -> None:
        check_bank_size(config.bank_size, num_examples)

    @classmethod
    def encoded_sides(cls, config: PIRLConfig, sides: tuple[int, ...]) -> tuple[int, ...]:
        return (sides[0], *(config.tile_size or tile_side(sides[1]) for _ in range(TILES)))

    def logits_shape(self, images: int, replicas: int) -> tuple[int, int]:
        return images * 2, self.config.num_negatives or self.config.bank_size

    @property
    def queues(self) -> list[keras.Variable]:
        return [self.bank.rows]
