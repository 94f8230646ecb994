"""Rotation: tell by how many quarters an image was turned."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from tfcontrastive.config import InputError
from tfcontrastive.encoders import MLP
from tfcontrastive.methods.base import ContrastiveModel
from tfcontrastive.methods.configs.rotation import RotationConfig
from tfcontrastive.methods.step_output import StepOutput
from tfcontrastive.methods.view_metrics import VIEW_METRICS, view_metrics

TURNS = 4


class Rotation(ContrastiveModel):
    """Rotation prediction (RotNet), a pretext task: images are not compared.

    All four turns of each view are in the batch, counter-clockwise by k quarters with the label k:

        loss = mean over views and k of -log softmax_k(classifier(encoder(turn_k(view))))

    A step encodes four times as many images as others with as many views. It cannot learn from images without an up and
    down, such as those of cells or from above.

    Source: Gidaris, Singh and Komodakis, arXiv 1803.07728. Differs: the views are the policy's, two by default; the paper
    has one crop, with flips alone (`--augmentation=crop`).
    """

    Config = RotationConfig
    metric_names = ("rotation_acc", *VIEW_METRICS)
    compares_images = False

    def build_parts(self) -> None:
        hidden = (self.config.hidden_dim,) if self.config.hidden_dim else ()
        self.classifier = self.add_head(MLP((*hidden, TURNS), **self.head_options, name="classifier"))
        self.encoded_views = TURNS * len(self.policy.views)

    def views_loss(self, views: Sequence[tf.Tensor], training: bool) -> StepOutput:
        height, width = views[0].shape[1:3]
        if height != width:
            raise InputError(f"views must be square, to be turned. Received: {height}x{width} pixels.")
        images = tf.concat(views, axis=0)
        turned = tf.concat([tf.image.rot90(images, k) for k in range(TURNS)], axis=0)
        features = self.encode(self.encoder, turned, training)
        logits = self.classifier(features, training=training)
        labels = tf.repeat(tf.range(TURNS), tf.shape(images)[0])
        loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits))
        right = tf.argmax(logits, axis=1, output_type=labels.dtype) == labels
        upright = tf.split(features, TURNS)[0]
        parts = tf.split(upright, len(views))
        metrics = {"rotation_acc": tf.reduce_mean(tf.cast(right, loss.dtype)), **view_metrics(parts[0], parts[-1])}
        return StepOutput(loss, metrics, upright)

    def logits_shape(self, images: int, replicas: int) -> tuple[int, int]:
        return 0, 0
