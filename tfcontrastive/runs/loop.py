"""The one life of a run, which pre-training, fine-tuning and distillation share: prepared, claimed, fitted, measured."""

from __future__ import annotations

import abc
import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import keras
import tensorflow as tf
from absl import logging

from tfcontrastive import data, distribute, storage
from tfcontrastive.callbacks import Checkpoints, Interruption, NanGuard, Progress, Summaries
from tfcontrastive.callbacks.loggers import RunLogger, check_logger
from tfcontrastive.callbacks.summaries import read_history
from tfcontrastive.config import InputError, RunSettings, differences, nested
from tfcontrastive.models.checkpoint_files import move_newer_aside, sweep
from tfcontrastive.planning.cost import Cost, check_memory
from tfcontrastive.runs.inputs import load_source, make_strategy
from tfcontrastive.runs.model_dir import ModelDir, write_json
from tfcontrastive.runs.schedule import Plan
from tfcontrastive.system.directory_lock import DirectoryLock
from tfcontrastive.system.signals import Stopped
from tfcontrastive.system.terminal import say


@dataclasses.dataclass(frozen=True)
class Site:
    """Where a run takes place, and what it goes on with.

    Attributes:
        strategy: its devices.
        directory: its files.
        source: its images.
        stored: the settings of the run that lies in the directory and goes on; None for a new one.
        dry: it is only described: nothing is written, and no teacher is asked.
    """

    strategy: tf.distribute.Strategy
    directory: ModelDir
    source: data.Source
    stored: dict[str, Any] | None
    dry: bool = False

    @property
    def replicas(self) -> int:
        return self.strategy.num_replicas_in_sync


class Measuring(Protocol):
    """A Keras callback that adds what the model is worth to the logs of an epoch."""

    latest: dict[str, float]
    """What it said after the last step; empty before."""

    def measure(self) -> dict[str, float]:
        """What the model is worth now."""

    def set_model(self, model: keras.Model) -> None: ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prepared(abc.ABC):
    """All of a run that can fail before a file is written.

    Attributes:
        config: with everything decided.
        source: the images to train on.
        plan: its numbers.
        model: compiled, at its first weights.
        cost: of a replica.
        origin: facts of the published weights that it starts from: family, licence, ...; {} where there are none.
    """

    config: Any  # a `RunSettings`, of the kind's own class
    source: data.Source
    plan: Plan
    model: keras.Model
    cost: Cost
    origin: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def title(self) -> str:
        """Shown beside the progress."""
        return self.config.kind

    @abc.abstractmethod
    def batches(self, start_step: int) -> tf.data.Dataset:
        """The endless batches of the run from a step on."""

    @abc.abstractmethod
    def first_views(self, batches: tf.data.Dataset, count: int = 8) -> list[tf.Tensor]:
        """What the network sees of the first images, V tensors `[count, H, W, C]`."""

    @abc.abstractmethod
    def measuring(self) -> Measuring:
        """A new callback that measures the model."""

    def write_parts(self, directory: ModelDir) -> None:
        """What a directory needs beside config and checkpoints, written by the chief before the first step."""
        del directory

    def make_ready(self, say: Callable[[str], None]) -> None:
        """What must be worked out before the first step, by every process; the directory is the run's by then.

        Args:
            say: takes a line of progress.
        """
        del say


@dataclasses.dataclass(frozen=True)
class Finished:
    """What came out of a run: as it was prepared, its metrics at the end, its first views, and seconds of training."""

    prepared: Any
    metrics: dict[str, float]
    views: list[tf.Tensor]
    seconds: float


