"""Checkpoints: everything a run needs to go on as if it had never stopped."""

from __future__ import annotations

import tempfile
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfcontrastive import distribute
from tfcontrastive.config import InputError
from tfcontrastive.models.checkpoint import checkpoint_of, not_finite, restore, sums_of
from tfcontrastive.models.checkpoint_files import at_step, newest, way_back
from tfcontrastive.models.replicated_model import ReplicatedModel


class Checkpoints(keras.callbacks.Callback):
    """Saves weights, batch-norm statistics, optimizer, step, targets, queues and the epoch's sums of metrics; restores them.

    Data position and augmentation seeds need no saving: both are functions of the run's seed and the step. A checkpoint is
    written aside and named in the `checkpoint` file last, so a kill at any moment leaves the one before. That of an epoch's
    last step is written when the epoch ends, after what earlier callbacks write then: what it is past is on disk. Beside the
    first one goes what the model needs beside variables: of a `TwoTower` its layers and vocabularies.

    Args:
        directory: where checkpoints go (only the chief's stay; other workers' go to a temporary one).
        every_steps: steps between checkpoints, or as near as `steps_per_execution` allows; the last step is saved too.
        last_step: the step at which the run ends.
        keep: how many are kept.
        epoch_steps: steps of an epoch; the metrics of one that a restored run starts inside of are then those of all its
            steps. 0: of the steps since.

    Raises:
        InputError: a variable that is to be saved is not finite; that checkpoint is not written. Or the directory is of
            two towers with other vocabularies.
    """

    def __init__(self, directory: str, *, every_steps: int, last_step: int, keep: int = 5, epoch_steps: int = 0):
        super().__init__()
        self.directory = directory
        self.every_steps = every_steps
        self.last_step = last_step
        self.keep = keep
        self.epoch_steps = epoch_steps
        self._manager: tf.train.CheckpointManager | None = None
        self._sums: dict[str, np.ndarray] = {}
        self._step = 0
        self._saved = 0
        self._due = False

    def restore(self, model: keras.Model, step: int | None = None) -> int:
        """Restores a checkpoint, if there is one, into a compiled model; returns its step (0: none).

        Args:
            model: compiled.
            step: of the checkpoint; None takes the newest.
        """
        path = newest(self.directory) if step is None else at_step(self.directory, step)
        self.set_model(model)
        if path is None:
            return 0
        if isinstance(model, ReplicatedModel):
            model.check_beside(self.directory)
        self._sums = restore(path, model)
        self._step = self._saved = distribute.step_of(model)
        return self._step

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Keras has set the sums of metrics to zero."""
        if self._sums and self.epoch_steps and distribute.step_of(self.model) % self.epoch_steps:
            for name, variable in sums_of(self.model).items():
                if name in self._sums:  # else one that the run's version did not have
                    variable.assign(self._sums[name])
        self._sums = {}

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        before, self._step = self._step, distribute.step_of(self.model)
        self._due = passes(before, self._step, self.every_steps) or self._step == self.last_step
        if batch + 1 < self.params["steps"]:
            self._save()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._save()

        inside = self.epoch_steps and self._step % self.epoch_steps and self._step < self.last_step
        if inside:  # whole executions of several steps are over, and single ones follow
            self._sums = {name: keras.ops.convert_to_numpy(value) for name, value in sums_of(self.model).items()}

    def save(self) -> int:
        """Saves now, unless this step is saved already; returns the step."""
        self._due = self._step != self._saved
        self._save()
        return self._step

    def _save(self) -> None:
        if not self._due:
            return
        self._due = False
        lost = not_finite(self.model)
        if lost:
            raise InputError(
                f"the weights must be finite numbers. Received: {len(lost)} variables that are not, such as {lost[0]}, at "
                f"step {self._step}, which is not saved. {way_back(self.directory, self._step - 1)}"
            )
        if self._manager is None:
            directory, keep = self.directory, self.keep
            if not distribute.is_chief():  # every worker takes part in a save
                self._aside = tempfile.TemporaryDirectory(prefix="tfcontrastive-worker-", ignore_cleanup_errors=True)
                directory, keep = self._aside.name, 1
            elif isinstance(self.model, ReplicatedModel):
                self.model.write_beside(directory)
            self._manager = tf.train.CheckpointManager(
                checkpoint_of(self.model), directory, max_to_keep=keep, checkpoint_name="step"
            )
        self._manager.save(checkpoint_number=self._step)
        self._saved = self._step


def passes(before: int, step: int, every: int) -> bool:
    """Whether a multiple of `every` was reached between two calls, which may be several steps apart."""
    return every > 0 and step // every > before // every
