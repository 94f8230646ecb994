"""NanGuard: stops a run whose loss or update is no number any more."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np

from tfcontrastive import distribute
from tfcontrastive.config import InputError
from tfcontrastive.models.checkpoint_files import way_back


class NanGuard(keras.callbacks.Callback):
    """Raises at the first step whose loss is NaN or infinite, before anything is saved from it.

    A `ReplicatedModel` reports a loss of NaN from the step on whose update was not finite, and does not apply that update.
    With `steps_per_execution` the guard acts at the end of the execution: the loss is a mean over the epoch so far, which
    stays NaN. Put it first among the callbacks: Keras calls them in order, and `Checkpoints` must not see that step.

    Args:
        checkpoints: the directory of the run's checkpoints, for the error's sake.

    Raises:
        InputError: with the step, and how to go back to the last good one.
    """

    def __init__(self, checkpoints: str | None = None):
        super().__init__()
        self.checkpoints = checkpoints
        self._step = 0

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._step = distribute.step_of(self.model)

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        loss = float(np.mean(logs["loss"]))
        before, self._step = self._step, distribute.step_of(self.model)
        if not math.isfinite(loss):
            step = max(self._step, before + 1)  # an update that is not applied is not counted
            raise InputError(
                f"the loss must be a finite number, and so must the update. Received: loss={loss} at step {step}, of which "
                f"nothing is saved. {way_back(self.checkpoints, before)}"
            )