class Run:
    """One run, in one directory.

    Args:
        config: of the run; `loop.model_dir` is needed.
        prepare: makes what the kind of run has of its own.
        source: images; default: the config's.
        dry: only described; needs no directory.

    Raises:
        InputError: no directory; devices, flags of workers or images that cannot be had.

    Examples:
        >>> from tfcontrastive.runs.pretrain import pretraining
        >>> config = tfcontrastive.TrainConfig(
        ...     method_config=tfcontrastive.SimCLRConfig(),
        ...     data=tfcontrastive.DataConfig(dataset="embedded", image_size=28),
        ...     encoder=tfcontrastive.EncoderConfig(resnet_depth=18, width_multiplier=0.25),
        ...     loop=tfcontrastive.LoopConfig(model_dir="runs/b", train_epochs=10),
        ... )
        >>> metrics = pretraining(config).train().metrics
    """

    @distribute.names_lost_workers()
    def __init__(
        self,
        config: RunSettings,
        prepare: Callable[[Site], Prepared],
        *,
        source: data.Source | None = None,
        dry: bool = False,
    ):
        self.config, self.dry = config, dry
        self._prepare = prepare
        self.argument = "model_dir" if config.kind == "pretrain" else "output_dir"
        if config.loop.model_dir is None and not dry:
            raise InputError(f"`{self.argument}` must be given. Received: {self.argument}=None.")
        if distribute.is_chief():  # who alone logs
            check_logger(config.loop.log_to)
        self.directory = ModelDir(config.loop.model_dir or "")
        if config.loop.deterministic:
            tf.config.experimental.enable_op_determinism()
        self.strategy = make_strategy(config)
        self.source = source or load_source(config, fetch=not dry)

    def prepare(self, *, anew: bool = False) -> Any:
        """Everything that can fail before a file is written.

        Args:
            anew: the run that lies in the directory is moved aside afterwards.
        """
        stored = self.directory.stored() if self.directory.path and not anew else None
        prepared = self._prepare(Site(self.strategy, self.directory, self.source, stored, self.dry))
        check_memory(prepared.cost, self.strategy.num_replicas_in_sync)
        return prepared

    @distribute.names_lost_workers()
    def train(
        self,
        *,
        overwrite: bool = False,
        allow_config_change: bool = False,
        callbacks: Sequence[keras.callbacks.Callback] = (),
        title: str | None = None,
        say: Callable[[str], None] = say,
        lock: DirectoryLock | None = None,
    ) -> Finished:
        """Trains to the end, from the newest checkpoint if there is one, measures, and writes what came out.

        Args:
            overwrite, allow_config_change: what to do with another run's directory, see `ModelDir.claim`.
            callbacks: more Keras callbacks; what they add to the logs of an epoch is written.
            title: shown beside the progress; default: the kind of run, or its method.
            say: takes the lines of progress where the output is not a terminal; default: they go to stderr.
            lock: of the directory, where the caller has it; default: the chief takes it meanwhile.

        Raises:
            InputError: anything in the config, the data or the directory that cannot work, one that another process trains
                in, and a loss that is not finite.
            Stopped: SIGTERM or SIGHUP came; the run is saved.
        """
        with self._alone(lock) as held:
            prepared = self.prepare(anew=overwrite)
            self._claim(prepared, held, overwrite=overwrite, allow_config_change=allow_config_change)
            if self.source.check(self.directory.bad_files):  # fewer images, hence other steps
                prepared = self.prepare()
            if distribute.is_chief():
                prepared.write_parts(self.directory)
                self._write_origin(prepared.origin)
            prepared.make_ready(say)
            measuring = prepared.measuring()
            measuring.set_model(prepared.model)
            first = prepared.batches(0)
            views = prepared.first_views(first)
            seconds = fit(
                prepared,
                self.directory,
                lambda step: prepared.batches(step) if step else first,  # a pipeline takes a second to build
                title=title or prepared.title,
                views=views,
                callbacks=[measuring, *callbacks],
                say=say,
            )
            metrics = measuring.latest or (measuring.measure() if distribute.is_chief() else {})
            self._write(prepared.plan.steps, metrics)
        return Finished(prepared, metrics, views, seconds)

    def evaluate(self) -> dict[str, float]:
        """Metrics of the newest checkpoint, without training; written as those of `train`.

        Raises:
            InputError: the directory holds no run of this config, or no checkpoint.
        """
        stored = self.directory.read_config()
        prepared = self.prepare()
        changed = differences(stored, prepared.config)
        if changed:
            raise InputError(
                f"`{self.argument}` {self.directory.path!r} was written with another configuration: {sorted(changed)}."
            )
        steps = prepared.plan.steps
        checkpoints = Checkpoints(self.directory.checkpoints, every_steps=steps, last_step=steps)
        step = checkpoints.restore(prepared.model, prepared.config.loop.restore_step)
        if not step:
            raise InputError(f"`{self.argument}` must hold a checkpoint. Received: {self.directory.path!r}.")
        measuring = prepared.measuring()
        measuring.set_model(prepared.model)
        metrics = measuring.measure()
        self._write(step, metrics)
        return metrics

    def _alone(self, lock: DirectoryLock | None) -> contextlib.AbstractContextManager[DirectoryLock | None]:
        """The lock of the directory, which the chief takes where the caller has not."""
        if lock is not None or not distribute.is_chief():
            return contextlib.nullcontext(lock)
        return DirectoryLock(self.argument, self.directory.path)

    def _claim(self, prepared: Prepared, lock: DirectoryLock | None, **how: bool) -> None:
        """The chief claims the directory; no worker looks for checkpoints there before."""
        if distribute.is_chief():
            self.directory.claim(prepared.config, prepared.source.spec, **how)
            if lock is not None:
                lock.take()  # of a directory that is new, or has taken the place of one that was moved aside
            self.directory.sweep()
            sweep(self.directory.checkpoints)
        distribute.agree(self.strategy, 0)

    def _write_origin(self, facts: Mapping[str, Any]) -> None:
        """Whose weights these were goes with what is made of them: their licence holds for it too."""
        if facts and not storage.exists(self.directory.origin):
            start = "learned from those of "
            family = str(facts.get("family"))
            write_json(self.directory.origin, {**facts, "family": start + family.removeprefix(start)})

    def _write(self, step: int, metrics: dict[str, float]) -> None:
        if distribute.is_chief():
            write_json(self.directory.result, {"step": step, **metrics})


