"""Pre-training: an encoder learns from views of images without labels."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import keras
import tensorflow as tf
from absl import logging

from tfcontrastive import data, evaluate, methods
from tfcontrastive.callbacks import Monitor
from tfcontrastive.config import EncoderConfig, InputError, TrainConfig
from tfcontrastive.encoders.rebuild import copy_weights, differing
from tfcontrastive.encoders.whitening import whitening_of
from tfcontrastive.planning.cost import estimate
from tfcontrastive.runs.agreement import check_same_data
from tfcontrastive.runs.builders import build_model, check_network
from tfcontrastive.runs.inputs import HOLD_OUT, eval_split, make_plan
from tfcontrastive.runs.loop import Prepared, Run, Site
from tfcontrastive.runs.reprs import as_html, in_words
from tfcontrastive.runs.schedule import Plan
from tfcontrastive.runs.settle import settled
from tfcontrastive.system.directory_lock import DirectoryLock
from tfcontrastive.system.terminal import say


class Start(Protocol):
    """What a run may start from; `Trained` is one."""

    name: str
    encoder: keras.Model
    projection_head: keras.layers.Layer | None
    config: EncoderConfig | None


@dataclasses.dataclass(frozen=True)
class TrainResult:
    """A trained model, the metrics at its end, its images and first views, and the seconds it trained for."""

    config: TrainConfig
    model: methods.ContrastiveModel
    metrics: dict[str, float]
    source: data.Source
    plan: Plan
    views: list[tf.Tensor]
    seconds: float

    def __repr__(self) -> str:
        return in_words(self, self.config.method, self.plan.steps)

    def _repr_html_(self) -> str:
        return as_html(self.metrics)


def train(
    config: TrainConfig,
    *,
    overwrite: bool = False,
    allow_config_change: bool = False,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    title: str | None = None,
    start: Start | None = None,
    source: data.Source | None = None,
    say: Callable[[str], None] = say,
    lock: DirectoryLock | None = None,
) -> TrainResult:
    """Trains an encoder, or goes on where a run in the same `model_dir` stopped.

    Keras' global seed is set to the config's, for the first weights; views and data order have seeds of their own.

    Args:
        config: the run; `loop.model_dir` is needed.
        overwrite, allow_config_change: what to do with another run's directory, see `ModelDir.claim`.
        callbacks: more Keras callbacks, such as `callbacks.Evaluate`; what they add to the logs of an epoch is written.
        title: shown beside the progress; default: the method.
        start: an encoder whose weights the run starts from, as `load_trained` gives it, and its projection head where it
            fits; `config.encoder` must be the same network. None starts at random.
        source: the images; default: the config's.
        say: takes the lines of progress where the output is not a terminal; default: they go to stderr.
        lock: of the directory, where the caller has it already.

    Raises:
        InputError: anything in the config, the data or the directory that cannot work, one that another process trains in,
            and a loss that is not finite.

    Examples:
        >>> config = TrainConfig(
        ...     method_config=tfcontrastive.SimCLRConfig(),
        ...     data=tfcontrastive.DataConfig(dataset="embedded", image_size=28),
        ...     encoder=EncoderConfig(resnet_depth=18, width_multiplier=0.25),
        ...     loop=tfcontrastive.LoopConfig(model_dir="runs/a", train_epochs=10),
        ... )
        >>> result = train(config)
        >>> features = result.model.predict(images)
    """
    run = pretraining(config, start=start, source=source)
    how = {"overwrite": overwrite, "allow_config_change": allow_config_change}
    done = run.train(**how, callbacks=callbacks, title=title, say=say, lock=lock)
    made = done.prepared
    return TrainResult(made.config, made.model, done.metrics, made.source, made.plan, done.views, done.seconds)


def pretraining(config: TrainConfig, *, start: Start | None = None, source: data.Source | None = None) -> Run:
    """The run of a config, to be trained or evaluated; the arguments are those of `train`."""

    def prepare(site: Site) -> Pretraining:
        # The gammas of a run that starts from other weights are theirs.
        source = images_of_run(site.source, start, site.stored)
        settings = config
        if config.loop.train_minutes:
            from tfcontrastive.runs.minutes import with_steps  # which trains, to see how fast that is

            settings = with_steps(config, source, site.strategy, stored=site.stored)
        settings = settled(settings, source, site.strategy, stored=site.stored, first_gammas=start is None)
        plan = make_plan(settings, source)
        check_same_data(settings, source, plan, site.strategy)
        if source.num_classes is None and settings.loop.lineareval_while_pretraining:
            logging.info("The data has no labels: training without the online probe and without kNN.")
        model = first_model(settings, source, plan, site.strategy, start)
        if settings.encoder.whiten_features and whitening_of(model.encoder) is None:
            logging.info("`whiten_features` has no effect: %s does not end in such a layer.", settings.encoder.encoder)
        cost = estimate(model, settings, site.replicas)
        origin = getattr(start, "facts", {})
        return Pretraining(config=settings, source=source, plan=plan, model=model, cost=cost, origin=origin)

    return Run(config, prepare, source=source)


def images_of_run(source: data.Source, start: Any, stored: Mapping[str, Any] | None = None) -> data.Source:
    """The images with the channels that a run began with, or that the encoder takes which it starts from.

    Args:
        source: of the run.
        start: as of `train`, or any with an `encoder`; None: none.
        stored: the settings of the run that goes on.
    """
    if stored is not None:
        return source.decoded_to(stored["images"]["channels"])
    return source if start is None else evaluate.taken_by(start.encoder, source)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pretraining(Prepared):
    """A pre-training, prepared."""

    @property
    def title(self) -> str:
        return self.config.method

    def batches(self, start_step: int) -> tf.data.Dataset:
        return batches(self.config, self.model, self.source, start_step)

    def first_views(self, batches: tf.data.Dataset, count: int = 8) -> list[tf.Tensor]:
        return first_views(self.model, batches, count)

    def measuring(self) -> Monitor:
        return make_monitor(self.config, self.source, self.plan)


def batches(
    config: TrainConfig, model: methods.ContrastiveModel, source: data.Source, start_step: int
) -> tf.data.Dataset:
    """The run's batches from a step on."""
    return data.train_batches(
        source,
        config.data.train_split,
        batch_size=config.loop.train_batch_size,
        image_size=config.data.image_size,
        geometry=model.policy.geometries,
        seed=config.loop.seed,
        start_step=start_step,
    )


