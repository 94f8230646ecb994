"""VICReg: views that agree, and features that vary and do not repeat one another, each asked for by a term of its own."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from tfcontrastive import losses
from tfcontrastive.encoders import MLP
from tfcontrastive.methods.base import ContrastiveModel
from tfcontrastive.methods.configs.vicreg import VICRegConfig
from tfcontrastive.methods.step_output import StepOutput
from tfcontrastive.methods.view_metrics import VIEW_METRICS, mean_metrics, view_metrics
from tfcontrastive.methods.view_pairs import large_views, pairs_once


class VICReg(ContrastiveModel):
    """Variance-invariance-covariance regularization.

    With the embeddings z of two views, not normalised, over the global batch:

        loss = 25 mean (z_1 - z_2)^2 + 25/2 sum_views mean_j max(0, 1 - std_j) + sum_views sum_{i != j} cov_ij^2 / D

    Source: Bardes, Ponce and LeCun, arXiv 2105.04906, in the form of the authors' code, see `losses.vicreg`. Differs:
    both views share their batch statistics; with more than two views the loss is the mean over pairs of a large view and
    another.
    """

    Config = VICRegConfig
    metric_names = ("invariance", "variance", "covariance", *VIEW_METRICS)
    least_views = 2
    takes_small_views = True
    least_images = 2

    def build_parts(self) -> None:
        config = self.config
        widths = (config.hidden_dim,) * (config.num_proj_layers - 1) + (config.proj_out_dim,)
        self.projection_head = self.add_head(MLP(widths, use_bias=False, **self.head_options, name="projection_head"))

    def views_loss(self, views: Sequence[tf.Tensor], training: bool) -> StepOutput:
        config, features = self.config, self.encode_views(self.encoder, views, training)
        z = tf.split(self.projection_head(features, training=training), len(views))
        weights = {
            "invariance": config.invariance_weight,
            "variance": config.variance_weight,
            "covariance": config.covariance_weight,
        }
        pairs = pairs_once(len(views), large_views(views))
        loss, metrics = mean_metrics([losses.vicreg(z[a], z[b], **weights, with_metrics=True) for a, b in pairs])
        return StepOutput(loss, {**metrics, **view_metrics(z[0], z[1])}, self.large_rows(features, views))

    def logits_shape(self, images: int, replicas: int) -> tuple[int, int]:
        return self.config.proj_out_dim, self.config.proj_out_dim
