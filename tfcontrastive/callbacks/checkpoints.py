"""Checkpoints: everything a run needs to go on as if it had never stopped."""

from __future__ import annotations

import os
import tempfile
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfcontrastive import distribute
from tfcontrastive.callbacks.checkpoint_files import (
    DAMAGE,
    at_step,
    damaged,
    is_whole,
    newest,
    newest_step,
    way_back,
)
from tfcontrastive.config import InputError

__all__ = [
    "DAMAGE",
    "Checkpoints",
    "checkpoint_of",
    "damaged",
    "newest",
    "newest_step",
    "passes",
    "restore",
    "restore_weights",
]

_SUM = "epoch_sum_"
_VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"


class Checkpoints(keras.callbacks.Callback):
    """Saves weights, batch-norm statistics, optimizer, step, targets, queues and the epoch's sums of metrics; restores them.

    Data position and augmentation seeds need no saving: both are functions of the run's seed and the step. A checkpoint is
    written aside and named in the `checkpoint` file last, so a kill at any moment leaves the one before. That of an epoch's
    last step is written when the epoch ends, after what earlier callbacks write then: what it is past is on disk.

    Args:
        directory: where checkpoints go (only the chief's stay; other workers' go to a temporary one).
        every_steps: steps between checkpoints, or as near as `steps_per_execution` allows; the last step is saved too.
        last_step: the step at which the run ends.
        keep: how many are kept.
        epoch_steps: steps of an epoch; the metrics of one that a restored run starts inside of are then those of all its
            steps. 0: of the steps since.

    Raises:
        InputError: a variable that is to be saved is not finite; that checkpoint is not written.
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
        self._sums = restore(path, model)
        self._step = self._saved = distribute.step_of(model)
        return self._step

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Keras has set the sums of metrics to zero."""
        if self._sums and self.epoch_steps and distribute.step_of(self.model) % self.epoch_steps:
            for name, variable in _sums_of(self.model).items():
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
            self._sums = {name: keras.ops.convert_to_numpy(value) for name, value in _sums_of(self.model).items()}

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
            self._manager = tf.train.CheckpointManager(
                checkpoint_of(self.model), directory, max_to_keep=keep, checkpoint_name="step"
            )
        self._manager.save(checkpoint_number=self._step)
        self._saved = self._step


def passes(before: int, step: int, every: int) -> bool:
    """Whether a multiple of `every` was reached between two calls, which may be several steps apart."""
    return every > 0 and step // every > before // every


def checkpoint_of(model: keras.Model, *, optimizer: bool = True) -> tf.train.Checkpoint:
    """Every variable of a compiled model and its optimizer, by place: `model_0012`; with the optimizer, sums of metrics too.

    TensorFlow's own walk through a Keras 3 model misses variables that lie in lists or directly on a model (a queue), and
    the paths of Keras' variables hold numbers that depend on what else the process has made.
    """
    named = {name: variable.value for name, variable in _kept(model, optimizer=optimizer).items()}
    sums = {name: variable.value for name, variable in _sums_of(model).items()} if optimizer else {}
    return tf.train.Checkpoint(**named, **sums)


def not_finite(model: keras.Model) -> list[str]:
    """The paths of variables, of a compiled model and its optimizer, that hold a NaN or an infinity on this machine."""
    found = []
    for variable in _kept(model).values():
        parts = model.distribute_strategy.experimental_local_results(variable.value)
        if parts[0].dtype.is_floating and not all(tf.reduce_all(tf.math.is_finite(part)) for part in parts):
            found.append(variable.path)
    return found


def _kept(model: keras.Model, *, optimizer: bool = True) -> dict[str, keras.Variable]:
    metrics = {id(variable) for metric in model.metrics for variable in metric.variables}
    named: dict[str, keras.Variable] = {}
    owners = {"model": model.variables, **({"optimizer": model.optimizer.variables} if optimizer else {})}
    for owner, variables in owners.items():
        kept = [variable for variable in variables if id(variable) not in metrics]
        named.update({f"{owner}_{place:04d}": variable for place, variable in enumerate(kept)})
    return named


def _sums_of(model: keras.Model) -> dict[str, keras.Variable]:
    """What the metrics of an epoch are computed from, by the metric's name."""
    return {
        f"{_SUM}{metric.name}_{place}": variable
        for metric in model.metrics
        for place, variable in enumerate(metric.variables)
    }


def restore(path: str, model: keras.Model) -> dict[str, np.ndarray]:
    """Sets every variable of a compiled model and its optimizer from a checkpoint.

    Returns:
        the sums of the epoch's metrics, which are left as they are: Keras sets them to zero when an epoch begins.

    Raises:
        InputError: the checkpoint is of another network, not whole, or not of finite numbers.
    """
    named = {name: variable.value for name, variable in _kept(model).items()}
    sums = {name: tf.Variable(value) for name, value in _stored_sums(path).items()}
    _restore(path, tf.train.Checkpoint(**named, **sums), whole=True)
    lost = not_finite(model)
    if lost:
        raise InputError(
            f"a checkpoint must hold finite numbers. Received: {path}, where {len(lost)} variables are not, such as "
            f"{lost[0]}. {way_back(os.path.dirname(path), distribute.step_of(model))}"
        )
    return {name: value.numpy() for name, value in sums.items()}


def restore_weights(path: str, model: keras.Model) -> None:
    """As `restore`, but for the model alone, which need not be compiled."""
    _restore(path, checkpoint_of(model, optimizer=False), whole=False)


def _stored_sums(path: str) -> dict[str, np.ndarray]:
    """The sums of metrics in a checkpoint, whichever they are: other versions keep others, or none."""
    try:
        reader = tf.train.load_checkpoint(path)
        names = [name for name in reader.get_variable_to_shape_map() if name.startswith(_SUM) and name.endswith(_VALUE)]
        return {name.removesuffix(_VALUE): reader.get_tensor(name) for name in names}
    except (*DAMAGE, ValueError, SystemError) as error:
        raise damaged(path, error) from error


def _restore(path: str, checkpoint: tf.train.Checkpoint, *, whole: bool) -> None:
    try:
        status = checkpoint.restore(path)
        status.assert_consumed() if whole else status.expect_partial().assert_existing_objects_matched()
    except (ValueError, AssertionError) as error:
        if not is_whole(path):
            raise damaged(path, error) from error
        reason = str(error).splitlines()[0]
        raise InputError(f"the checkpoint must be of this very network. Received: {path}: {reason}") from error
    except DAMAGE as error:
        raise damaged(path, error) from error
