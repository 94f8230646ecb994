"""SimCLR: two random views of an image should agree, and differ from every other image's."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import tensorflow as tf

from tfcontrastive import losses
from tfcontrastive.config import InputError
from tfcontrastive.encoders import ProjectionHead
from tfcontrastive.methods.base import ContrastiveModel
from tfcontrastive.methods.configs.simclr import SimCLRConfig
from tfcontrastive.methods.queue import Queue, check_memory_size
from tfcontrastive.methods.step_output import StepOutput
from tfcontrastive.methods.view_metrics import VIEW_METRICS, view_metrics
from tfcontrastive.methods.view_pairs import large_views


class SimCLR(ContrastiveModel):
    """SimCLR v1 and v2.

    For 2N views of N images, with z = head(encoder(view)) scaled to length 1, view i and its other view j:

        loss_i = -log( exp(z_i . z_j / T) / sum_{k != i} exp(z_i . z_k / T) ),    loss = mean of the 2N loss_i

    Negatives come from every replica, with gradient. With a memory (SimCLRv2) the sum goes on over its K rows, which a
    moving average of encoder and head made of both views of earlier batches; no gradient flows to them. With `decoupled`
    the sum leaves out the positive too, as `DCL` does.

    Of V views, small ones included, every ordered pair counts alike, against the V (N - 1) views of other images, as the
    authors of SwAV write it; the memory takes the first two, or the large one.

    Source: Chen et al., arXiv 2002.05709 (v1) and 2006.10029 (v2). google-research/simclr sums the two directions: its
    loss and gradient are twice these. LARS scales each kernel's step anew, so that kernels see the factor only against
    their weight decay; biases and batch norm, which it does not adapt, learn twice as fast there. The memory was never
    released: the paper gives its size (64K) and momentum (0.999); that both views fill it is this project's choice.
    """

    Config = SimCLRConfig
    metric_names: Sequence[str] = ("contrast_acc", "contrast_entropy", *VIEW_METRICS)
    least_views = 2
    takes_small_views = True
    least_images = 2

    def build_parts(self) -> None:
        config = self.config
        self.projection_head = self.add_head(
            ProjectionHead(
                mode=config.proj_head_mode,
                num_layers=config.num_proj_layers,
                out_dim=config.proj_out_dim,
                hidden_dim=config.proj_hidden_dim,
                **self.head_options,
                name="projection_head",
            )
        )
        if config.memory_size:
            self.target_encoder = self.add_target(self.encoder)
            self.target_head = self.add_target(self.projection_head)
            width = self.projection_head.compute_output_shape((None, self.num_features))[-1]
            self.memory = Queue(
                config.memory_size, width, setting="memory_size", name="memory", dtype=self.head_options["dtype"]
            )

    def views_loss(self, views: Sequence[tf.Tensor], training: bool) -> StepOutput:
        config, remembered = self.config, views[: min(2, large_views(views))]
        features = self.encode_views(self.encoder, views, training)
        z = tf.split(self.projection_head(features, training=training), len(views))
        decoupled = functools.partial(losses.dcl_views, sigma=config.decoupled_sigma)
        contrast = decoupled if config.decoupled else losses.nt_xent_views
        loss, metrics = contrast(
            z,
            temperature=config.temperature,
            normalize=config.hidden_norm,
            memory=self.memory.keys() if config.memory_size else None,
            with_metrics=True,
        )
        if config.memory_size and training:
            seen = self.encode_views(self.target_encoder, remembered, training)
            keys = self.target_head(seen, training=training)
            keys = tf.math.l2_normalize(keys, axis=1) if config.hidden_norm else keys
            # Image by image, so that the order in the memory does not depend on the number of replicas.
            self.memory.enqueue(tf.reshape(tf.stack(tf.split(keys, len(remembered)), axis=1), keys.shape))
        return StepOutput(loss, {**metrics, **view_metrics(z[0], z[1])}, self.large_rows(features, views))

    @classmethod
    def check(cls, config: SimCLRConfig, *, batch_size: int, replicas: int, num_examples: int | None) -> None:
        check_memory_size("memory_size", config.memory_size, 2 * batch_size)
        layers = {"none": 0, "linear": 1, "nonlinear": config.num_proj_layers}[config.proj_head_mode]
        if config.ft_proj_selector > layers:
            raise InputError(
                f"`ft_proj_selector` must be -1 to {layers}, the layers of the projection head. "
                f"Received: ft_proj_selector={config.ft_proj_selector}."
            )
