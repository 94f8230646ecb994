"""How long a run may be: its rate on this machine, measured in a few steps of a model that is thrown away."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable

import keras
import tensorflow as tf

from tfcontrastive import data
from tfcontrastive.config import InputError, TrainConfig
from tfcontrastive.distribute import step_of
from tfcontrastive.encoders.whitening import whitening_of
from tfcontrastive.runs.inputs import load_source, make_plan, make_strategy
from tfcontrastive.runs.pretrain import batches, first_model
from tfcontrastive.runs.schedule import Plan
from tfcontrastive.runs.settle import settled

_FEWEST_STEPS = 50  # below that nothing is learned that could be shown


@dataclasses.dataclass(frozen=True)
class Pace:
    """Seconds that the first step takes, which compiles, and those of each step after it; and of what features they are.

    Attributes:
        num_features: of the encoder.
        whitened: whether they will be.
    """

    compile_seconds: float
    step_seconds: float
    num_features: int = 0
    whitened: bool = False

    def steps_in(self, seconds: float, *, step_cost: float = 1.0, argument: str = "minutes") -> int:
        """Steps that fit into a time, compiling included.

        Args:
            seconds: of the training and of all that grows with its steps.
            step_cost: what a step costs with that, in training steps.
            argument: that the minutes were given by.

        Raises:
            InputError: fewer than 50 would fit.
        """
        steps = int((seconds - self.compile_seconds) / (self.step_seconds * step_cost))
        if steps < _FEWEST_STEPS:
            missing = self.compile_seconds + _FEWEST_STEPS * self.step_seconds * step_cost - seconds
            raise InputError(
                f"`{argument}` must leave time for at least {_FEWEST_STEPS} steps, of {self.step_seconds:.2f} s each on "
                f"this machine. Received: time for {max(steps, 0)}. Give at least {math.ceil(missing / 60)} more."
            )
        return steps


def measure_pace(
    config: TrainConfig, source: data.Source | None = None, *, at_most_seconds: float = 5.0, at_most_steps: int = 40
) -> tuple[TrainConfig, Pace]:
    """Trains a throwaway model for a few steps of a run.

    Args:
        config: the run; nothing is written to its directory.
        source: its images; default: the config's.
        at_most_seconds, at_most_steps: of the steps after the first, whichever comes first; one step at least.

    Returns:
        the config, settled, and its pace.
    """
    strategy = make_strategy(config)
    source = source or load_source(config)
    config = settled(config, source, strategy, stored=None)
    plan: Plan = make_plan(config, source)
    model = first_model(config, source, plan, strategy)
    first = batches(config, model, source, 0)
    return config, pace_of(model, first, at_most_seconds=at_most_seconds, at_most_steps=at_most_steps)


def pace_of(
    model: keras.Model, batches: tf.data.Dataset, *, at_most_seconds: float = 5.0, at_most_steps: int = 40
) -> Pace:
    """The pace of a compiled model, which is trained for some steps and not to be used further.

    Args:
        model: compiled.
        batches: endless.
        at_most_seconds, at_most_steps: as `measure_pace`.
    """
    clock = _Clock(at_most_seconds)
    model.fit(batches, epochs=1, steps_per_epoch=1 + at_most_steps, shuffle=False, verbose=0, callbacks=[clock])
    step_seconds = (clock.now - clock.compiled) / max(step_of(model) - 1, 1)
    whitened = whitening_of(getattr(model, "encoder", None)) is not None
    return Pace(clock.compiled - clock.begun, step_seconds, getattr(model, "num_features", 0), whitened)


class _Clock(keras.callbacks.Callback):
    """The times of a training's begin, its first step and its last, which comes when time is up."""

    def __init__(self, at_most_seconds: float, clock: Callable[[], float] = time.monotonic):
        super().__init__()
        self._at_most_seconds, self._clock = at_most_seconds, clock
        self.begun = self.compiled = self.now = 0.0

    def on_train_begin(self, logs: dict | None = None) -> None:
        self.begun = self._clock()

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        self.now = self._clock()
        if batch == 0:
            self.compiled = self.now
        elif self.now - self.compiled >= self._at_most_seconds:
            self.model.stop_training = True
