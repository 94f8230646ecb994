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


class BarlowTwins(ContrastiveModel):
    """Barlow Twins.

    With C the cross-correlation, over the global batch, of the two views' projections standardised feature by feature:

        loss = sum_i (1 - C_ii)^2 + lambda sum_{i != j} C_ij^2

    Source: Zbontar et al., arXiv 2103.03230, whose separate rate of biases and batch norm, 0.0048 beside 0.2, is
    `loss_scale` here. Differs: both views share their batch statistics.
    """

    Config = BarlowTwinsConfig
    metric_names = VIEW_METRICS
    num_views = 2
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
        features = self.encode(self.encoder, tf.concat(views, axis=0), training)
        z1, z2 = tf.split(self.projection_head(features, training=training), 2)
        loss = losses.barlow_twins(z1, z2, off_diagonal_weight=self.config.off_diagonal_weight)
        return StepOutput(self.config.loss_scale * loss, view_metrics(z1, z2), features)

    def logits_shape(self, images: int, replicas: int) -> tuple[int, int]:
        return self.config.proj_out_dim, self.config.proj_out_dim
