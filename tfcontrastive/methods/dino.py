"""DINO: self-distillation; every view predicts the centred, sharpened softmax that a moving teacher makes of another."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from tfcontrastive import distribute, losses, optimizers
from tfcontrastive.encoders import DINOHead, WeightNormDense
from tfcontrastive.methods.base import ContrastiveModel
from tfcontrastive.methods.byol import ramped_momentum
from tfcontrastive.methods.configs.dino import DINOConfig
from tfcontrastive.methods.step_output import StepOutput
from tfcontrastive.methods.view_metrics import VIEW_METRICS, mean_metrics, view_metrics
from tfcontrastive.methods.view_pairs import large_views, target_pairs


class DINO(ContrastiveModel):
    """Self-distillation with no labels.

    With s and t the K outputs of the student's and the teacher's heads, the teacher being a moving average of the student
    that sees the large views alone, and c a moving mean of t:

        loss = mean over (large view l, other view v) of -sum_k softmax_k((t(l) - c) / T_t) log softmax_k(s(v) / T_s)

    The centre of a step is that of the steps before; then c = m c + (1 - m) mean t, over the large views of all replicas.
    With `koleo_weight`, KoLeo of each large view's features is added, as DINOv2 has it.

    Source: Caron et al., arXiv 2104.14294; KoLeo: Oquab et al., arXiv 2304.07193. Differs: the teacher's temperature
    rises from step to step, not from epoch to epoch; `--encoder=vit_...` is MoCo v3's ViT, of fixed places and without drop
    path; KoLeo looks for neighbours on all replicas.
    """

    Config = DINOConfig
    metric_names = ("teacher_entropy", *VIEW_METRICS)
    least_views = 2
    takes_small_views = True

    def build_parts(self) -> None:
        config, dtype = self.config, self.head_options["dtype"]
        self.projection_head = self.add_head(
            DINOHead(
                config.hidden_dim, config.proj_out_dim, config.num_head_layers, dtype=dtype, name="projection_head"
            )
        )
        self.prototypes = self.add_head(
            WeightNormDense(config.num_prototypes, config.train_gain, dtype=dtype, name="prototypes"),
            config.proj_out_dim,
        )
        self.target_encoder = self.add_target(self.encoder)
        self.target_head = self.add_target(self.projection_head)
        self.target_prototypes = self.add_target(self.prototypes)
        self.center = self.add_weight(
            name="center",
            shape=(config.num_prototypes,),
            initializer="zeros",
            trainable=False,
            autocast=False,
            dtype=dtype,
        )
        if config.koleo_weight:
            self.least_images = 2  # an image alone has no neighbour

    def views_loss(self, views: Sequence[tf.Tensor], training: bool) -> StepOutput:
        config, large = self.config, large_views(views)
        features = self.encode_views(self.encoder, views, training)
        z = self.projection_head(features, training=training)
        still = self.optimizer.iterations < config.freeze_prototypes_steps
        student = tf.split(self.prototypes(z, frozen=still), len(views))
        seen = self.encode_views(self.target_encoder, views[:large], training)
        outputs = tf.stop_gradient(self.target_prototypes(self.target_head(seen, training=training)))
        teacher, center = tf.split(outputs, large), tf.convert_to_tensor(self.center)
        temperatures = {
            "student_temperature": config.student_temperature,
            "teacher_temperature": self.teacher_temperature(),
        }
        found = [
            losses.dino(student[a], teacher[b], center, **temperatures, with_metrics=True)
            for a, b in target_pairs(len(views), large)
        ]
        loss, metrics = mean_metrics(found)
        probed = self.large_rows(features, views)
        if config.koleo_weight:
            loss += config.koleo_weight * tf.add_n([losses.koleo(rows) for rows in tf.split(probed, large)])
        if training:
            mean = distribute.all_mean(tf.reduce_mean(outputs, axis=0))
            keep = config.center_momentum
            distribute.assign_all([self.center.value], [keep * center + (1 - keep) * mean])
        one, two, *_ = tf.split(z, len(views))
        return StepOutput(loss, {**metrics, **view_metrics(one, two)}, probed)

    def teacher_temperature(self) -> tf.Tensor | float:
        """T_t of this step."""
        config = self.config
        if not config.teacher_temperature_steps:
            return config.teacher_temperature
        return optimizers.linear_ramp(
            config.teacher_temperature_start,
            config.teacher_temperature,
            self.optimizer.iterations,
            config.teacher_temperature_steps,
        )

    def target_momentum(self) -> tf.Tensor | float:
        return ramped_momentum(self)

    def logits_shape(self, images: int, replicas: int) -> tuple[int, int]:
        return images * len(self.policy.views), self.config.num_prototypes
