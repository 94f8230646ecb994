"""Distillation: a student learns from what a teacher says of unlabelled images, the third step of SimCLRv2."""

from __future__ import annotations

import dataclasses
import functools
import io
import os
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import keras
import numpy as np
import tensorflow as tf

from tfcontrastive import data, evaluate, losses, storage
from tfcontrastive.config import InputError
from tfcontrastive.config.distill_features import FeatureDistillConfig
from tfcontrastive.config.finetune import DistillConfig
from tfcontrastive.downstream.distill_features import Distilled, distill_features
from tfcontrastive.downstream.finetune import Finetuned, PreparedClassifier, Tuning, finetuned, require_channels
from tfcontrastive.downstream.teacher import Teacher
from tfcontrastive.encoders.rebuild import rebuild
from tfcontrastive.models.objectives import CrossEntropy
from tfcontrastive.pretrained.trained import Trained
from tfcontrastive.runs.loop import Run, Site
from tfcontrastive.runs.model_dir import ModelDir
from tfcontrastive.system.terminal import say

CACHE = "teacher_logits.npy"


def distill(
    config: DistillConfig | FeatureDistillConfig,
    *,
    overwrite: bool = False,
    allow_config_change: bool = False,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    source: data.Source | None = None,
    title: str | None = None,
    say: Callable[[str], None] = say,
) -> Finetuned | Distilled:
    """Trains a student on a teacher's answers, or goes on where a run in the same `model_dir` stopped.

        loss = alpha * distillation(student, teacher; temperature) + (1 - alpha) * cross_entropy(student, labels)

    Student and teacher see the same crop and flip, unless the teacher's answers are cached. The teacher is in inference
    mode. Labels are not needed; where the held-out split has them, result.json tells the accuracies of student and
    teacher after the last step.

    Of a `FeatureDistillConfig` it is `distill_features`, which learns from the features of an encoder of any kind.

    Args:
        config: the run; `loop.model_dir` and `teacher` are needed.
        overwrite, allow_config_change: what to do with another run's directory, see `ModelDir.claim`.
        callbacks: more Keras callbacks; what they add to the logs of an epoch is written.
        source: images; default: the config's.
        title, say: of the progress, see `runs.loop.Run.train`.

    Raises:
        InputError: as `finetune`, and a teacher that has no logits or takes other images.

    Examples:
        >>> config = DistillConfig(
        ...     teacher="runs/a_10pct",
        ...     encoder=tfcontrastive.EncoderConfig(resnet_depth=18, width_multiplier=0.125),
        ...     data=tfcontrastive.DataConfig(dataset="embedded", image_size=28),
        ...     loop=tfcontrastive.RunConfig(model_dir="runs/student", train_batch_size=128, train_epochs=20),
        ... )
        >>> accuracy = distill(config).metrics["eval_top1"]

    Source: Chen et al., arXiv 2006.10029, section 3, equation 2 and 3.
    """
    how: dict[str, Any] = {"overwrite": overwrite, "allow_config_change": allow_config_change, "callbacks": callbacks}
    if isinstance(config, FeatureDistillConfig):
        return distill_features(config, source=source, title=title, say=say, **how)
    return finetuned(distillation(config, source=source), title=title, say=say, **how)


def distillation(config: DistillConfig, *, source: data.Source | None = None, dry: bool = False) -> Run:
    """The run of a config, to be trained, evaluated or, `dry`, described; the arguments are those of `distill`."""
    if not config.teacher:
        raise InputError("`teacher` must be given: the model_dir of a fine-tuned run, or a SavedModel with logits.")
    if config.label_fraction is not None and config.alpha == 1:
        raise InputError("`label_fraction` needs `alpha` < 1: with alpha=1 no label is used. Received: alpha=1.")

    run = Run(config, lambda site: tuning(site), source=source, dry=dry)
    with run.strategy.scope():
        teacher = Teacher(config.teacher)
    if teacher.channels is not None:
        run.source = run.source.decoded_to(teacher.channels)
    teacher.check(image_size=config.data.image_size or teacher.image_size, channels=run.source.channels)
    if run.source.num_classes not in (None, teacher.num_classes):
        raise InputError(
            f"`teacher` must know the classes of {run.source.name}, {run.source.num_classes}. "
            f"Received: {config.teacher} with {teacher.num_classes}."
        )
    tuning = Distilling(config, teacher=teacher, needs_labels=config.alpha < 1, num_classes=teacher.num_classes)
    return run


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


