"""Checkpoints: everything a run needs to go on as if it had never stopped."""

from __future__ import annotations

import os
import tempfile
from typing import Any

import keras
import tensorflow as tf

from tfcontrastive import distribute
from tfcontrastive.config import InputError

DAMAGE = (IndexError, tf.errors.OpError)  # IndexError: a file that ends too early


class Checkpoints(keras.callbacks.Callback):
    """Saves weights, batch-norm statistics, optimizer, step, targets and queues; restores them exactly.

    Data position and augmentation seeds need no saving: both are functions of the run's seed and the step. A checkpoint is
    written aside and named in the `checkpoint` file last, so a kill at any moment leaves the one before. That of an epoch's
    last step is written when the epoch ends, after what earlier callbacks write then: what it is past is on disk.

    Args:
        directory: where checkpoints go (only the chief's stay; other workers' go to a temporary one).
        every_steps: steps between checkpoints, or as near as `steps_per_execution` allows; the last step is saved too.
        last_step: the step at which the run ends.
        keep: how many are kept.
    """

    def __init__(self, directory: str, *, every_steps: int, last_step: int, keep: int = 5):
        super().__init__()
        self.directory = directory
        self.every_steps = every_steps
        self.last_step = last_step
        self.keep = keep
        self._manager: tf.train.CheckpointManager | None = None
        self._step = 0
        self._due = False

    def restore(self, model: keras.Model) -> int:
        """Restores the newest checkpoint, if there is one, into a compiled model; returns its step (0: none)."""
        path = newest(self.directory)
        self.set_model(model)
        if path is None:
            return 0
        restore(path, model)
        self._step = distribute.step_of(model)
        return self._step

    def set_model(self, model: keras.Model) -> None:
        super().set_model(model)
        if self._manager is None:
            directory, keep = self.directory, self.keep
            if not distribute.is_chief():  # every worker takes part in a save
                self._aside = tempfile.TemporaryDirectory(prefix="tfcontrastive-worker-", ignore_cleanup_errors=True)
                directory, keep = self._aside.name, 1
            self._manager = tf.train.CheckpointManager(
                checkpoint_of(model), directory, max_to_keep=keep, checkpoint_name="step"
            )

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        before, self._step = self._step, distribute.step_of(self.model)
        self._due = passes(before, self._step, self.every_steps) or self._step == self.last_step
        if batch + 1 < self.params["steps"]:
            self._save()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._save()

    def _save(self) -> None:
        if self._due:
            self._manager.save(checkpoint_number=self._step)
            self._due = False


def passes(before: int, step: int, every: int) -> bool:
    """Whether a multiple of `every` was reached between two calls, which may be several steps apart."""
    return every > 0 and step // every > before // every


def checkpoint_of(model: keras.Model, *, optimizer: bool = True) -> tf.train.Checkpoint:
    """Every variable of a compiled model and its optimizer, by place: `model_0012`.

    TensorFlow's own walk through a Keras 3 model misses variables that lie in lists or directly on a model (a queue), and
    the paths of Keras' variables hold numbers that depend on what else the process has made.
    """
    metrics = {id(variable) for metric in model.metrics for variable in metric.variables}
    named: dict[str, tf.Variable] = {}
    owners = {"model": model.variables, **({"optimizer": model.optimizer.variables} if optimizer else {})}
    for owner, variables in owners.items():
        kept = [variable for variable in variables if id(variable) not in metrics]
        named.update({f"{owner}_{place:04d}": variable.value for place, variable in enumerate(kept)})
    return tf.train.Checkpoint(**named)


def restore(path: str, model: keras.Model) -> None:
    """Sets every variable of a compiled model and its optimizer from a checkpoint.

    Raises:
        InputError: the checkpoint is of another network, or not whole.
    """
    _restore(path, checkpoint_of(model), whole=True)


def restore_weights(path: str, model: keras.Model) -> None:
    """As `restore`, but for the model alone, which need not be compiled."""
    _restore(path, checkpoint_of(model, optimizer=False), whole=False)


def _restore(path: str, checkpoint: tf.train.Checkpoint, *, whole: bool) -> None:
    try:
        status = checkpoint.restore(path)
        status.assert_consumed() if whole else status.expect_partial().assert_existing_objects_matched()
    except (ValueError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"the checkpoint must be of this very network. Received: {path}: {reason}") from error
    except DAMAGE as error:
        raise damaged(path, error) from error


def damaged(path: str, error: Exception) -> InputError:
    """What to say of a checkpoint whose reading failed with one of `DAMAGE`."""
    return InputError(
        f"the checkpoint must be whole. Received: {path}: {str(error).splitlines()[0]}. Delete its files: the one before it "
        "is then the newest."
    )


def newest(directory: str) -> str | None:
    """The path of the newest checkpoint under a directory: the one named last, or where that one is gone, the last there is.

    Raises:
        InputError: the list of checkpoints is not whole.
    """
    try:
        named = tf.train.get_checkpoint_state(directory)
    except ValueError as error:
        raise InputError(
            f"{os.path.join(directory, 'checkpoint')} must name the newest checkpoint. Received: an empty file. Delete it: "
            "the newest one is found without it."
        ) from error
    if named is not None and tf.io.gfile.exists(named.model_checkpoint_path + ".index"):
        return named.model_checkpoint_path
    files = tf.io.gfile.listdir(directory) if tf.io.gfile.isdir(directory) else []
    there = [os.path.join(directory, name.removesuffix(".index")) for name in files if name.endswith(".index")]
    return max(there, key=_step, default=None)


def newest_step(directory: str) -> int | None:
    """The step of the newest checkpoint under a directory, without reading it."""
    path = newest(directory)
    return None if path is None else _step(path)


def _step(path: str) -> int:
    return int(os.path.basename(path).rpartition("-")[2])
