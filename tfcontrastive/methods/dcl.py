"""DCL: SimCLR whose positives do not compete with themselves, so that small batches do."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from tfcontrastive import losses
from tfcontrastive.encoders import ProjectionHead
from tfcontrastive.methods.base import ContrastiveModel
from tfcontrastive.methods.configs.dcl import DCLConfig
from tfcontrastive.methods.step_output import StepOutput
from tfcontrastive.methods.view_metrics import VIEW_METRICS, view_metrics


class DCL(ContrastiveModel):
    """Decoupled contrastive learning.

    For 2N views of N images, with z = head(encoder(view)) scaled to length 1, view i and its other view j:

        loss_i = -w z_i . z_j / T + log sum_{k != i, j} exp(z_i . z_k / T),    loss = mean of the 2N loss_i

    with w = 1, or DCLW's weights of mean 1 where `sigma` is set. Negatives come from every replica, with gradient.

    Source: Yeh et al., arXiv 2110.06848. Differs: the public code sums the two directions, which is twice this loss. Of V
    views every ordered pair counts alike, as in `SimCLR`.
    """

    Config = DCLConfig
    metric_names = ("contrast_acc", "contrast_entropy", *VIEW_METRICS)
    least_views = 2
    takes_small_views = True
    least_images = 2

    def build_parts(self) -> None:
        self.projection_head = self.add_head(
            ProjectionHead(
                num_layers=self.config.num_proj_layers,
                out_dim=self.config.proj_out_dim,
                **self.head_options,
                name="projection_head",
            )
        )

    def views_loss(self, views: Sequence[tf.Tensor], training: bool) -> StepOutput:
        config, features = self.config, self.encode_views(self.encoder, views, training)
        z = tf.split(self.projection_head(features, training=training), len(views))
        loss, metrics = losses.dcl_views(z, temperature=config.temperature, sigma=config.sigma, with_metrics=True)
        return StepOutput(loss, {**metrics, **view_metrics(z[0], z[1])}, self.large_rows(features, views))
