"""Accuracy: what a classifier is worth on held-out images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from tfcontrastive import distribute


class Accuracy(keras.callbacks.Callback):
    """Adds to an epoch's logs what a measurement says of the model as it then is.

    Args:
        measure: takes nothing, returns `{name: value}`.
        every_epochs: 0: only after the last step.
        last_step: the step at which the run ends.
    """

    def __init__(self, measure: Callable[[], dict[str, float]], *, every_epochs: int, last_step: int):
        super().__init__()
        self.measure = measure
        self.every_epochs, self.last_step = every_epochs, last_step
        self.latest: dict[str, float] = {}

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        last = distribute.step_of(self.model) >= self.last_step
        due = self.every_epochs and (epoch + 1) % self.every_epochs == 0
        if distribute.is_chief() and (due or last):
            found = self.measure()
            self.latest = found if last else {}  # only the end is reported
            if logs is not None:
                logs.update({name: np.float32(value) for name, value in found.items()})
