"""CPC: patches of an image are predicted from those on one side of them."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import tensorflow as tf
from absl import logging

from tfcontrastive import losses
from tfcontrastive.config import InputError
from tfcontrastive.encoders import MLP, BatchNorm
from tfcontrastive.encoders.context import Context
from tfcontrastive.encoders.same_layers import of_another_size
from tfcontrastive.encoders.whitening import before_whitening
from tfcontrastive.methods.base import ContrastiveModel
from tfcontrastive.methods.configs.cpc import CPCConfig
from tfcontrastive.methods.step_output import StepOutput
from tfcontrastive.methods.view_metrics import VIEW_METRICS, mean_metrics, view_metrics

LEAST_PATCH = 4  # pixels


class CPC(ContrastiveModel):
    """Contrastive predictive coding of overlapping patches, CPC v2.

    A view is cut into a grid of patches; x_rc are the encoder's features of each, normalised, z = head(x) what is predicted
    and c = context(x), in which row r knows of rows 0 to r alone. With a matrix W_k of each offset k:

        loss = mean over directions, offsets and views of cpc(s W_k c, z, k),    as `losses.cpc` states it

    against all patches of that view of all images. The other directions are those of the grid turned by quarters.

    The encoder sees patches in training and whole images afterwards; so its layers must take images of any size. Batch norm
    would tell a patch of its neighbours, which are in the same batch: take `--norm=group`.

    Source: Hénaff et al., arXiv 1905.09272; no code of the authors' is public. Differs: one context network serves all
    directions; the mean over offsets, not their sum; colours change by views, not by patches; features are evaluated of
    whole images, not as the mean over a grid.
    """

    Config = CPCConfig
    metric_names = ("contrast_acc", "contrast_entropy", *VIEW_METRICS)

    def build_parts(self) -> None:
        config, dtype = self.config, self.head_options["dtype"]
        if config.last_offset < config.first_offset:
            raise InputError(
                f"`last_offset` must be at least first_offset, {config.first_offset}. "
                f"Received: last_offset={config.last_offset}."
            )
        self.offsets = range(config.first_offset, config.last_offset + 1)
        if any(isinstance(layer, (BatchNorm, keras.layers.BatchNormalization)) for layer in _layers(self.encoder)):
            logging.warning("CPC: the encoder's batch norm tells a patch of its neighbours; --norm=group does not.")
        network, height = before_whitening(self.encoder), self.encoder_shape.image[0]
        if height is not None:
            count, side, _ = self.grid(height)
            network = of_another_size(network, side, "CPC")
            self.encoded_views = -(-len(self.policy.views) * (count * side) ** 2 // height**2)  # by pixels
        self.patch_encoder = _Untracked(network)
        self.patch_norm = keras.layers.LayerNormalization(epsilon=1e-5, dtype=dtype, name="patch_norm")
        self.patch_norm.build((None, None, None, self.num_features))
        self.projection_head = self.add_head(MLP((config.proj_out_dim,), **self.head_options, name="projection_head"))
        self.context = Context(config.context_depth, config.context_dim, dtype=dtype, name="context")
        self.context.build((None, None, None, self.num_features))
        self.predictor = self.add_head(
            keras.layers.Dense(len(self.offsets) * config.proj_out_dim, dtype=dtype, name="predictor")
        )

    def grid(self, view: int) -> tuple[int, int, int]:
        """Patches to a side, their height and their stride in pixels, for views of so many pixels.

        Raises:
            InputError: the view is too small.
        """
        config = self.config
        side = config.patch_side or round(view * 80 / 260)
        stride = config.patch_stride or max(1, round(view * 36 / 260))
        count = (view - side) // stride + 1
        if side < LEAST_PATCH or count <= config.last_offset:
            raise InputError(
                f"CPC needs patches of {LEAST_PATCH} pixels or more and more rows of them than `last_offset`, "
                f"{config.last_offset}. Received: {max(count, 0)} rows, patch_side={side} and patch_stride={stride}, in "
                f"views of {view} pixels. Set patch_side, patch_stride or last_offset, or larger images."
            )
        return count, side, stride

    def views_loss(self, views: Sequence[tf.Tensor], training: bool) -> StepOutput:
        config, width = self.config, self.config.proj_out_dim
        height, across = views[0].shape[1:3]
        if height != across:
            raise InputError(f"views must be square, to be cut into patches. Received: {height}x{across} pixels.")
        count, side, stride = self.grid(height)
        patches = cut(tf.concat(views, axis=0), side, stride)
        rows = self.encode(self.patch_encoder.network, patches, training)
        grids = self.patch_norm(tf.reshape(rows, [-1, count, count, self.num_features]))
        z = self.projection_head(grids, training=training)
        found = []
        turned = [turn(grids, k) for k in range(config.directions)]
        predicted = config.prediction_scale * self.predictor(self.context(tf.concat(turned, axis=0)))
        for k, of_direction in enumerate(tf.split(predicted, config.directions)):
            of_views = zip(tf.split(of_direction, len(views)), tf.split(turn(z, k), len(views)), strict=True)
            for predictions, targets in of_views:
                parts = tf.split(predictions, [width] * len(self.offsets), axis=3)
                for offset, part in zip(self.offsets, parts, strict=True):
                    found.append(losses.cpc(part, targets, offset=offset, with_metrics=True))
        loss, metrics = mean_metrics(found)
        means = tf.split(tf.reduce_mean(z, axis=[1, 2]), len(views))
        features = tf.reduce_mean(tf.reshape(rows, [-1, count**2, self.num_features]), axis=1)
        return StepOutput(loss, {**metrics, **view_metrics(means[0], means[-1])}, features)

    def logits_shape(self, images: int, replicas: int) -> tuple[int, int]:
        side = self.encoder_shape.image[0]
        patches = self.grid(side)[0] ** 2 if side else 36
        return images * patches, images * patches * replicas


class _Untracked:
    """Holds a network whose layers are another's, lest Keras save and count them twice."""

    def __init__(self, network: keras.Model):
        self.network = network


def _layers(network: keras.Model) -> list[keras.layers.Layer]:
    return list(network._flatten_layers())


def turn(grids: tf.Tensor, quarters: int) -> tf.Tensor:
    """Grids `[B, G, G, D]` turned counter-clockwise by 0 to 3 quarters."""
    if quarters % 2:
        return tf.reverse(tf.transpose(grids, [0, 2, 1, 3]), [quarters // 2 + 1])
    return tf.reverse(grids, [1, 2]) if quarters else grids


def cut(images: tf.Tensor, side: int, stride: int) -> tf.Tensor:
    """Overlapping patches of images, row by row: `[B, S, S, C]` -> `[B * G * G, side, side, C]`.

    Args:
        images: square, of a known size.
        side: of a patch, in pixels.
        stride: from a patch to the next: G = (S - side) // stride + 1 to a side.

    Examples:
        >>> cut(tf.reshape(tf.range(9), [1, 3, 3, 1]), 2, 1)[1, :, :, 0].numpy().tolist()
        [[1, 2], [4, 5]]
    """
    count = (images.shape[1] - side) // stride + 1
    places = tf.range(count)[:, None] * stride + tf.range(side)
    patches = tf.gather(tf.gather(images, places, axis=1), places, axis=3)  # [B, G, side, G, side, C]
    return tf.reshape(tf.transpose(patches, [0, 1, 3, 2, 4, 5]), [-1, side, side, images.shape[-1]])