def first_model(
    config: TrainConfig,
    source: data.Source,
    plan: Plan,
    strategy: tf.distribute.Strategy,
    start: Start | None = None,
) -> methods.ContrastiveModel:
    """The run's model with its first weights, a function of the config's seed and of what it starts from alone."""
    keras.utils.set_random_seed(config.loop.seed)
    with strategy.scope():
        model = build_model(config, source.spec, plan)
        if start is not None:
            check_network(config.encoder, start.config, start.name)
            start_from(model, start)
        return model


def start_from(model: methods.ContrastiveModel, start: Start) -> None:
    """Gives a model the encoder's weights of another, the projection head's where they fit, and its targets copies.

    Raises:
        InputError: the encoder is another network, or of other images; lists which weights differ.
    """
    theirs, ours = start.encoder.input_shape[-1], model.encoder.input_shape[-1]
    if theirs != ours:
        raise InputError(
            f"`dataset` must have images of {theirs} channels, as {start.name}. Received: {ours} channels."
        )
    copy_weights(start.encoder, model.encoder, start.name)
    head = model.projection_head
    if head is not None and start.projection_head is not None:
        if differing(start.projection_head.variables, head.variables):
            logging.info("The projection head of %s does not fit this method: it starts anew.", start.name)
        else:
            copy_weights(start.projection_head, head, start.name)
    for target, online in model.targets:
        copy_weights(online, target, start.name)


def make_monitor(config: TrainConfig, source: data.Source, plan: Plan) -> Monitor:
    """The run's monitor, on the training images that fit in its memory and the held-out split."""
    loop, split = config.loop, eval_split(config, source)
    if split is None:
        logging.info("%s has no held-out split: no kNN. Hold a part out: " + HOLD_OUT, source.name)

    def images(name: str, limit: int | None):
        return data.eval_batches(
            source,
            name,
            batch_size=loop.eval_batch_size,
            image_size=config.data.image_size,
            limit=limit,
            preprocessing=data.Preprocessing.of_run(config.encoder, config.data),
        )

    limit = loop.eval_steps * loop.eval_batch_size or None
    return Monitor(
        lambda: images(config.data.train_split, loop.knn_memory),
        (lambda: images(split, limit)) if split is not None else None,
        num_classes=source.num_classes,
        every_epochs=loop.knn_epochs,
        last_step=plan.steps,
        k=loop.knn_k,
        temperature=loop.knn_temperature,
    )


def first_views(model: methods.ContrastiveModel, batches: tf.data.Dataset, count: int = 8) -> list[tf.Tensor]:
    """The first augmented views of a dataset, V tensors `[count, H, W, C]`, as the network would see them."""
    batch = next(iter(batches))
    views = zip(model.policy.views, batch["views"], strict=True)
    return [view(images[:count], batch["seeds"][:count, i]) for i, (view, images) in enumerate(views)]
