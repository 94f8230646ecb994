"""CMC: what one group of an image's channels shows agrees with what the other shows."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import tensorflow as tf

from tfcontrastive.encoders import MLP, ChannelTowers
from tfcontrastive.encoders.channel_towers import check_groups
from tfcontrastive.encoders.checks import encoder_shape
from tfcontrastive.encoders.rebuild import copy_of
from tfcontrastive.methods.base import ContrastiveModel
from tfcontrastive.methods.configs.cmc import CMCConfig, parse_groups
from tfcontrastive.methods.memory_bank import MemoryBank, check_bank_size
from tfcontrastive.methods.step_output import StepOutput
from tfcontrastive.methods.view_metrics import VIEW_METRICS, view_metrics


class CMC(ContrastiveModel):
    """Contrastive multiview coding of two groups of channels, lightness and color if not told otherwise.

    The encoder is two networks of one architecture, `ChannelTowers`: l and c are the unit embeddings of a view's two groups,
    by a head on each network's features, and a memory bank for each group holds l_j and c_j of every image j. With h a
    contrastive loss against other entries of a bank, NCE or InfoNCE:

        loss = h(l; c_i, c_j) + h(c; l_i, l_j),    then l_i = unit(m l_i + (1 - m) l), and c_i likewise

    The network that is handed over becomes the first tower, and a copy of it, first weights included, the second; what is
    evaluated and exported takes whole images. The data must bring each image's `index`.

    Source: Tian, Krishnan and Isola, arXiv 1906.05849. Differs: all views of a batch count, and the banks take their means;
    both towers start from the same weights; NCE's constants are estimated on the entries that were drawn for the first
    batch, its own left out.
    """

    Config = CMCConfig
    metric_names = VIEW_METRICS
    compares_images = False
    batch_keys = ("index",)

    @classmethod
    def network_of(cls, encoder: keras.Model, config: CMCConfig) -> keras.Model:
        groups = parse_groups(config.channel_groups)
        if isinstance(encoder, ChannelTowers):
            return encoder
        check_groups(groups, encoder_shape(encoder).image[-1])
        return ChannelTowers(encoder, copy_of(encoder, "`encoder` must be one that CMC can copy"), groups)

    def build_parts(self) -> None:
        config, dtype = self.config, self.head_options["dtype"]
        self.tower_features = self.num_features // 2
        bank = {"temperature": config.temperature, "dtype": dtype}

        def head(name: str) -> keras.layers.Layer:
            return self.add_head(MLP((config.proj_out_dim,), **self.head_options, name=name), self.tower_features)

        self.first_head, self.second_head = head("first_head"), head("second_head")
        self.first_bank = MemoryBank(config.bank_size, config.proj_out_dim, name="first_bank", **bank)
        self.second_bank = MemoryBank(config.bank_size, config.proj_out_dim, name="second_bank", **bank)

    def views_loss(self, views: Sequence[tf.Tensor], training: bool, index: tf.Tensor) -> StepOutput:
        config, count = self.config, len(views)
        features = self.encode(self.encoder, tf.concat(views, axis=0), training)
        of_first, of_second = tf.split(features, 2, axis=1)
        first = self.first_head(of_first, training=training)
        second = self.second_head(of_second, training=training)
        step, noise, rows = self.optimizer.iterations, None, tf.tile(index, [count])
        if config.num_negatives:
            noise = self.first_bank.draw(
                config.num_negatives, images=tf.shape(index)[0], views=count, seed=self.seed, step=step
            )
        terms = []
        for embeddings, others in ((first, self.second_bank), (second, self.first_bank)):
            kept = None
            if config.objective == "nce":
                kept = others.normalizer(embeddings, noise, first=step == 0, training=training)
            terms.append(others.loss(embeddings, rows, noise, kept))
        if training:
            for embeddings, own in ((first, self.first_bank), (second, self.second_bank)):
                own.remember(index, tf.add_n(tf.split(embeddings, count)) / count, momentum=config.bank_momentum)
        return StepOutput(
            tf.add_n(terms), view_metrics(tf.split(first, count)[0], tf.split(second, count)[0]), features
        )

    @classmethod
    def check(cls, config: CMCConfig, *, batch_size: int, replicas: int, num_examples: int | None) -> None:
        check_bank_size(config.bank_size, num_examples)

    def logits_shape(self, images: int, replicas: int) -> tuple[int, int]:
        return images * len(self.policy.views), self.config.num_negatives or self.config.bank_size

    @property
    def queues(self) -> list[keras.Variable]:
        return [self.first_bank.rows, self.second_bank.rows]

    @property
    def embedding_dim(self) -> int:
        return self.config.proj_out_dim
