"""Distillation from features: a student learns what any encoder makes of images, without labels."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import os
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from absl import logging

from tfcontrastive import augment, data, distribute, evaluate, storage
from tfcontrastive.callbacks import Accuracy
from tfcontrastive.config import DataConfig, InputError
from tfcontrastive.config.distill_features import FeatureDistillConfig
from tfcontrastive.data.fixed_views import FixedViews
from tfcontrastive.data.pipeline import PARALLEL, as_written
from tfcontrastive.downstream.adapt import own_size
from tfcontrastive.downstream.feature_cache import FeatureCache
from tfcontrastive.downstream.finetune import require_channels
from tfcontrastive.downstream.instances import Numbered
from tfcontrastive.downstream.student import Student
from tfcontrastive.evaluate.features import projected
from tfcontrastive.methods.queue import check_memory_size
from tfcontrastive.planning.cost import estimate_classifier
from tfcontrastive.pretrained.trained import Trained, load
from tfcontrastive.runs.agreement import check_same_data
from tfcontrastive.runs.builders import build_encoder, compile_model, precision
from tfcontrastive.runs.inputs import HOLD_OUT, eval_split, make_plan
from tfcontrastive.runs.loop import Prepared, Run, Site
from tfcontrastive.runs.model_dir import ModelDir, write_json
from tfcontrastive.runs.reprs import as_html, in_words
from tfcontrastive.runs.settle import settled
from tfcontrastive.system.terminal import say

CACHE = "features"
"""Where a run keeps its teacher's features, unless told otherwise."""

MOST = 20_000
"""Images of a split that student and teacher are measured on."""

_QUEUED = 4_096
_USUAL_SIZE = 224  # of published encoders that take any


@dataclasses.dataclass(frozen=True)
class Distilled:
    """A student, its metrics after the last step (`knn_top1`, `teacher_knn_top1`, `feature_cosine`, ...), its data, and how
    its images are cropped and resized."""

    config: FeatureDistillConfig
    model: Student
    metrics: dict[str, float]
    source: data.Source
    seconds: float
    preprocessing: data.Preprocessing
    prepared: PreparedStudent

    @property
    def encoder(self) -> keras.Model:
        """The student: images `[B, H, W, C]` in [0, 1] -> features `[B, F]`."""
        return self.model.encoder

    def __repr__(self) -> str:
        return in_words(self, "distillation from features", distribute.step_of(self.model))

    def _repr_html_(self) -> str:
        return as_html(self.metrics)


def distill_features(
    config: FeatureDistillConfig,
    *,
    overwrite: bool = False,
    allow_config_change: bool = False,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    source: data.Source | None = None,
    title: str | None = None,
    say: Callable[[str], None] = say,
) -> Distilled:
    """Trains a student on its teacher's features, or goes on where a run in the same `model_dir` stopped.

    The teacher sees each image in `feature_views` crops and flips, once, at its own size, and what it says is kept on disk;
    the student sees the same crops at its size, a different one of each image in each epoch. See `Student` for the loss.
    result.json tells the kNN accuracy of both, where the held-out split has labels, their effective rank, and the cosine
    between them on held-out images.

    Args:
        config: the run; `loop.model_dir`, `teacher` and `encoder` are needed.
        overwrite, allow_config_change: what to do with another run's directory, see `ModelDir.claim`.
        callbacks: more Keras callbacks; what they add to the logs of an epoch is written.
        source: images; default: the config's.
        title, say: of the progress, see `runs.loop.Run.train`.

    Raises:
        InputError: anything in the config, the teacher, the data or the directory that cannot work, features of another
            teacher in the cache, and a loss that is not finite.

    Examples:
        >>> config = FeatureDistillConfig(
        ...     teacher="runs/a",
        ...     encoder=tfcontrastive.EncoderConfig(resnet_depth=18, width_multiplier=0.125),
        ...     data=tfcontrastive.DataConfig(dataset="embedded", image_size=28),
        ...     loop=tfcontrastive.RunConfig(model_dir="runs/small", train_epochs=20),
        ... )
        >>> kept = distill_features(config).metrics["knn_kept"]

    Sources: arXiv 2101.04731, and see `Student`.
    """
    run = feature_distillation(config, source=source)
    done = run.train(
        overwrite=overwrite, allow_config_change=allow_config_change, callbacks=callbacks, title=title, say=say
    )
    made = done.prepared
    return Distilled(made.config, made.model, done.metrics, made.source, done.seconds, made.preprocessing, made)


