"""The numbers of a run: those that follow from its config and its data, and those that nobody asked for."""

from __future__ import annotations

import dataclasses
from typing import Any, TypeVar

from absl import logging

from tfcontrastive import data, methods, optimizers
from tfcontrastive.config import InputError, LoopConfig, RunSettings, TrainConfig

Settings = TypeVar("Settings", bound=RunSettings)


@dataclasses.dataclass(frozen=True)
class Plan:
    """The numbers of a run that follow from its config and the size of its data."""

    num_examples: int
    steps: int
    epoch_steps: int
    execution_steps: int
    warmup_steps: int
    checkpoint_steps: int
    peak_learning_rate: float
    schedule: Any

    @classmethod
    def make(cls, config: RunSettings, num_examples: int) -> Plan:
        config, _ = filled_in(config, num_examples)
        loop, batch = config.loop, config.loop.train_batch_size
        steps = loop.train_steps or optimizers.train_steps(num_examples, batch, loop.train_epochs)
        warmup = optimizers.warmup_steps(num_examples, batch, config.optimizer.warmup_epochs)
        together = loop.steps_per_execution
        epoch_steps = together * max(1, round(num_examples / batch / together))
        peak = optimizers.scaled_learning_rate(
            config.optimizer.learning_rate, batch, config.optimizer.learning_rate_scaling
        )
        return cls(
            num_examples=num_examples,
            steps=steps,
            epoch_steps=epoch_steps,
            warmup_steps=warmup,
            execution_steps=together,
            checkpoint_steps=loop.checkpoint_steps or loop.checkpoint_epochs * epoch_steps,
            peak_learning_rate=peak,
            schedule=optimizers.learning_rate_schedule(peak, steps=steps, warmup_steps=warmup),
        )

    def segments(self, first_step: int) -> list[tuple[int, int, int]]:
        """Calls of `fit` that lead from a step to the end: (first epoch, last epoch, steps an epoch).

        Epochs are whole but for the one that a resumed run starts in and the one that ends the run. What is left of those
        beside whole executions of several steps is a call of its own.
        """
        parts, step = [], first_step
        while step < self.steps:
            epoch, inside = divmod(step, self.epoch_steps)
            whole = (self.steps - step) // self.epoch_steps
            if inside or not whole:
                length = min(self.epoch_steps - inside, self.steps - step)
                if length > self.execution_steps:
                    length -= length % self.execution_steps
                parts.append((epoch, epoch + 1, length))
                step += length
            else:
                parts.append((epoch, epoch + whole, self.epoch_steps))
                step += whole * self.epoch_steps
        return parts


def filled_in(
    config: Settings, num_examples: int, *, replicas: int = 1, stored: dict[str, Any] | None = None
) -> tuple[Settings, list[str]]:
    """The config with the numbers that were not asked for.

    The batch is the default of this kind of run, or all images where there are fewer; the warm-up is the default, or a
    tenth of a run that is shorter than ten times that. A run that goes on keeps what it has.

    Args:
        config: of a run.
        num_examples: images to train on.
        replicas: that share a batch.
        stored: the run that goes on, as `nested` gives it.

    Returns:
        the config, and a sentence about each number that is not the usual one.
    """
    notes, usual = [], config.defaults
    loop, optimizer = config.loop, config.optimizer
    held = {group: (stored or {}).get(group) or {} for group in ("loop", "optimizer")}
    if loop.train_batch_size is None:
        batch = held["loop"].get("train_batch_size")
        if batch is None or batch > num_examples:
            batch = usual.train_batch_size
            if batch > num_examples:
                batch = max(num_examples // replicas * replicas, 2)
                notes.append(f"A batch is {batch:,} of the {num_examples:,} images, not {usual.train_batch_size:,}.")
        loop = dataclasses.replace(loop, train_batch_size=batch)
    if optimizer.warmup_epochs is None:
        warmup = held["optimizer"].get("warmup_epochs")
        if warmup is None:
            epochs: float = loop.train_epochs
            if loop.train_steps:
                epochs = loop.train_steps * loop.train_batch_size / num_examples
            warmup = usual.warmup_epochs
            if usual.at_most_a_tenth or warmup >= epochs:
                warmup = min(warmup, epochs / 10)
            if warmup != usual.warmup_epochs:
                notes.append(f"The warm-up is {warmup:.3g} epochs, a tenth of the run, not {usual.warmup_epochs:g}.")
        optimizer = dataclasses.replace(optimizer, warmup_epochs=warmup)
    return config.changed(loop=loop, optimizer=optimizer), notes


def with_numbers(
    config: Settings, source: data.Source, replicas: int, *, stored: dict[str, Any] | None = None
) -> Settings:
    """The config of a run on a source: `filled_in`, told of in the log, and checked.

    Raises:
        InputError: a batch that does not divide over the replicas, or that the method cannot take.
    """
    num_examples = source.num_examples(config.data.train_split)
    config, notes = filled_in(config, num_examples, replicas=replicas, stored=stored)
    for note in notes:
        logging.info("%s", note)
    check_batch(config, replicas, num_examples)
    return config


def check_batch(config: RunSettings, replicas: int, num_examples: int | None = None) -> None:
    """The global batch must divide over its replicas, a replica's share over what divides that, and suit the method.

    Args:
        config: of a run; where it names no batch there is nothing to check yet.
        replicas: that share the batch.
        num_examples: images to train on, where that is known.
    """
    loop, batch = config.loop, config.loop.train_batch_size
    if batch is None:
        return
    if batch % replicas:
        raise InputError(
            f"`train_batch_size` must be a multiple of the number of replicas, {replicas}. "
            f"Received: train_batch_size={batch}."
        )
    share = batch // replicas
    if isinstance(loop, LoopConfig):
        for name in ("micro_batch_size", "gradient_accumulation_steps"):
            value = getattr(loop, name)
            if value and share % value:
                raise InputError(f"`{name}` must divide a replica's {share} images. Received: {name}={value}.")
        if loop.micro_batch_size and replicas > 1 and config.encoder.norm == "batch" and config.encoder.global_bn:
            raise InputError(
                "`micro_batch_size` on several replicas needs --norm=group, or batch norm of each replica's own images "
                f"(--global_bn=false). Received: norm=batch, global_bn=True on {replicas} replicas."
            )
    if isinstance(config, TrainConfig):
        cls = methods.method_class(config.method)
        own = config.method_config or cls.Config()
        cls.check(own, batch_size=batch, replicas=replicas, num_examples=num_examples)


def check_length(config: RunSettings, plan: Plan) -> None:
    """A batch must not be larger than the data, and a warm-up must end before the run does."""
    if config.loop.train_batch_size > plan.num_examples:
        raise InputError(
            f"`train_batch_size` must be at most the number of training images, {plan.num_examples}. "
            f"Received: train_batch_size={config.loop.train_batch_size}. Left out, it is chosen by the data."
        )
    if plan.warmup_steps and plan.warmup_steps >= plan.steps:
        raise InputError(
            f"`warmup_epochs` must be shorter than the run, or the learning rate never reaches its peak. Received: "
            f"warmup_epochs={config.optimizer.warmup_epochs:g}, {plan.warmup_steps} steps of {plan.steps}. Left out, it is "
            "at most a tenth of the run."
        )
