"""Pre-training, from a config to a directory with checkpoints, logs and a result."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Protocol

import keras
import tensorflow as tf
from absl import logging

from tfcontrastive import data, distribute, methods
from tfcontrastive.callbacks import Checkpoints, Interruption, Monitor, NanGuard, Progress, Summaries
from tfcontrastive.callbacks.checkpoint_files import move_newer_aside, sweep
from tfcontrastive.callbacks.summaries import read_history
from tfcontrastive.config import EncoderConfig, InputError, RunConfig, TrainConfig, differences
from tfcontrastive.encoders.rebuild import copy_weights, differing
from tfcontrastive.planning.cost import check_memory, estimate
from tfcontrastive.runs.agreement import check_same_data, shared_settings
from tfcontrastive.runs.builders import build_model, check_network
from tfcontrastive.runs.model_dir import ModelDir, write_json
from tfcontrastive.runs.schedule import Plan, check_batch, check_length
from tfcontrastive.runs.settle import settled
from tfcontrastive.system.terminal import say

HOLD_OUT = "--train_split=train[:90%%] --eval_split=train[90%%:]"  # both: else the held-out images are learned from


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


@distribute.names_lost_workers()
def train(
    config: TrainConfig,
    *,
    overwrite: bool = False,
    allow_config_change: bool = False,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    title: str | None = None,
    start: Start | None = None,
    say: Callable[[str], None] = say,
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
        say: takes the lines of progress where the output is not a terminal; default: they go to stderr.

    Raises:
        InputError: anything in the config, the data or the directory that cannot work, and a loss that is not finite.

    Examples:
        >>> config = TrainConfig(method_config=SimCLRConfig(), data=DataConfig(dataset="embedded", image_size=28),
        ...                      loop=LoopConfig(model_dir="runs/a", train_epochs=10))
        >>> result = train(config)
        >>> features = result.model.predict(images)
    """
    loop = config.loop
    if loop.model_dir is None:
        raise InputError("`model_dir` must be given. Received: model_dir=None.")
    directory = ModelDir(loop.model_dir)
    if loop.deterministic:
        tf.config.experimental.enable_op_determinism()
    strategy = make_strategy(config)
    source = load_source(config)
    asked, replicas = config, strategy.num_replicas_in_sync
    # The gammas of a run that starts from other weights are theirs.
    how = {"strategy": strategy, "first_gammas": start is None}
    config = settled(asked, source, stored=None if overwrite else directory.stored(), **how)
    plan = make_plan(config, source)
    check_same_data(config, source, plan, strategy)
    model = first_model(
        config, source, plan, strategy, start
    )  # what cannot work fails here, before anything is written
    check_memory(estimate(model, config, replicas), replicas)
    claim(directory, config, strategy, overwrite=overwrite, allow_config_change=allow_config_change)
    if source.check(directory.bad_files):  # fewer images, hence other steps
        config = settled(asked, source, stored=directory.stored(), **how)
        plan = make_plan(config, source)
        model = first_model(config, source, plan, strategy, start)

    monitor = make_monitor(config, source, plan)
    monitor.set_model(model)
    first = batches(config, model, source, 0)
    views = first_views(model, first)
    seconds = fit(
        model,
        lambda step: batches(config, model, source, step) if step else first,  # a pipeline takes a second to build
        plan,
        config,
        title=title or config.method,
        views=views,
        measure=[monitor, *callbacks],
        say=say,
    )
    metrics = monitor.latest or (monitor.measure() if distribute.is_chief() else {})
    if distribute.is_chief():
        write_json(directory.result, {"step": plan.steps, **metrics})
    return TrainResult(config, model, metrics, source, plan, views, seconds)


