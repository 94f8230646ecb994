"""Evaluate: any evaluator, while the encoder trains."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from tfcontrastive import data, distribute
from tfcontrastive.encoders.whitening import before_whitening
from tfcontrastive.evaluate import Evaluator


class Evaluate(keras.callbacks.Callback):
    """Adds what an evaluator measures to an epoch's logs, and so to the run's summaries.

    The evaluator sees the encoder as it is then, and the model's projection head; of one that whitens its features in the
    end, what enters the whitening. Choose an `eval_split` that is not the one you report on: what is looked at during
    training is no test.

    Args:
        evaluator: such as `evaluate.Linear()`.
        source: the images it measures on; None for one that brings its own.
        every_epochs: epochs from one measurement to the next, at least 1.
        encoder: images -> features; default: the model's `encoder`.

    Examples:
        >>> from tfcontrastive.evaluate import FeatureGeometry
        >>> watch = Evaluate(FeatureGeometry(eval_split="train[90%:]"), tfcontrastive.data.load("embedded"), every_epochs=5)
        >>> history = model.fit(images, batch_size=256, epochs=10, callbacks=[watch])
    """

    def __init__(
        self,
        evaluator: Evaluator,
        source: data.Source | None,
        *,
        every_epochs: int = 1,
        encoder: Callable[..., tf.Tensor] | None = None,
    ):
        super().__init__()
        self.evaluator, self.source, self.every_epochs = evaluator, source, every_epochs
        self.encoder = encoder
        self.latest: dict[str, float] = {}
        self._live: _Live | None = None

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if (epoch + 1) % self.every_epochs or not distribute.is_chief():
            return
        if self._live is None:
            head = getattr(self.model, "projection_head", None)  # of any Keras model that trains an encoder
            self._live = _Live(self.encoder or before_whitening(self.model.encoder), head)
        self.latest = self.evaluator.run(self._live, self.source)
        if logs is not None:
            logs.update(self.latest)


class _Live:
    """An encoder in training, compiled once for all measurements."""

    def __init__(self, encoder: Callable[..., tf.Tensor], projection_head: keras.layers.Layer | None):
        self.encoder, self.projection_head = encoder, projection_head
        self.input_shape = getattr(encoder, "input_shape", None)
        self._forward = tf.function(lambda images: encoder(images, training=False), reduce_retracing=True)

    def __call__(self, images: tf.Tensor, training: bool = False) -> tf.Tensor:
        return self._forward(images)
