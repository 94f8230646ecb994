"""ReLIC: instance discrimination whose answer may not depend on how the views were styled."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from tfcontrastive import losses
from tfcontrastive.config import BaseConfig
from tfcontrastive.encoders import MLP
from tfcontrastive.methods.base import ContrastiveModel
from tfcontrastive.methods.byol import ramped_momentum
from tfcontrastive.methods.configs.relic import ReLICConfig
from tfcontrastive.methods.step_output import StepOutput
from tfcontrastive.methods.view_metrics import VIEW_METRICS, view_metrics
from tfcontrastive.methods.view_pairs import large_views


class ReLIC(ContrastiveModel):
    """Representation learning via invariant causal mechanisms.

    p_lk is the softmax over images m of  g(f(x_i^l)) . g(h(x_m^k)) / T, view l against view k, with h = f, or its moving
    average (ReLIC_T). Negatives are of the other view only.

        loss = 1/2 [CE(p_12) + CE(p_21)] + alpha/2 [KL(p_21, p_12) + KL(p_12, p_21)],    as `losses.relic` states it

    Of V views each is set against every other large one, as in ReLICv2 (2201.05119), whose pairs of a view with itself two
    views do not have; the divergence is that of the large ones, which are seen from both sides: see `losses.relic_views`.

    Source: Mitrovic et al., arXiv 2010.07922; heads as in its appendix E.2. The text gives neither normalisation nor
    stop-gradient for the penalty: see `losses.relic` for this project's choice.
    """

    Config: type[BaseConfig] = ReLICConfig
    metric_names = ("contrast_acc", "contrast_entropy", "invariance", *VIEW_METRICS)
    least_views = 2
    takes_small_views = True
    least_images = 2
    own_pairs = False  # True: a large view is also compared with its own target

    def build_parts(self) -> None:
        width, out = self.config.critic_hidden_dim, self.config.proj_out_dim
        if not self.config.use_target:
            widths = (width, width // 2, width // 4, width // 8, out)
            self.projection_head = self.add_head(
                MLP(widths, last_norm="full", **self.head_options, name="projection_head")
            )
            return
        self.projection_head = self.add_head(MLP((width, out), **self.head_options, name="projection_head"))
        self.predictor = self.add_head(MLP((width, out), **self.head_options, name="predictor"), out)
        self.target_encoder = self.add_target(self.encoder)
        self.target_head = self.add_target(self.projection_head)

    def views_loss(self, views: Sequence[tf.Tensor], training: bool) -> StepOutput:
        large = large_views(views)
        features = self.encode_views(self.encoder, views, training)
        z = self.projection_head(features, training=training)
        targets = self.large_rows(z, views)
        if self.config.use_target:
            z = self.predictor(z, training=training)
            seen = self.encode_views(self.target_encoder, views[:large], training)
            targets = tf.stop_gradient(self.target_head(seen, training=training))
        z, targets = tf.split(z, len(views)), tf.split(targets, large)
        loss, metrics = losses.relic_views(
            z,
            targets,
            temperature=self.config.temperature,
            alpha=self.config.alpha,
            own_pairs=self.own_pairs,
            with_metrics=True,
        )
        return StepOutput(loss, {**metrics, **view_metrics(z[0], z[1])}, self.large_rows(features, views))

    def target_momentum(self) -> tf.Tensor | float:
        return ramped_momentum(self)

    def logits_shape(self, images: int, replicas: int) -> tuple[int, int]:
        return images * len(self.policy.views), images * replicas  # another view's alone
