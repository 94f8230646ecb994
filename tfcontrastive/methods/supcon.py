"""SupCon: SimCLR with labels, every image of the same class being a positive."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from tfcontrastive import losses
from tfcontrastive.encoders import MLP
from tfcontrastive.methods.base import ContrastiveModel
from tfcontrastive.methods.configs.supcon import SupConConfig
from tfcontrastive.methods.step_output import StepOutput
from tfcontrastive.methods.view_metrics import VIEW_METRICS, view_metrics
from tfcontrastive.methods.view_pairs import large_views


class SupCon(ContrastiveModel):
    """Supervised contrastive learning, L_out.

    With P(i) the other views of images of i's class, and z of length 1:

        loss_i = -1/|P(i)| sum_{p in P(i)} log( exp(z_i . z_p / T) / sum_{k != i} exp(z_i . z_k / T) )

    Of V views, small ones included, each is a row i and a positive of the others of its class, as the equation has it.

    Source: Khosla et al., arXiv 2004.11362.
    """

    Config = SupConConfig
    metric_names = VIEW_METRICS
    takes_small_views = True
    least_images = 2
    batch_keys = ("label",)

    def build_parts(self) -> None:
        widths = (self.config.hidden_dim, self.config.proj_out_dim)
        self.projection_head = self.add_head(
            MLP(widths, hidden_norm=False, **self.head_options, name="projection_head")
        )

    def views_loss(self, views: Sequence[tf.Tensor], training: bool, label: tf.Tensor) -> StepOutput:
        features = self.encode_views(self.encoder, views, training)
        large, z = large_views(views), tf.split(self.projection_head(features, training=training), len(views))
        loss = losses.sup_con(tf.stack(z, axis=1), label, temperature=self.config.temperature)
        return StepOutput(loss, view_metrics(z[0], z[large - 1]), self.large_rows(features, views))
