"""Deep InfoMax: an image's features tell its places from those of other images."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from tfcontrastive import losses
from tfcontrastive.encoders import MLP
from tfcontrastive.encoders.local_maps import with_local_maps
from tfcontrastive.methods.base import ContrastiveModel
from tfcontrastive.methods.configs.dim import DIMConfig
from tfcontrastive.methods.step_output import StepOutput
from tfcontrastive.methods.view_metrics import VIEW_METRICS, view_metrics


class DIM(ContrastiveModel):
    """Deep InfoMax with local features, DIM(L).

    With g = head(features) of a view and l_j = local_head(map at place j) of a layer inside of the same pass:

        loss = mean over views and layers of deep_infomax(g, l),    as `losses.deep_infomax` states it

    The local layers are the encoder's own, by name (`local_layers`); as it stands the last map but one, such as
    `block_group3` of a ResNet, since the last one's mean is what a ResNet gives as features.

    Source: Hjelm et al., arXiv 1808.06670; its "encode and dot" critic. Differs: the heads are two layers with batch norm
    between them and no shortcut; the global term and the prior's adversary are left out (alpha = gamma = 0); the views are
    the policy's, two by default, each compared with itself alone: the paper has whole images.
    """

    Config = DIMConfig
    metric_names = VIEW_METRICS
    least_images = 2

    def build_parts(self) -> None:
        config = self.config
        widths = (config.hidden_dim, config.proj_out_dim)
        names = [name.strip() for name in config.local_layers.split(",") if name.strip()]
        self.local = with_local_maps(self.encoder, names, 2, type(self).__name__)
        if not names:
            self.local = with_local_maps(self.encoder, self.local.names[:1], 1, type(self).__name__)
        self.projection_head = self.add_head(MLP(widths, **self.head_options, name="projection_head"))
        self.local_heads = [
            self.add_head(MLP(widths, **self.head_options, name=f"local_head_{i}"), width)
            for i, (_, width) in enumerate(self.local.shapes)
        ]

    def views_loss(self, views: Sequence[tf.Tensor], training: bool) -> StepOutput:
        rows = self.encode(self.local.network, tf.concat(views, axis=0), training)
        features, maps = self.local.split(rows)
        g = tf.split(self.projection_head(features, training=training), len(views))
        found = []
        for head, places in zip(self.local_heads, maps, strict=True):
            parts = tf.split(of_places(head, places, training), len(views))
            found += [losses.deep_infomax(*pair, measure=self.config.measure) for pair in zip(g, parts, strict=True)]
        return StepOutput(tf.add_n(found) / len(found), view_metrics(g[0], g[-1]), features)

    def logits_shape(self, images: int, replicas: int) -> tuple[int, int]:
        return images, images * replicas * max(places for places, _ in self.local.shapes)


def of_places(head: MLP, maps: tf.Tensor, training: bool) -> tf.Tensor:
    """A head at each place: maps `[B, L, C]` -> `[B, L, D]`. Batch norm takes all places of all images."""
    places, width = maps.shape[1:]
    found = head(tf.reshape(maps, [-1, width]), training=training)
    return tf.reshape(found, [-1, places, found.shape[-1]])
