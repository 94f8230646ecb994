"""Barlow Twins: features that agree between views and do not repeat one another."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from tfcontrastive import losses
from tfcontrastive.encoders import MLP
from tfcontrastive.methods.base import ContrastiveModel
from tfcontrastive.methods.configs.barlow_twins import BarlowTwinsConfig
from tfcontrastive.methods.step_output import StepOutput
from tfcontrastive.methods.view_metrics import VIEW_METRICS, view_metrics
from tfcontrastive.methods.view_pairs import large_views, pairs_once


class BarlowTwins(ContrastiveModel):
    """Barlow Twins.

    With C the cross-correlation, over the global batch, of the two views' projections standardised feature by feature:

        loss = sum_i (1 - C_ii)^2 + lambda sum_{i != j} C_ij^2

    Of V views: the mean over the pairs of a large view with another, which are VICRegL's (2210.01571) for the sister loss.

    Source: Zbontar et al., arXiv 2103.03230, whose separate rate of biases and batch norm, 0.0048 beside 0.2, is
    `loss_scale` here. Differs: views of one size share their batch statistics.
    """

    Config = BarlowTwinsConfig
    metric_names = VIEW_METRICS
    least_views = 2
    takes_small_views = True
    least_images = 2

    def build_parts(self) -> None:
        config = self.config
        self.projection_head = self.add_head(
            MLP(
                (config.hidden_dim,) * (config.num_proj_layers - 1) + (config.proj_out_dim,),
                use_bias=False,
                **self.head_options,
                name="projection_head",
            )
        )

    def views_loss(self, views: Sequence[tf.Tensor], training: bool) -> StepOutput:
        features = self.encode_views(self.encoder, views, training)
        z = tf.split(self.projection_head(features, training=training), len(views))
        weight, pairs = self.config.off_diagonal_weight, pairs_once(len(views), large_views(views))
        loss = tf.add_n([losses.barlow_twins(z[a], z[b], off_diagonal_weight=weight) for a, b in pairs]) / len(pairs)
        metrics = view_metrics(z[0], z[1])
        return StepOutput(self.config.loss_scale * loss, metrics, self.large_rows(features, views))

    def logits_shape(self, images: int, replicas: int) -> tuple[int, int]:
        return self.config.proj_out_dim, self.config.proj_out_dim
