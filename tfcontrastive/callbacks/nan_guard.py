"""NanGuard: stops a run whose loss is no number any more."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np

from tfcontrastive import distribute
from tfcontrastive.config import InputError


class NanGuard(keras.callbacks.Callback):
    """Raises at the first step whose loss is NaN or infinite, before anything is saved from it.

    With `steps_per_execution` that is the end of the execution: the loss is a mean over the epoch so far, which stays NaN.
    Put it first among the callbacks: Keras calls them in order, and `Checkpoints` must not see that step.

    Raises:
        InputError: with the step.
    """

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        loss = float(np.mean(logs["loss"]))
        if not math.isfinite(loss):
            step = distribute.step_of(self.model)
            raise InputError(
                f"the loss must be a finite number. Received: loss={loss} at step {step}. Training stopped; earlier "
                "checkpoints are kept. Lower --learning_rate, raise --warmup_epochs or --temperature, and start again."
            )
