"""AMDIM: a view's features tell the places of another view of the image from those of other images, at two scales."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from tfcontrastive import distribute, losses
from tfcontrastive.config import InputError
from tfcontrastive.encoders import MLP
from tfcontrastive.encoders.local_maps import with_local_maps
from tfcontrastive.methods.base import ContrastiveModel
from tfcontrastive.methods.configs.amdim import AMDIMConfig
from tfcontrastive.methods.dim import of_places
from tfcontrastive.methods.step_output import StepOutput
from tfcontrastive.methods.view_metrics import VIEW_METRICS, mean_metrics, view_metrics


class AMDIM(ContrastiveModel):
    """Augmented multiscale Deep InfoMax.

    With g the whole view's vector, s those of the places of its smaller map and m those of the larger one, each through a
    head of its own, and s' the vector of one place that is drawn anew:

        loss = mean over (view a, other view b) of amdim(g_a, s_b) + amdim(g_a, m_b) + amdim(s'_a, s_b)

    with `losses.amdim`, penalties included. The maps are of two layers of the encoder, by name (`local_layers`), or its
    last maps of two sizes: `block_group3` and `block_group4` of a ResNet, where the paper's network has 7x7 and 5x5 places.

    Source: Bachman, Hjelm and Buchwalter, arXiv 1906.00910. Differs: the encoder is any; the authors' pads nowhere, so that
    places see no borders, and its three scales each come from a block of their own, while a ResNet's features are the mean
    of its last map. Heads have no shortcut. Both views are flipped on their own, the authors' together.
    """

    Config = AMDIMConfig
    metric_names = ("mean_square_score", *VIEW_METRICS)
    num_views = 2
    least_images = 2

    def build_parts(self) -> None:
        config = self.config
        widths = (config.hidden_dim, config.proj_out_dim)
        names = [name.strip() for name in config.local_layers.split(",") if name.strip()]
        self.local = with_local_maps(self.encoder, names, 2, type(self).__name__)
        if len(self.local.names) != 2:
            raise InputError(
                "`local_layers` must be two layers of the encoder, with maps of two sizes. "
                f"Received: {','.join(self.local.names)}."
            )
        options = {**self.head_options, "hidden_norm": False, "last_norm": "full"}
        self.projection_head = self.add_head(MLP(widths, **options, name="projection_head"))
        self.large_head, self.small_head = (
            self.add_head(MLP(widths, **options, name=name), width)
            for name, (_, width) in zip(("large_head", "small_head"), self.local.shapes, strict=True)
        )

    def views_loss(self, views: Sequence[tf.Tensor], training: bool) -> StepOutput:
        config = self.config
        rows = self.encode(self.local.network, tf.concat(views, axis=0), training)
        features, (large, small) = self.local.split(rows)
        g = tf.split(self.projection_head(features, training=training), 2)
        large = tf.split(of_places(self.large_head, large, training), 2)
        small = tf.split(of_places(self.small_head, small, training), 2)
        found = []
        for a, b in ((0, 1), (1, 0)):
            place = tf.gather(small[a], self._drawn(tf.shape(g[0])[0])[a], batch_dims=1)
            for source, target in ((g[a], small[b]), (g[a], large[b]), (place, small[b])):
                found.append(
                    losses.amdim(
                        source, target, clip=config.clip, score_penalty=config.score_penalty, with_metrics=True
                    )
                )
        loss, metrics = mean_metrics(found)  # of two directions, whose three pairs of scales are added up
        return StepOutput(3 * loss, {**metrics, **view_metrics(*g)}, features)

    def _drawn(self, batch: tf.Tensor) -> tf.Tensor:
        """A place of the smaller map for each view of this replica's images, `[2, B]`: of the seed, step and row."""
        step = tf.cast(self.optimizer.iterations, tf.int64)
        everyone = tf.random.stateless_uniform(
            [2, batch * distribute.replica_count()],
            seed=tf.stack([tf.constant(self.seed, tf.int64), step]),
            maxval=self.local.shapes[1][0],
            dtype=tf.int32,
        )
        return tf.gather(everyone, distribute.replica_id() * batch + tf.range(batch), axis=1)

    def logits_shape(self, images: int, replicas: int) -> tuple[int, int]:
        return images, images * replicas * self.local.shapes[0][0]
