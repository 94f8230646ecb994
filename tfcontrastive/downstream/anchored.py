"""An encoder that learns on without leaving where it began: batch norm as it was, and an anchor to its first features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tfcontrastive.encoders.rebuild import copy_of
from tfcontrastive.methods.base import ContrastiveModel
from tfcontrastive.methods.moco import MoCo
from tfcontrastive.methods.simclr import SimCLR
from tfcontrastive.methods.step_output import StepOutput

_Base: Any = ContrastiveModel  # of a mixin: it stands before a method


class Anchored(_Base):
    """Goes before a method among the bases of a class: the method's loss, and what holds the encoder where it began.

        loss + w * mean(1 - cos(f(x), f_0(x)))

    with f the encoder, f_0 the same as it was, frozen, and x the first view of each image. Batch norm keeps the statistics
    that it has learned, and dropout is off: the features of the first step are those of the frozen encoder.

    Args:
        anchor: w, at least 0.
    """

    def __init__(self, *args: Any, anchor: float = 1.0, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._anchor = anchor

    def build_parts(self) -> None:
        super().build_parts()
        self.start = copy_of(self.encoder, f"`encoder` must be one that {type(self).__name__} can copy")
        self.start.trainable = False

    def encode(self, network: keras.Model, images: tf.Tensor, training: bool) -> tf.Tensor:
        del training
        return super().encode(network, images, False)

    def views_loss(self, views: Sequence[tf.Tensor], training: bool, *args: Any, **batch: Any) -> StepOutput:
        loss, metrics, features = super().views_loss(views, training, *args, **batch)
        now, then = (
            tf.math.l2_normalize(tf.cast(rows, tf.float32), axis=1)
            for rows in (features[: tf.shape(views[0])[0]], self.start(views[0], training=False))
        )
        moved = tf.reduce_mean(1.0 - tf.reduce_sum(now * then, axis=1))
        return StepOutput(loss + tf.cast(self._anchor * moved, loss.dtype), {**metrics, "moved": moved}, features)


class AnchoredSimCLR(Anchored, SimCLR):
    """SimCLR from a trained encoder."""

    metric_names = (*SimCLR.metric_names, "moved")


class AnchoredMoCo(Anchored, MoCo):
    """MoCo from a trained encoder."""

    metric_names = (*MoCo.metric_names, "moved")