@distribute.names_lost_workers()
def fit(
    model: keras.Model,
    batches: Callable[[int], tf.data.Dataset],
    plan: Plan,
    config: TrainConfig,
    *,
    title: str,
    views: Sequence[tf.Tensor] = (),
    measure: Sequence[keras.callbacks.Callback] = (),
    callbacks: Sequence[keras.callbacks.Callback] = (),
    say: Callable[[str], None] = say,
) -> float:
    """Trains a compiled model to the end of its plan, from the newest checkpoint of its directory if there is one.

    Args:
        model: at its first weights.
        batches: the endless batches from a step on.
        plan, config: of the run.
        title: shown beside the progress.
        views: pictures of what the network sees, for TensorBoard.
        measure: callbacks that add to the logs of an epoch, called before the logs are written.
        callbacks: more callbacks, called last.
        say: as in `train`.

    Returns:
        the seconds of training, in this process and those before it.

    Raises:
        InputError: the newest checkpoint is of another network or past the end, or a loss or an update is not finite.
        Stopped: SIGTERM or SIGHUP came; the run is saved.
    """
    loop = config.loop
    directory = ModelDir(loop.model_dir)
    checkpoints = Checkpoints(
        directory.checkpoints,
        every_steps=plan.checkpoint_steps,
        last_step=plan.steps,
        keep=loop.keep_checkpoint_max,
        epoch_steps=plan.epoch_steps,
    )
    first_step = checkpoints.restore(model, loop.restore_step)
    if not distribute.agree(model.distribute_strategy, first_step):
        raise InputError(
            "`model_dir` must be a directory that all workers share, as on network storage. "
            f"Received: {loop.model_dir!r}, whose newest checkpoint is not the same everywhere."
        )
    if first_step > plan.steps:
        raise InputError(
            f"a run must be at least as long as it is already. Received: {plan.steps} steps, and a checkpoint of step "
            f"{first_step} in {directory.checkpoints!r}. Raise --train_epochs or --train_steps, or use another directory."
        )
    if distribute.is_chief():
        directory.record(config)
        if loop.restore_step is not None:
            move_newer_aside(directory.checkpoints, first_step, directory.history)
    if first_step:
        logging.info("Going on from step %d of %d.", first_step, plan.steps)
    summaries = Summaries(
        directory.logs,
        directory.history,
        batch_size=loop.train_batch_size,
        every_steps=loop.train_summary_steps,
        first_step=first_step,
    )
    if views:
        summaries.write_views(views, step=0)
    progress = Progress(title, first_step=first_step, last_step=plan.steps, batch_size=loop.train_batch_size, say=say)
    interruption = Interruption(checkpoints, _how_to_go_on(loop))
    guard = NanGuard(directory.checkpoints)
    try:
        with interruption.listening(model):
            for first, last, steps in plan.segments(first_step):
                together = plan.execution_steps if steps % plan.execution_steps == 0 else 1
                if model.steps_per_execution != together:  # Keras would run whole executions, past the end
                    model.steps_per_execution = together
                    model.make_train_function(force=True)
                model.fit(
                    batches(distribute.step_of(model)),
                    initial_epoch=first,
                    epochs=last,
                    steps_per_epoch=steps,
                    shuffle=False,
                    verbose=0,
                    callbacks=[guard, *measure, summaries, checkpoints, progress, *callbacks, interruption],
                )
    finally:
        progress.close()
    history = read_history(directory.history) if distribute.is_chief() else []
    seconds = history[-1].get("seconds") if history else None
    return seconds if isinstance(seconds, float) else summaries.seconds()


def _how_to_go_on(loop: RunConfig) -> str:
    without = "" if loop.restore_step is None else ", without --restore_step,"
    return f"Start the same command again{without} to go on."


