"""How long the training may be, so that the whole command takes the minutes that it was given."""

from __future__ import annotations

import dataclasses
from typing import Any

from tfcontrastive.config import TrainConfig
from tfcontrastive.fitting.comparison import TUNING_EPOCHS, TUNING_STEP
from tfcontrastive.runs.pace import Pace

MARGIN = 0.97
"""Of the time that is left, which is planned with."""

KNN_STEP = 0.1
"""What the kNN while training costs, in steps of pre-training for each such step."""

SUPERVISED_STEP = 0.45
"""What supervised training costs, in steps of pre-training for each such step: half as many, of as many views."""

FINE_TUNED_SHARE = 0.2
"""Of the time of pre-training, for fine-tuning, which ends after some epochs at the latest."""

_NETWORKS, _PROBES, _MEASURED = 8.0, 5.0, 12_000
"""Time of everything else, as a multiple of what a first step takes to compile, so that a slow machine has more of it: to
measure and export networks and write pages; and for the probes of each `_MEASURED` images."""

_PROBE_SECONDS = 2.6e-6
"""Of a linear probe, for each image and feature, on two cores with AVX-512: wide features take longer than what the multiple
above leaves, but for whitened ones, of which it converges soon."""

_WHITENING_SECONDS, _WHITENINGS = 0.3e-9, 8
"""Of a covariance's root on one slow core, for the cube of the features; and how often it is taken, in training and for
two other networks."""

_MEASURED_VIEWS = 2.0
"""Views of training whose time an image takes in all measurements."""

_SECONDS_BETWEEN_CHECKPOINTS = 30.0


@dataclasses.dataclass(frozen=True)
class Budget:
    """What is to fit into the minutes.

    Attributes:
        left: seconds, of those asked for.
        num_images: that are measured.
        comparison: `fine_tuned`, `supervised`, or none where there are no labels.
    """

    left: float
    num_images: int
    comparison: str | None

    def steps(self, pace: Pace, batch: int) -> int:
        """Steps of pre-training.

        Args:
            pace: measured on this machine.
            batch: images a step, each seen in two views.

        Raises:
            InputError: the minutes leave time for fewer than 50.
        """
        view_seconds = pace.step_seconds / (2 * batch)
        seconds = MARGIN * self.left - self.other_seconds(pace, view_seconds)
        if self.comparison is not None:  # a second network to compile
            seconds -= pace.compile_seconds
        second = {None: 0.0, "fine_tuned": FINE_TUNED_SHARE, "supervised": SUPERVISED_STEP}[self.comparison]
        steps = pace.steps_in(seconds, step_cost=1 + KNN_STEP + second)
        if self.comparison == "fine_tuned":  # what its last epoch leaves is for pre-training
            most = TUNING_EPOCHS * self.num_images * TUNING_STEP * view_seconds
            steps += int(max(0.0, second * steps * pace.step_seconds - most) / (pace.step_seconds * (1 + KNN_STEP)))
        return steps

    def other_seconds(self, pace: Pace, view_seconds: float) -> float:
        """Of all that does not grow with the steps."""
        images = min(self.num_images / _MEASURED, 2.0)
        probes = _PROBES * images * pace.compile_seconds
        if pace.whitened:
            probes += _WHITENINGS * _WHITENING_SECONDS * pace.num_features**3
        elif self.comparison is not None:  # untrained, trained and compared
            probes = max(probes, 3 * _PROBE_SECONDS * images * _MEASURED * pace.num_features)
        return _NETWORKS * pace.compile_seconds + probes + _MEASURED_VIEWS * self.num_images * view_seconds


def with_length(config: TrainConfig, steps: int, pace: Pace, num_images: int, *, asked: frozenset[str]) -> TrainConfig:
    """The config of a run of so many steps: its warm-up, and how often it measures and saves.

    Args:
        config: settled.
        steps: of the run.
        pace: of a step.
        num_images: that are trained on.
        asked: settings that stay as they are.
    """
    epochs = steps * config.loop.train_batch_size / num_images
    loop: dict[str, Any] = {"train_steps": steps}
    if "knn_epochs" not in asked:
        loop["knn_epochs"] = max(1, round(epochs / 5))
    if not asked & {"checkpoint_epochs", "checkpoint_steps"}:
        loop["checkpoint_steps"] = max(1, round(_SECONDS_BETWEEN_CHECKPOINTS / pace.step_seconds))
    warmup = config.optimizer.warmup_epochs if config.optimizer.warmup_epochs is not None else 10.0
    if "warmup_epochs" not in asked or warmup > epochs / 10:
        warmup = min(warmup, round(epochs / 10, 2))
    return dataclasses.replace(
        config,
        optimizer=dataclasses.replace(config.optimizer, warmup_epochs=warmup),
        loop=dataclasses.replace(config.loop, **loop),
    )