def fit(
    prepared: Prepared,
    directory: ModelDir,
    batches: Callable[[int], tf.data.Dataset],
    *,
    title: str,
    views: Sequence[tf.Tensor],
    callbacks: Sequence[keras.callbacks.Callback],
    say: Callable[[str], None],
) -> float:
    """Trains a prepared model to the end of its plan, from the newest checkpoint of its directory if there is one.

    Args:
        prepared: the run.
        directory: its files.
        batches: the endless batches from a step on.
        title: shown beside the progress.
        views: pictures of what the network sees, for TensorBoard.
        callbacks: what adds to the logs of an epoch; called before they are written.
        say: as in `Run.train`.

    Returns:
        the seconds of training, in this process and those before it.
    """
    config, model, plan, loop = prepared.config, prepared.model, prepared.plan, prepared.config.loop
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
        directory.record(config, prepared.source.spec)
        if loop.restore_step is not None:
            move_newer_aside(directory.checkpoints, first_step, directory.history)
    if first_step:
        logging.info("Going on from step %d of %d.", first_step, plan.steps)
    logger = _logger(config, directory, first_step)
    summaries = Summaries(
        directory.logs,
        directory.history,
        batch_size=loop.train_batch_size,
        every_steps=loop.train_summary_steps,
        first_step=first_step,
        logger=logger,
    )
    if views:
        summaries.write_views(views, step=0)
    progress = Progress(title, first_step=first_step, last_step=plan.steps, batch_size=loop.train_batch_size, say=say)
    without = "" if loop.restore_step is None else ", without --restore_step,"
    interruption = Interruption(checkpoints, f"Start the same command again{without} to go on.")
    guard = NanGuard(directory.checkpoints)
    status = "failed"
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
                    callbacks=[guard, *callbacks, summaries, checkpoints, progress, interruption],
                )
        status = "finished"
    except (Stopped, KeyboardInterrupt):
        status = "stopped"
        raise
    finally:
        progress.close()
        if logger is not None:
            logger.finish(status)
    history = read_history(directory.history) if distribute.is_chief() else []
    seconds = history[-1].get("seconds") if history else None
    return seconds if isinstance(seconds, float) else summaries.seconds()


def _logger(config: RunSettings, directory: ModelDir, first_step: int) -> RunLogger | None:
    """The user's own logger, where there is one; the chief's alone."""
    if config.loop.log_to is None or not distribute.is_chief():
        return None
    params = {".".join(path): value for path, value in _leaves(nested(config))}
    return RunLogger(config.loop.log_to, directory.path, params, may_fail=first_step > 0)


def _leaves(values: dict[str, Any], before: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _leaves(value, (*before, name))
        else:
            yield (*before, name), value
