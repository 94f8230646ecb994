"""A run by the clock: minutes of training become steps, once."""

from __future__ import annotations

import dataclasses
import time
from typing import Any

import tensorflow as tf
from absl import logging

from tfcontrastive import data, distribute
from tfcontrastive.config import InputError, TrainConfig
from tfcontrastive.runs.pace import Pace, measure_pace

MARGIN = 0.97
"""Of the minutes that are planned for, as no machine is equally fast all the time."""


def with_steps(
    config: TrainConfig,
    source: data.Source,
    strategy: tf.distribute.Strategy,
    *,
    stored: dict[str, Any] | None,
    begun: float | None = None,
) -> TrainConfig:
    """The config of a run with the steps that `train_minutes` stands for on this machine; any other config as it is.

    A run that goes on keeps the steps that it was given: its schedule, and so its result, does not depend on where it was
    stopped, nor on how fast the machine is by then. Of several workers the slowest decides.

    Args:
        config: of a run.
        source, strategy: of the run.
        stored: the settings of the run that goes on; None for a new one.
        begun: when the command began, by `time.monotonic`; what has passed since is part of the minutes. Default: now.

    Returns:
        the config with `loop.train_steps`.

    Raises:
        InputError: another length beside the minutes, or minutes for fewer than 50 steps.
    """
    begun = time.monotonic() if begun is None else begun
    config = going_on(config, stored)
    loop = config.loop
    if not loop.train_minutes or loop.train_steps:
        return config
    _, pace = measure_pace(config, source)
    steps = steps_of(loop.train_minutes, pace, spent=time.monotonic() - begun)
    steps = int(distribute.gather_from_processes(strategy)([steps]).min())
    logging.info("%g minutes: %s steps of %.3f s.", loop.train_minutes, f"{steps:,}", pace.step_seconds)
    return _of(config, steps)


def going_on(config: TrainConfig, stored: dict[str, Any] | None) -> TrainConfig:
    """The config with the steps that a run of as many minutes has recorded; any other config as it is.

    Args:
        config: of a run.
        stored: the settings of the run that goes on; None for a new one.

    Raises:
        InputError: other steps beside the minutes.
    """
    minutes, steps = config.loop.train_minutes, config.loop.train_steps
    before = (stored or {}).get("loop", {})
    known = before.get("train_steps", 0) if before.get("train_minutes") == minutes else 0
    if minutes and steps not in (0, known):
        raise InputError(
            f"`train_minutes` must be left out where train_steps is given. Received: train_minutes={minutes:g}, "
            f"train_steps={steps}."
        )
    return _of(config, known) if minutes and known else config


def steps_of(minutes: float, pace: Pace, *, spent: float = 0.0) -> int:
    """Steps of training that minutes leave time for, compiling included.

    Args:
        minutes: > 0.
        pace: of the run on this machine.
        spent: seconds of the minutes that have passed.

    Raises:
        InputError: fewer than 50.

    Examples:
        >>> steps_of(1, Pace(compile_seconds=8.2, step_seconds=0.1), spent=10)
        400
    """
    return pace.steps_in(MARGIN * 60 * minutes - spent, argument="train_minutes")


def _of(config: TrainConfig, steps: int) -> TrainConfig:
    return dataclasses.replace(config, loop=dataclasses.replace(config.loop, train_steps=steps))
