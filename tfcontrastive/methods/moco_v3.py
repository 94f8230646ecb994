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


class MoCoV3(ContrastiveModel):
    """MoCo v3.

    Queries q = predictor(projector(encoder(view))) of one view against the keys k of the other view's images, made by the
    momentum encoder and gathered from every replica without gradient:

        loss = 2 T [CE(q_1 . k_2 / T, own row) + CE(q_2 . k_1 / T, own row)]

    Source: Chen, Xie and He, arXiv 2104.02057. The momentum moves once a step, after the weights. Differs:
    both views share their batch statistics.
    """

    Config = MoCoV3Config
    metric_names = ("contrast_acc", "contrast_entropy", *VIEW_METRICS)
    num_views = 2
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
        images = tf.concat(views, axis=0)
        features = self.encode(self.encoder, images, training)
        q1, q2 = tf.split(self.predictor(self.projection_head(features, training=training), training=training), 2)
        keys = self.target_head(self.encode(self.target_encoder, images, training), training=training)
        k1, k2 = tf.split(tf.stop_gradient(keys), 2)
        loss, metrics = losses.symmetric_info_nce(
            q1, q2, k1, k2, temperature=self.config.temperature, with_metrics=True
        )
        return StepOutput(loss, {**metrics, **view_metrics(q1, q2)}, features)

    def target_momentum(self) -> tf.Tensor | float:
        return ramped_momentum(self)

    def logits_shape(self, images: int, replicas: int) -> tuple[int, int]:
        return images * 2, images * replicas  # the other view's keys alone
