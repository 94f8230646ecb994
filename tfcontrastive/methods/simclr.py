"""SimCLR: two random views of an image should agree, and differ from every other image's."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import tensorflow as tf

from tfcontrastive import losses
from tfcontrastive.config import Checked, option
from tfcontrastive.encoders import ProjectionHead
from tfcontrastive.methods.base import ContrastiveModel
from tfcontrastive.methods.view_metrics import VIEW_METRICS, view_metrics


@dataclasses.dataclass(frozen=True)
class SimCLRConfig(Checked):
    """SimCLR's own settings. The defaults are those of google-research/simclr's flags; v1's head has two layers."""

    temperature: float = option(0.1, "Temperature of the contrastive loss.", above=0)
    hidden_norm: bool = option(True, "Compare directions: L2-normalise the projections.")
    proj_head_mode: str = option(
        "nonlinear", "The projection head: none, linear, or a multi-layer one.", choices=("none", "linear", "nonlinear")
    )
    num_proj_layers: int = option(3, "Layers of the nonlinear projection head (v1: 2, v2: 3).", at_least=1)
    proj_out_dim: int = option(128, "Size of the projection.", at_least=1)
    ft_proj_selector: int = option(
        0, "Layer of the projection head that fine-tuning starts from; 0: before the head, -1: its end.", at_least=-1
    )


class SimCLR(ContrastiveModel):
    """SimCLR v1 and v2.

    For 2N views of N images, with z = head(encoder(view)) scaled to length 1, view i and its other view j:

        loss_i = -log( exp(z_i . z_j / T) / sum_{k != i} exp(z_i . z_k / T) ),    loss = mean of the 2N loss_i

    Negatives come from every replica, with gradient.

    Source: Chen et al., arXiv 2002.05709 (v1) and 2006.10029 (v2). google-research/simclr sums the two directions: its
    loss and gradient are twice these, which LARS sees only against the weight decay.
    """

    Config = SimCLRConfig
    metric_names = ("contrast_acc", "contrast_entropy", *VIEW_METRICS)

    def build_parts(self) -> None:
        config = self.config
        self.projection_head = ProjectionHead(
            mode=config.proj_head_mode,
            num_layers=config.num_proj_layers,
            out_dim=config.proj_out_dim,
            **self.head_options,
            name="projection_head",
        )
        self.projection_head.build((None, self.num_features))

    def views_loss(
        self, views: Sequence[tf.Tensor], training: bool
    ) -> tuple[tf.Tensor, dict[str, tf.Tensor], tf.Tensor]:
        features = self.encode(self.encoder, tf.concat(views, axis=0), training)
        z1, z2 = tf.split(self.projection_head(features, training=training), 2)
        loss, metrics = losses.nt_xent(
            z1, z2, temperature=self.config.temperature, normalize=self.config.hidden_norm, with_metrics=True
        )
        return loss, {**metrics, **view_metrics(z1, z2)}, features
