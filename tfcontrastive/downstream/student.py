"""Student: an encoder that learns a teacher's features."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from tfcontrastive import augment, distribute, losses
from tfcontrastive.config.distill_features import FeatureDistillConfig
from tfcontrastive.methods.queue import Queue
from tfcontrastive.models.replicated_model import ReplicatedModel


class Student(ReplicatedModel):
    r"""An encoder f, and a linear head W from its features to its teacher's, t(x):

    $$ L = \frac{1}{B} \sum_i \left(1 - \cos(W f(x_i), t(x_i))\right) $$

    or, with a queue of the teacher's features of other images, `losses.similarity_distillation(W f(x), t(x), queue)`.

    `fit` takes batches of `data.FixedViews.train_batches` that have the teacher's features of the views too, as "target",
    float32 `[B, D]`.

    Args:
        encoder: images -> features `[B, F]`; trained in place.
        width: D, of the teacher's features.
        settings: the loss.
        queue_size: K, of the queue; not looked at where the loss has none.
        view: what happens to the cropped images before the student sees them.

    Examples:
        >>> student = Student(encoder, 384, FeatureDistillConfig(), queue_size=4096)
        >>> student.compile(optimizer=keras.optimizers.AdamW(1e-3))

    Sources: Fang et al., "SEED", arXiv 2101.04731; the regression is that of Gao et al., "DisCo", arXiv 2104.09124, from
    one fixed teacher, which sees the very view that the student sees.
    """

    probe = None
    frozen = False

    def __init__(
        self,
        encoder: keras.Model,
        width: int,
        settings: FeatureDistillConfig,
        *,
        queue_size: int = 0,
        view: Callable[[tf.Tensor, tf.Tensor], tf.Tensor] | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.encoder = encoder
        self.input_spec = None
        self.view = view or augment.View()
        self._settings = settings
        self.head = keras.layers.Dense(width, dtype="float32", name="head")
        self.head.build((None, encoder.output_shape[-1]))
        self.queue = Queue(queue_size, width) if settings.feature_loss == "similarity" else None
        names = ("loss", "feature_cosine", *(["target_entropy"] if self.queue is not None else []))
        self.trackers = {name: keras.metrics.Mean(name) for name in names}
        self.built = True

    @property
    def trunk(self) -> keras.Model:
        """The encoder, as a classifier's is called."""
        return self.encoder

    def learned(self) -> list[keras.Variable]:
        """The weights that training moves."""
        return [*self.encoder.trainable_variables, *self.head.trainable_variables]

    def call(self, images: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Images `[B, H, W, C]` in [0, 1] -> `[B, D]`, in the teacher's space, of any length."""
        return self.head(tf.cast(self.encoder(images, training=training), tf.float32))

    def train_step(self, data: dict[str, Any]) -> dict[str, tf.Tensor]:
        """One step on this replica's share of the batch."""
        images, target = self.view(data["views"][0], data["seeds"][:, 0]), data["target"]
        with tf.GradientTape() as tape:
            loss, metrics = self._loss(self(images, training=True), target)
            total = loss
            if self.losses:
                total += tf.add_n([tf.cast(term, total.dtype) for term in self.losses])
            # Gradients are summed over replicas, and each loss is a mean over its own rows.
            total = self.optimizer.scale_loss(total / distribute.replica_count())
        finite = self.update_weights(tape.gradient(total, self.trainable_variables))
        if self.queue is not None:
            self.queue.enqueue(target)
        return self.track({"loss": loss, **metrics}, finite)

    def _loss(self, found: tf.Tensor, target: tf.Tensor) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        away = 1.0 + losses.negative_cosine(found, target)
        metrics = {"feature_cosine": 1.0 - away}
        if self.queue is None:
            return away, metrics
        loss, more = losses.similarity_distillation(
            found,
            target,
            self.queue.keys(),
            temperature=self._settings.temperature,
            teacher_temperature=self._settings.teacher_temperature,
            with_metrics=True,
        )
        return loss, {**metrics, **more}