def feature_distillation(config: FeatureDistillConfig, *, source: data.Source | None = None, dry: bool = False) -> Run:
    """The run of a config, to be trained, evaluated or, `dry`, described; the arguments are those of `distill_features`."""
    if not config.teacher:
        raise InputError(
            "`teacher` must be given: the directory of a run, an export, or a file of published weights. Received: none."
        )
    if config.encoder is None:
        raise InputError(
            "`encoder` must be given: the student, such as --encoder=resnet --resnet_depth=18. Received: none."
        )
    run = Run(config, lambda site: teaching(site), source=source, dry=dry)
    with run.strategy.scope():
        teacher = _loaded(config)
    run.source = run.source.decoded_to(teacher.channels)
    require_channels(run.source, teacher)
    teaching = FeatureDistilling(config, teacher)
    return run


@dataclasses.dataclass(frozen=True)
class FeatureDistilling:
    """How a distillation from features is prepared.

    Args:
        config: of the run.
        teacher: loaded.
    """

    config: FeatureDistillConfig
    teacher: Trained

    def __call__(self, site: Site) -> PreparedStudent:
        """The run at its site: see `Prepared`."""
        config = self._sized(site.source)
        config = settled(config, site.source, site.strategy, stored=site.stored)
        plan = make_plan(config, site.source)
        check_same_data(config, site.source, plan, site.strategy)
        split = eval_split(config, site.source)
        if split is None:
            logging.info("%s has no held-out split: no kNN. Hold a part out: " + HOLD_OUT, site.source.name)
        rule = data.Preprocessing.of_run(config.encoder, config.data)
        source = site.source.rendered(rule.rendering(site.source.rendering))
        policy = augment.policy_from_config(config.augmentation)
        views = FixedViews(Numbered(source), config.data.train_split, policy.geometries[0], config.feature_views)
        cache = self._cache(site, views)
        keras.utils.set_random_seed(config.loop.seed)
        with site.strategy.scope(), precision(config.loop.mixed_precision):
            model = Student(
                build_encoder(config.encoder, image_size=config.data.image_size, channels=source.channels),
                cache.width,
                config,
                queue_size=_queue_size(config, plan.num_examples),
                view=policy.views[0],
            )
            compile_model(model, config.optimizer, config.loop, plan)
        return PreparedStudent(
            config=config, source=source, plan=plan, model=model,
            cost=estimate_classifier(model, config, site.replicas),
            split=split, preprocessing=rule, teacher=self.teacher, teacher_size=self.size, views=views, cache=cache,
        )  # fmt: skip

    @functools.cached_property
    def size(self) -> int:
        """Height and width of the teacher's images."""
        told = str(self.teacher.facts.get("image_size", ""))
        published = int(told) if told.isdecimal() else _USUAL_SIZE
        return self.config.teacher_image_size or own_size(self.teacher) or published

    @functools.cached_property
    def facts(self) -> dict[str, Any]:
        """What the teacher's features depend on, of the teacher."""
        shape = getattr(self.teacher.encoder, "output_shape", None)
        if shape is None:  # a SavedModel's graph
            shape = self.teacher(tf.zeros([1, self.size, self.size, self.teacher.channels])).shape
        rule = self.teacher.preprocessing
        taken = {"mean": rule.mean, "std": rule.std, "reverse_channels": rule.reverse_channels}
        return {"weights": self.teacher.fingerprint(), "width": int(shape[-1]), "image_size": self.size, **taken}

    def _sized(self, source: data.Source) -> FeatureDistillConfig:
        """The config with the size of the student's images."""
        config = self.config
        if config.data.image_size is not None:
            return config
        held = source.arrays(config.data.train_split)
        size = held[0].shape[1] if held is not None else own_size(self.teacher) or DataConfig().image_size
        logging.info("The student's images have %d pixels a side.", size)
        return config.changed(data=dataclasses.replace(config.data, image_size=size))

    def _cache(self, site: Site, views: FixedViews) -> FeatureCache:
        config, count = self.config, views.source.num_examples(views.split)
        seen = {"count": views.count, "seed": views.seed, **dataclasses.asdict(views.geometry)}
        facts = {"teacher": self.facts, "views": seen, "images": _facts_of(views.source, views.split)}
        directory = config.feature_cache or os.path.join(site.directory.path or "output_dir", CACHE)
        return FeatureCache(directory, facts, images=count, views=views.count, width=self.facts["width"])