@dataclasses.dataclass(frozen=True, kw_only=True)
class PreparedStudent(PreparedClassifier):
    """A distillation, prepared."""

    teacher: Teacher

    def measure(self) -> dict[str, float]:
        metrics = super().measure()
        return {**metrics, "teacher_top1": self._teacher_top1} if metrics else {}

    @functools.cached_property
    def _teacher_top1(self) -> float:
        return evaluate.top_k_accuracy(*ask(self.teacher, self.eval_batches(self.split)))

    def write_parts(self, directory: ModelDir) -> None:
        super().write_parts(directory)
        cached = self.model.objective.cached
        if cached is not None:
            answers = io.BytesIO()
            np.save(answers, cached.numpy())
            storage.write(os.path.join(directory.path, CACHE), answers.getvalue())


@dataclasses.dataclass(frozen=True)
class Distilling(Tuning):
    """A `Tuning` whose objective is a teacher's."""

    teacher: Teacher = dataclasses.field(kw_only=True)

    def prepared(self, **parts: Any) -> PreparedStudent:
        origin = parts.pop("origin") or self.teacher.facts
        return PreparedStudent(teacher=self.teacher, **parts, origin=origin)

    def default_size(self, source: data.Source, start: Trained | None) -> int:
        return self.teacher.image_size or super().default_size(source, start)

    def labelled(self, whole: data.Source) -> tuple[data.Source, np.ndarray | None]:
        if self.config.label_fraction is None:
            return whole, None
        return whole, super().labelled(whole)[1]  # the other images stay, without their labels

    def starting_point(self) -> Trained | None:
        config = self.config
        if config.checkpoint is None and config.saved_model is None and config.encoder is None:
            if self.teacher.encoder is None:
                raise InputError(
                    "Give the flags of the student's encoder. Received: none, and a SavedModel as teacher."
                )
            return None
        return super().starting_point()

    def taken(self, source: data.Source, start: Trained | None) -> data.Source:
        require_channels(source, start)  # they are already as the teacher takes them
        return source

    def preprocessing(self, start: Trained | None) -> data.Preprocessing:
        if start is None and self.config.encoder is None:
            return self.teacher.preprocessing
        return super().preprocessing(start)

    def trunk(self, config: Any, source: data.Source, start: Trained | None) -> keras.Model:
        if start is None and config.encoder is None:
            return rebuild(self.teacher.encoder, image_size=config.data.image_size, weights=False)
        return super().trunk(config, source, start)

    def objective(
        self, site: Site, config: Any, source: data.Source, rows: np.ndarray | None, preprocessing: data.Preprocessing
    ) -> TeacherMatch:
        """The teacher's, with what it needs to know of each image."""
        split, cached = config.data.train_split, config.teacher_logits == "cached"
        count = source.num_examples(split)
        if (cached or rows is not None) and source.arrays(split) is None:
            name = "teacher_logits=cached" if cached else "label_fraction"
            raise InputError(
                f"`{name}` needs images of one size that are held in memory, as --cache_dataset holds them. "
                f"Received: {source.name}."
            )
        labelled = None if rows is None else tf.constant(np.isin(np.arange(count), rows))
        answers = None
        if cached and not site.dry:
            answers = tf.constant(self.answers(site, config, source, preprocessing))
        return TeacherMatch(self.teacher, config.temperature, config.alpha, answers, labelled)

    def answers(self, site: Site, config: Any, source: data.Source, preprocessing: data.Preprocessing) -> np.ndarray:
        """The teacher's logits of every training image, those of the run's directory where it has them."""
        path, split = os.path.join(site.directory.path, CACHE), config.data.train_split
        if storage.exists(path):
            with tf.io.gfile.GFile(path, "rb") as file:
                held = np.load(io.BytesIO(file.read()))
            if held.shape == (source.num_examples(split), self.teacher.num_classes):
                return held
        images = data.eval_batches(
            source,
            split,
            batch_size=config.loop.eval_batch_size,
            image_size=config.data.image_size,
            preprocessing=preprocessing,
        )
        return ask(self.teacher, images)[0]


def ask(teacher: Teacher, batches: tf.data.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """The teacher's logits `[N, C]` of batches as evaluation sees their images, and the labels `[N]`."""
    return evaluate.FeatureExtractor(lambda images, training: teacher(images))(batches)
