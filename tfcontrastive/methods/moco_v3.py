"""MoCo v3: a momentum encoder without a queue; the batch's other keys are the negatives."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from tfcontrastive import losses
from tfcontrastive.encoders import MLP
from tfcontrastive.methods.base import ContrastiveModel
from tfcontrastive.methods.byol import ramped_momentum
from tfcontrastive.methods.configs.moco_v3 import MoCoV3Config
from tfcontrastive.methods.step_output import StepOutput
from tfcontrastive.methods.view_metrics import VIEW_METRICS, view_metrics
from tfcontrastive.methods.view_pairs import large_views


class MoCoV3(ContrastiveModel):
    """MoCo v3.

    Queries q = predictor(projector(encoder(view))) of one view against the keys k of the other view's images, made by the
    momentum encoder and gathered from every replica without gradient:

        loss = 2 T [CE(q_1 . k_2 / T, own row) + CE(q_2 . k_1 / T, own row)]

    Of V views each is set against the keys of every other large one: the mean over these pairs, at the scale of two.

    Source: Chen, Xie and He, arXiv 2104.02057. The momentum moves once a step, after the weights. Differs:
    views of one size share their batch statistics.
    """

    Config = MoCoV3Config
    metric_names = ("contrast_acc", "contrast_entropy", *VIEW_METRICS)
    least_views = 2
    takes_small_views = True
    least_images = 2

    def build_parts(self) -> None:
        config = self.config
        hidden = (config.hidden_dim,)
        self.projection_head = self.add_head(
            MLP(
                hidden * (config.num_proj_layers - 1) + (config.proj_out_dim,),
                use_bias=False,
                last_norm="plain",
                **self.head_options,
                name="projection_head",
            )
        )
        self.predictor = self.add_head(
            MLP(
                (*hidden, config.proj_out_dim),
                use_bias=False,
                last_norm="plain" if config.predictor_last_norm else "none",
                **self.head_options,
                name="predictor",
            ),
            config.proj_out_dim,
        )
        self.target_encoder = self.add_target(self.encoder)
        self.target_head = self.add_target(self.projection_head)

    def views_loss(self, views: Sequence[tf.Tensor], training: bool) -> StepOutput:
        large = large_views(views)
        features = self.encode_views(self.encoder, views, training)
        z = self.projection_head(features, training=training)
        q = tf.split(self.predictor(z, training=training), len(views))
        seen = self.encode_views(self.target_encoder, views[:large], training)
        k = tf.split(tf.stop_gradient(self.target_head(seen, training=training)), large)
        loss, metrics = losses.info_nce_views(q, k, temperature=self.config.temperature, with_metrics=True)
        return StepOutput(loss, {**metrics, **view_metrics(q[0], q[1])}, self.large_rows(features, views))

    def target_momentum(self) -> tf.Tensor | float:
        return ramped_momentum(self)

    def logits_shape(self, images: int, replicas: int) -> tuple[int, int]:
        return images * len(self.policy.views), images * replicas  # another view's keys alone
