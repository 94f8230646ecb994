"""SimSiam: predict your own other view, without negatives, and without a moving average."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from tfcontrastive import losses
from tfcontrastive.encoders import MLP
from tfcontrastive.methods.base import ContrastiveModel
from tfcontrastive.methods.configs.simsiam import SimSiamConfig
from tfcontrastive.methods.step_output import StepOutput
from tfcontrastive.methods.view_metrics import VIEW_METRICS, view_metrics
from tfcontrastive.methods.view_pairs import large_views, target_pairs


class SimSiam(ContrastiveModel):
    """Simple Siamese networks.

    With z = projector(encoder(view)) and p = predictor(z), both scaled to length 1, and z held constant as a target:

        loss = -1/2 [p_1 . z_2 + p_2 . z_1],    averaged over images

    It lies in [-1, 1]. What keeps the features from collapsing is the stopped gradient, and the predictor.

    Source: Chen and He, arXiv 2011.10566. Differs: the predictor's learning rate follows the run's schedule, where the
    authors keep it constant; both views share their batch statistics; with more than two views the loss is the mean over
    pairs of a view and another large one, its target.
    """

    Config = SimSiamConfig
    metric_names = VIEW_METRICS
    least_views = 2
    takes_small_views = True
    compares_images = False

    def build_parts(self) -> None:
        config, out = self.config, self.config.proj_out_dim
        widths = (config.hidden_dim,) * (config.num_proj_layers - 1) + (out,)
        self.projection_head = self.add_head(
            MLP(widths, last_norm="plain", **self.head_options, name="projection_head")
        )
        self.predictor = self.add_head(
            MLP((config.predictor_hidden_dim, out), **self.head_options, name="predictor"), out
        )

    def views_loss(self, views: Sequence[tf.Tensor], training: bool) -> StepOutput:
        features = self.encode_views(self.encoder, views, training)
        projections = self.projection_head(features, training=training)
        p = tf.split(self.predictor(projections, training=training), len(views))
        z = tf.split(projections, len(views))
        pairs = target_pairs(len(views), large_views(views))
        loss = tf.add_n([losses.negative_cosine(p[a], z[b]) for a, b in pairs]) / len(pairs)
        return StepOutput(loss, view_metrics(z[0], z[1]), self.large_rows(features, views))

    def logits_shape(self, images: int, replicas: int) -> tuple[int, int]:
        return 0, 0
