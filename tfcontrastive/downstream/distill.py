"""Distillation: a student learns from what a teacher says of unlabelled images, the third step of SimCLRv2."""

from __future__ import annotations

import dataclasses
import io
import os
from collections.abc import Sequence
from typing import ClassVar

import keras
import numpy as np
import tensorflow as tf

from tfcontrastive import data, distribute, evaluate, losses, storage
from tfcontrastive.config import InputError
from tfcontrastive.config.finetune import DistillConfig
from tfcontrastive.downstream.finetune import Finetuned, Job
from tfcontrastive.downstream.teacher import Teacher
from tfcontrastive.encoders.rebuild import rebuild
from tfcontrastive.models.objectives import CrossEntropy
from tfcontrastive.pretrained.trained import Trained

CACHE = "teacher_logits.npy"


def distill(
    config: DistillConfig,
    *,
    overwrite: bool = False,
    allow_config_change: bool = False,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    source: data.Source | None = None,
) -> Finetuned:
    """Trains a student on a teacher's answers, or goes on where a run in the same `model_dir` stopped.

        loss = alpha * distillation(student, teacher; temperature) + (1 - alpha) * cross_entropy(student, labels)

    Student and teacher see the same crop and flip, unless the teacher's answers are cached. The teacher is in inference
    mode. Labels are not needed; where the held-out split has them, metrics.json tells the accuracies of student and
    teacher after the last step.

    Args:
        config: the run; `loop.model_dir` and `teacher` are needed.
        overwrite, allow_config_change: what to do with another run's directory, see `ModelDir.claim`.
        callbacks: more Keras callbacks, called last.
        source: images; default: the config's.

    Raises:
        InputError: as `finetune`, and a teacher that has no logits or takes other images.

    Examples:
        >>> config = DistillConfig(teacher="runs/a_10pct", encoder=EncoderConfig(resnet_depth=18, width_multiplier=0.125),
        ...                        data=DataConfig(dataset="embedded", image_size=28),
        ...                        loop=RunConfig(model_dir="runs/student", train_batch_size=128, train_epochs=20))
        >>> distill(config).metrics["eval_top1"]

    Source: Chen et al., arXiv 2006.10029, section 3, equation 2 and 3.
    """
    job = DistillJob(config, source=source)
    return job.run(overwrite=overwrite, allow_config_change=allow_config_change, callbacks=callbacks)


def evaluate_distilled_run(config: DistillConfig) -> dict[str, float]:
    """As `finetune.evaluate_classifier_run`, of a distillation."""
    return DistillJob(config).evaluate()


@dataclasses.dataclass(frozen=True)
class TeacherMatch:
    """The objective of a distillation, see `distill`.

    Args:
        teacher: images -> logits.
        temperature, alpha: of the loss.
        cached: the teacher's logits by index `[N, C]`, instead of asking it.
        labelled: whether the label of an image may be used, by index, bool `[N]`; None: every label.
    """

    teacher: Teacher
    temperature: float
    alpha: float = 1.0
    cached: tf.Tensor | None = None
    labelled: tf.Tensor | None = None
    names: ClassVar[tuple[str, ...]] = ("distillation_loss", "teacher_agreement")

    def __call__(
        self, images: tf.Tensor, logits: tf.Tensor, batch: dict[str, tf.Tensor]
    ) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        answers = self.teacher(images) if self.cached is None else tf.gather(self.cached, batch["index"])
        matched = losses.distillation(logits, answers, temperature=self.temperature)
        agree = tf.reduce_mean(tf.cast(tf.argmax(logits, axis=1) == tf.argmax(answers, axis=1), tf.float32))
        loss = self.alpha * matched
        if self.alpha < 1:
            labels = batch["label"]
            if self.labelled is not None:
                labels = tf.where(tf.gather(self.labelled, batch["index"]), labels, -1)
            loss += (1 - self.alpha) * CrossEntropy()(images, logits, {"label": labels})[0]
        return loss, {"distillation_loss": matched, "teacher_agreement": agree}


