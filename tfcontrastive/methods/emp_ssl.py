"""EMP-SSL: many patches of an image agree with their mean, and each set of patches spans as much room as it can."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from tfcontrastive import losses
from tfcontrastive.encoders import MLP
from tfcontrastive.methods.base import ContrastiveModel
from tfcontrastive.methods.configs.emp_ssl import EMPSSLConfig
from tfcontrastive.methods.step_output import StepOutput
from tfcontrastive.methods.view_metrics import VIEW_METRICS, view_metrics


class EMPSSL(ContrastiveModel):
    """Extreme multi-patch self-supervised learning.

    With z_v the embeddings of the batch's v-th patches, scaled to length 1, their mean m over the patches of an image, and
    the coding rate R of `losses.total_coding_rate` over the global batch:

        loss = mean over v of [-R(z_v) - lambda cos(z_v, m)]

    A patch is a view: the paper takes 20 of each image and few epochs; any number of any size does here.

    Source: Tong, Chen, Ma and LeCun, arXiv 2304.03977. Differs: features are evaluated of whole images, as those of all
    methods here; the paper's evaluation takes the mean over many patches of an image.
    """

    Config = EMPSSLConfig
    metric_names = ("coding_rate", "similarity", *VIEW_METRICS)
    least_views = 2
    takes_small_views = True
    least_images = 2

    def build_parts(self) -> None:
        widths = (self.config.hidden_dim, self.config.proj_out_dim)
        self.projection_head = self.add_head(MLP(widths, **self.head_options, name="projection_head"))

    def views_loss(self, views: Sequence[tf.Tensor], training: bool) -> StepOutput:
        config, features = self.config, self.encode_views(self.encoder, views, training)
        embeddings = tf.math.l2_normalize(self.projection_head(features, training=training), axis=1)
        z = tf.split(embeddings, len(views))
        center = tf.math.l2_normalize(tf.add_n(z), axis=1)
        similarity = tf.reduce_mean([tf.reduce_mean(tf.reduce_sum(one * center, axis=1)) for one in z])
        rates = [losses.total_coding_rate(one, epsilon_squared=config.epsilon_squared) for one in z]
        rate = tf.reduce_mean(rates)
        metrics = {"coding_rate": rate, "similarity": similarity, **view_metrics(z[0], z[-1])}
        loss = -rate - config.similarity_weight * similarity
        return StepOutput(loss, metrics, self.large_rows(features, views))

    def logits_shape(self, images: int, replicas: int) -> tuple[int, int]:
        return self.config.proj_out_dim, self.config.proj_out_dim