def evaluate_run(config: TrainConfig) -> dict[str, float]:
    """Metrics of a run's newest checkpoint, without training; written to its result.json.

    Raises:
        InputError: where `model_dir` holds no run of this config, or no checkpoint.
    """
    directory = ModelDir(config.loop.model_dir or "")
    stored = directory.read_config()
    strategy = make_strategy(config)
    source = load_source(config)
    config = settled(config, source, strategy, stored=stored)
    changed = differences(stored, config)
    if changed:
        raise InputError(f"`model_dir` {directory.path!r} was written with another configuration: {sorted(changed)}.")
    plan = make_plan(config, source)
    with strategy.scope():
        model = build_model(config, source, plan)
    checkpoints = Checkpoints(directory.checkpoints, every_steps=plan.steps, last_step=plan.steps)
    step = checkpoints.restore(model, config.loop.restore_step)
    if not step:
        raise InputError(f"`model_dir` must hold a checkpoint. Received: {directory.path!r}.")
    monitor = make_monitor(config, source, plan)
    monitor.set_model(model)
    metrics = monitor.measure()
    write_json(directory.result, {"step": step, **metrics})
    return metrics


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


def make_strategy(config: TrainConfig) -> tf.distribute.Strategy:
    """The strategy of a run; the global batch must divide over its replicas."""
    loop, strategy = config.loop, distribute.strategy_of(config.loop)
    distribute.check_alike(strategy, shared_settings(config), "flags and version", loop.cluster_timeout)
    check_batch(config, strategy.num_replicas_in_sync)
    if loop.steps_per_execution > 1 and not distribute.loops(strategy):
        raise InputError(
            "`steps_per_execution` must be 1 on several replicas, but for TPUs: Keras' loop of steps cannot hold their "
            f"collectives. Received: steps_per_execution={loop.steps_per_execution} on "
            f"{strategy.num_replicas_in_sync} replicas."
        )
    return strategy


def claim(directory: ModelDir, config: TrainConfig, strategy: tf.distribute.Strategy, **how: bool) -> None:
    """The chief claims a run's directory; no worker looks for checkpoints there before."""
    if distribute.is_chief():
        directory.claim(config, **how)
        directory.sweep()
        sweep(directory.checkpoints)
    distribute.agree(strategy, 0)


def load_source(config: TrainConfig, *, fetch: bool = True) -> data.Source:
    """The run's images; `fetch=False` downloads nothing, see `data.load`."""
    wanted = config.data
    return data.load(
        wanted.dataset,
        data_dir=wanted.data_dir,
        cache=wanted.cache_dataset,
        background_color=wanted.background_color,
        intensity_range=wanted.intensity_range,
        max_bad_files=wanted.max_bad_files,
        fetch=fetch,
    )


def make_plan(config: TrainConfig, source: data.Source) -> Plan:
    """The run's numbers; they must fit one another, and a held-out split that is named must exist."""
    eval_split(config, source)
    plan = Plan.make(config, source.num_examples(config.data.train_split))
    check_length(config, plan)
    return plan


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
        model = build_model(config, source, plan)
        if start is not None:
            check_network(config.encoder, start.config, start.name)
            start_from(model, start)
        return model


def start_from(model: methods.ContrastiveModel, start: Start) -> None:
    """Gives a model the encoder's weights of another, the projection head's where they fit, and its targets copies.

    Raises:
        InputError: the encoder is another network; lists which weights differ.
    """
    copy_weights(start.encoder, model.encoder, start.name)
    head = getattr(model, "projection_head", None)
    if head is not None and start.projection_head is not None:
        if differing(start.projection_head.variables, head.variables):
            logging.info("The projection head of %s does not fit this method: it starts anew.", start.name)
        else:
            copy_weights(start.projection_head, head, start.name)
    for target, online in model.targets:
        copy_weights(online, target, start.name)


def eval_split(config: TrainConfig, source: data.Source) -> str | None:
    """The held-out split: the one asked for, else `validation`, `valid`, `val` or `dev`, else `test`, else none."""
    wanted, unlabelled = config.data.eval_split, getattr(source, "unlabelled_splits", ())
    if wanted is None:
        usual = ("validation", "valid", "val", "dev", "test")
        return next((name for name in usual if name in source.splits and name not in unlabelled), None)
    source.num_examples(wanted)
    if wanted.partition("[")[0] in unlabelled:
        raise InputError(
            f"`eval_split` must have labels, as the rest of {source.name}. Received: eval_split={wanted!r}."
        )
    return wanted


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