class DistillJob(Job):
    """A `Job` whose objective is a teacher's."""

    def __init__(self, config: DistillConfig, *, source: data.Source | None = None, dry: bool = False):
        if not config.teacher:
            raise InputError("`teacher` must be given: the model_dir of a fine-tuned run, or a SavedModel with logits.")
        if config.label_fraction is not None and config.alpha == 1:
            raise InputError("`label_fraction` needs `alpha` < 1: with alpha=1 no label is used. Received: alpha=1.")
        super().__init__(config, objective=self.match, source=source, needs_labels=config.alpha < 1, dry=dry)
        with self.strategy.scope():
            self.teacher = Teacher(config.teacher)
        size = config.data.image_size or self.teacher.image_size
        self.teacher.check(image_size=size, channels=self.whole.channels)
        if self.whole.num_classes not in (None, self.teacher.num_classes):
            raise InputError(
                f"`teacher` must know the classes of {self.whole.name}, {self.whole.num_classes}. "
                f"Received: {config.teacher} with {self.teacher.num_classes}."
            )
        self.num_classes = self.teacher.num_classes
        self._teacher_top1: float | None = None

    def default_size(self, start: Trained | None) -> int:
        return self.teacher.image_size or super().default_size(start)

    def labelled_source(self) -> data.Source:
        if self.config.label_fraction is not None:
            super().labelled_source()  # chooses the rows; the other images stay, without their labels
        return self.whole

    def starting_point(self) -> Trained | None:
        config = self.config
        if config.checkpoint is None and config.saved_model is None and config.encoder is None:
            if self.teacher.encoder is None:
                raise InputError(
                    "Give the flags of the student's encoder. Received: none, and a SavedModel as teacher."
                )
            return None
        return super().starting_point()

    def preprocessing_from(self, start: Trained | None) -> data.Preprocessing:
        if start is None and self.config.encoder is None:
            return self.teacher.preprocessing
        return super().preprocessing_from(start)

    def build_trunk(self, start: Trained | None) -> keras.Model:
        if start is None and self.config.encoder is None:
            return rebuild(self.teacher.encoder, image_size=self.config.data.image_size, weights=False)
        return super().build_trunk(start)

    def match(self, source: data.Source) -> TeacherMatch:
        """The objective, with what it needs to know of each image."""
        config = self.config
        count = source.num_examples(config.data.train_split)
        by_index = config.teacher_logits == "cached" or self.rows is not None
        if by_index and source.arrays(config.data.train_split) is None:
            name = "teacher_logits=cached" if config.teacher_logits == "cached" else "label_fraction"
            raise InputError(
                f"`{name}` needs images of one size that are held in memory, as --cache_dataset holds them. "
                f"Received: {source.name}."
            )
        ask_once = config.teacher_logits == "cached" and not self.dry
        labelled = None if self.rows is None else tf.constant(np.isin(np.arange(count), self.rows))
        cached = tf.constant(self.cached_logits(source, count)) if ask_once else None
        return TeacherMatch(self.teacher, config.temperature, config.alpha, cached, labelled)

    def cached_logits(self, source: data.Source, count: int) -> np.ndarray:
        """The teacher's logits of every training image, those of the run's directory where it has them."""
        config, path = self.config, os.path.join(self.directory.path, CACHE)
        if storage.exists(path):
            with tf.io.gfile.GFile(path, "rb") as file:
                self._answers = np.load(io.BytesIO(file.read()))
            if self._answers.shape == (count, self.num_classes):
                return self._answers
        self._answers, _ = self.ask(
            data.eval_batches(
                source,
                config.data.train_split,
                batch_size=config.loop.eval_batch_size,
                image_size=config.data.image_size,
                preprocessing=self.preprocessing,
            )
        )
        return self._answers

    def ask(self, batches: tf.data.Dataset) -> tuple[np.ndarray, np.ndarray]:
        """The teacher's logits `[N, C]` of batches as evaluation sees their images, and the labels `[N]`."""
        return evaluate.FeatureExtractor(lambda images, training: self.teacher(images))(batches)

    def measure(self) -> dict[str, float]:
        metrics = super().measure()
        if metrics and self._teacher_top1 is None:
            scores, labels = self.ask(self.eval_batches(self.split))
            self._teacher_top1 = evaluate.top_k_accuracy(scores, labels)
        return {**metrics, "teacher_top1": self._teacher_top1} if metrics else {}

    def write_parts(self) -> None:
        super().write_parts()
        if self.config.teacher_logits == "cached" and distribute.is_chief():
            path = os.path.join(self.directory.path, CACHE)
            answers = io.BytesIO()
            np.save(answers, self._answers)
            storage.write(path, answers.getvalue())
