"""Interruption: a run that is told to end saves first, and one that is told to save does so and goes on."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
import tensorflow as tf
from absl import logging

from tfcontrastive import distribute
from tfcontrastive.callbacks.checkpoints import Checkpoints
from tfcontrastive.system import signals


class Interruption(keras.callbacks.Callback):
    """On SIGTERM and SIGHUP, saves at the end of the running step and ends the run; on SIGUSR1 saves and goes on.

    Several workers ask each other at the end of each step, in one collective of two numbers: a signal to one of them ends
    all at the same step. What runs at the end of an epoch is finished first, as a checkpoint is never past its records.
    Alone and before the first step there is nothing to save, and the run ends at once. Put it last among the callbacks.

    Args:
        checkpoints: the run's, which come before it.
        how_to_go_on: the end of the message.

    Raises:
        Stopped: when the run has ended so.
    """

    def __init__(self, checkpoints: Checkpoints, how_to_go_on: str = "Start the same command again to go on."):
        super().__init__()
        self.checkpoints, self.how_to_go_on = checkpoints, how_to_go_on
        self._stop, self._save, self._begun = 0, 0, False
        self._gather, self._alone = distribute.gather_from_processes(tf.distribute.get_strategy()), True

    @contextlib.contextmanager
    def listening(self, model: keras.Model) -> Iterator[None]:
        """Inside, signals are the run's. Only in the main thread, see `signals.handled`."""
        self._gather = distribute.gather_from_processes(model.distribute_strategy)
        self._alone = len(self._gather([0])) == 1
        with signals.handled(self._note, (*signals.STOP, *signals.SAVE)):
            yield
        if self._stop:  # came after the last step
            raise self._stopped("the training is over")

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self._begun = True
        if batch + 1 < self.params["steps"]:
            self._act()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._act()

    def _note(self, number: int) -> None:
        if number in signals.SAVE:
            self._save = number
            return
        self._stop = number
        if self._alone and not self._begun:
            raise self._stopped("no step was trained since the last checkpoint")

    def _act(self) -> None:
        asked = self._stop, self._save
        stop, save = self._gather(asked).max(axis=0).tolist()  # a signal may come meanwhile: it is the next call's
        if asked[1]:
            self._save = 0
        if not (stop or save):
            return
        step = self.checkpoints.save()
        if stop:
            self._stop = stop
            raise self._stopped(f"step {step} is saved in {self.checkpoints.directory}")
        logging.info("%s: step %d is saved; going on.", signals.name_of(save), step)

    def _stopped(self, state: str) -> signals.Stopped:
        return signals.Stopped(self._stop, f"stopped by {signals.name_of(self._stop)}: {state}. {self.how_to_go_on}")
