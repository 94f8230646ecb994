"""BYOL: predict what a slowly moving copy of yourself sees in another view; no negatives."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from tfcontrastive import losses, optimizers
from tfcontrastive.encoders import MLP
from tfcontrastive.methods.base import ContrastiveModel
from tfcontrastive.methods.configs.byol import BYOLConfig
from tfcontrastive.methods.step_output import StepOutput
from tfcontrastive.methods.view_metrics import VIEW_METRICS, view_metrics
from tfcontrastive.methods.view_pairs import large_views, target_pairs


class BYOL(ContrastiveModel):
    """Bootstrap your own latent.

    With q = predictor(projector(encoder(view))) and z' the projection of the target network (an exponential moving
    average of the online one), both scaled to length 1:

        loss = |q_1 - z'_2|^2 + |q_2 - z'_1|^2 = 4 - 2 q_1 . z'_2 - 2 q_2 . z'_1,    averaged over images

    Of V views each predicts every other large one: the mean over these pairs, at the scale of two.

    Nothing pushes images apart; the predictor and the moving target keep the features from collapsing.

    Source: Grill et al., arXiv 2006.07733. Differs: views of one size share their batch statistics; the last layers of
    projector and predictor have a bias, which the paper does not speak of and the authors' code leaves out.
    """

    Config = BYOLConfig
    metric_names = VIEW_METRICS
    least_views = 2
    takes_small_views = True
    compares_images = False

    def build_parts(self) -> None:
        widths = (self.config.hidden_dim, self.config.proj_out_dim)
        self.projection_head = self.add_head(MLP(widths, **self.head_options, name="projection_head"))
        self.predictor = self.add_head(MLP(widths, **self.head_options, name="predictor"), self.config.proj_out_dim)
        self.target_encoder = self.add_target(self.encoder)
        self.target_head = self.add_target(self.projection_head)

    def views_loss(self, views: Sequence[tf.Tensor], training: bool) -> StepOutput:
        large = large_views(views)
        features = self.encode_views(self.encoder, views, training)
        z = self.projection_head(features, training=training)
        q = tf.split(self.predictor(z, training=training), len(views))
        seen = self.encode_views(self.target_encoder, views[:large], training)
        t = tf.split(tf.stop_gradient(self.target_head(seen, training=training)), large)
        pairs = target_pairs(len(views), large)
        loss = 4.0 + 4.0 / len(pairs) * tf.add_n([losses.negative_cosine(q[a], t[b]) for a, b in pairs])
        return StepOutput(loss, view_metrics(q[0], q[1]), self.large_rows(features, views))

    def target_momentum(self) -> tf.Tensor | float:
        return ramped_momentum(self)

    def logits_shape(self, images: int, replicas: int) -> tuple[int, int]:
        return 0, 0


def ramped_momentum(model: ContrastiveModel) -> tf.Tensor | float:
    """The EMA momentum of this step: constant, or 1 - (1 - m0) (cos(pi k / K) + 1) / 2 where the config ramps it."""
    config = model.config
    if not config.target_momentum_ramp or model.total_steps is None:
        return config.target_momentum
    step = tf.cast(model.optimizer.iterations, tf.float32) - 1.0
    return optimizers.ema_momentum(config.target_momentum, step, model.total_steps)