@dataclasses.dataclass(frozen=True, kw_only=True)
class PreparedStudent(Prepared):
    """A distillation from features, prepared.

    Attributes:
        split: the held-out images; None: there are none.
        preprocessing: how the student's images are cropped and resized.
        teacher, teacher_size: the encoder, and height and width of its images.
        views: crops and flips, the same for both.
        cache: what the teacher says of them.
    """

    split: str | None
    preprocessing: data.Preprocessing
    teacher: Trained
    teacher_size: int
    views: FixedViews
    cache: FeatureCache

    @property
    def title(self) -> str:
        return "distilling"

    def batches(self, start_step: int) -> tf.data.Dataset:
        """One view of each image, with the teacher's features of it, read from disk."""
        loop = self.config.loop
        batches = self.views.train_batches(
            batch_size=loop.train_batch_size,
            image_size=self.config.data.image_size,
            seed=loop.seed,
            start_step=start_step,
        )
        shape = [loop.train_batch_size, self.cache.width]

        @as_written
        def with_target(batch):
            rows = tf.numpy_function(self.cache.rows, [batch["index"], batch["view"]], tf.float32)
            return {"views": batch["views"], "seeds": batch["seeds"], "target": tf.ensure_shape(rows, shape)}

        return batches.map(with_target, **PARALLEL).prefetch(tf.data.AUTOTUNE)

    def first_views(self, batches: tf.data.Dataset, count: int = 8) -> list[tf.Tensor]:
        batch = next(iter(batches))
        return [self.model.view(batch["views"][0][:count], batch["seeds"][:count, 0])]

    def measuring(self) -> Accuracy:
        return Accuracy(self.measure, every_epochs=self.config.eval_epochs, last_step=self.plan.steps)

    def write_parts(self, directory: ModelDir) -> None:
        """network.json: what the directory needs to be read without its data or its teacher."""
        facts = {
            "encoder": keras.saving.serialize_keras_object(self.model.encoder),
            "preprocessing": dataclasses.asdict(self.preprocessing),
        }
        write_json(directory.network, facts)

    def make_ready(self, say: Callable[[str], None]) -> None:
        """The teacher's features that are not on disk yet; the first of them fill the queue of a new run."""
        strategy, cache = self.model.distribute_strategy, self.cache
        shards = cache.missing()
        if not distribute.agree(strategy, len(shards)):
            raise InputError(
                "`feature_cache` must be a directory that all workers share, as on network storage. "
                f"Received: {cache.directory!r}, which does not hold the same everywhere."
            )
        if shards:
            name, views = self.teacher.name, f"{cache.views} views of {cache.images:,} images"
            say(f"features of {views}, {cache.bytes / 1e6:,.1f} MB, by {name}")
            with strategy.scope():
                cache.fill(
                    self._ask,
                    shards,
                    write=distribute.is_chief(),
                    say=lambda done: say(f"features of {done:,} of {cache.images:,} images"),
                )
        distribute.agree(strategy, 0)  # nobody reads before the chief has written
        queue = self.model.queue
        if queue is not None:
            places = np.arange(queue.size) * (cache.images * cache.views) // queue.size
            queue.rows.assign(cache.rows(places // cache.views, places % cache.views))

    def _ask(self, first: int, count: int) -> np.ndarray:
        """The teacher's features of all views of some images, `[count, V, D]`."""
        cache = self.cache
        batch = max(1, self.config.loop.eval_batch_size // cache.views)
        images = self.views.of_images(first, count, batch_size=batch, image_size=self.teacher_size)
        return self._extract_teacher(images)[0].reshape(count, cache.views, cache.width)

    @functools.cached_property
    def _extract_teacher(self) -> evaluate.FeatureExtractor:
        return evaluate.FeatureExtractor(self.teacher)

    @functools.cached_property
    def _extract_student(self) -> evaluate.FeatureExtractor:
        return evaluate.FeatureExtractor(self.model.encoder)

    def measure(self) -> dict[str, float]:
        """What student and teacher are worth on held-out images."""
        memory, queries = self._features(self._extract_student, self.preprocessing, self.config.data.image_size)
        found = self._worth(memory, queries)
        teachers, shown = self._of_teacher
        found |= {f"teacher_{name}": shown[name] for name in ("knn_top1", "effective_rank") if name in shown}
        if "knn_top1" in found:
            found["knn_kept"] = found["knn_top1"] / max(shown["knn_top1"], 1e-12)
        mine = projected(self.model.head, queries[0])
        found["feature_cosine"] = float(np.mean(_cosines(mine, teachers)))
        return {name: float(value) for name, value in found.items()}

    @functools.cached_property
    def _of_teacher(self) -> tuple[np.ndarray, dict[str, float]]:
        """The teacher's features of the held-out images, and what it is worth."""
        memory, queries = self._features(self._extract_teacher, self.teacher.preprocessing, self.teacher_size)
        return queries[0], self._worth(memory, queries)

    def _features(
        self, extract: evaluate.FeatureExtractor, rule: data.Preprocessing, size: int
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """Features and labels of the images that are trained on, and of the held-out ones (else of the first again)."""
        config = self.config
        train = config.data.train_split
        if "[" not in train and self.source.num_examples(train) > MOST:
            train = f"{train}[:{MOST}]"
        found: list[tuple[np.ndarray, np.ndarray]] = []
        for split in (train, self.split):
            if split is None:
                found.append(found[0])
                continue
            how = {"batch_size": config.loop.eval_batch_size, "image_size": size, "preprocessing": rule}
            found.append(extract(data.eval_batches(self.source, split, limit=MOST, **how)))
        return found

    def _worth(self, memory: tuple[np.ndarray, np.ndarray], queries: tuple[np.ndarray, np.ndarray]) -> dict[str, float]:
        """kNN with its interval, where there are labels to measure by, and the effective rank."""
        found = {"effective_rank": evaluate.effective_rank(queries[0])}
        (train, labels), (test, asked) = memory, queries
        known = labels >= 0
        may_ask = np.isin(asked, np.unique(labels[known]))
        if self.source.num_classes is None or self.split is None or not may_ask.any():
            return found
        labelled = evaluate.LabelledFeatures(
            train[known], labels[known], test[may_ask], asked[may_ask], self.source.num_classes
        )
        config = self.config
        return evaluate.KNN(k=config.knn_k, temperature=config.knn_temperature).measure(labelled) | found


def _loaded(config: FeatureDistillConfig) -> Trained:
    if not storage.exists(config.teacher) and not storage.exists(f"{config.teacher}.index"):
        raise InputError(
            "`teacher` must be the directory of a run, an export, or published weights. "
            f"Received: {config.teacher!r}, where nothing is."
        )
    return load(config.teacher, image_size=config.teacher_image_size)


def _queue_size(config: FeatureDistillConfig, images: int) -> int:
    batch = config.loop.train_batch_size
    if config.queue_size is None:
        return batch * max(1, min(_QUEUED, images) // batch)
    if config.feature_loss == "similarity":
        check_memory_size("queue_size", config.queue_size, batch)
    return config.queue_size


def _facts_of(source: data.Source, split: str) -> dict[str, Any]:
    """What tells a split's images, in their order, from others: their pixels, or the files that hold them."""
    digest, held = hashlib.sha256(), source.arrays(split)
    if held is not None:
        digest.update(np.ascontiguousarray(held[0]))
    elif source.files:
        for path in source.files:
            digest.update(f"{os.path.basename(path)} {storage.stamp(path)}\n".encode())
    else:
        for reference, _ in source.references(split).as_numpy_iterator():
            digest.update(reference + b"\n")
    return {"split": split, "count": source.num_examples(split), "channels": source.channels,
            "digest": digest.hexdigest()[:16]}  # fmt: skip


def _cosines(some: np.ndarray, others: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(some, axis=1) * np.linalg.norm(others, axis=1)
    return np.sum(some * others, axis=1) / np.maximum(lengths, 1e-12)
