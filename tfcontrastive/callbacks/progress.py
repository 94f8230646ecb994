"""Progress: one live line on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from tfcontrastive import distribute
from tfcontrastive.system.terminal import is_terminal, say, terminal


class Progress(keras.callbacks.Callback):
    """Shows step, loss, probe accuracy, images per second and the time left.

    The first step compiles, which may take a minute: until it is done that is what is shown, and it does not count in the
    rate.

    Args:
        title: what is being trained.
        first_step, last_step: the run's range of steps (a resumed run starts in the middle).
        batch_size: images per step, over all replicas.
        seconds_between_lines: where the output is not a terminal.
        say: takes a line, where the output is not a terminal.
    """

    def __init__(
        self,
        title: str,
        *,
        first_step: int,
        last_step: int,
        batch_size: int,
        seconds_between_lines: float = 30.0,
        say: Callable[[str], None] = say,
    ):
        super().__init__()
        self.say = say
        self.title = title
        self.step, self.last_step = first_step, last_step
        self.batch_size = batch_size
        self.seconds_between_lines = seconds_between_lines
        self._bar: Bar | None = None
        self._since: tuple[float, int] | None = None
        self._shown = 0.0

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._begun = time.monotonic()
        if self._since is not None or self._bar is not None:  # a later call of `fit`, of the same run
            return
        if not is_terminal():
            self.say(f"{self.title}: compiling the first step")
            return
        title = TextColumn("{task.description}", markup=False)
        columns = (SpinnerColumn(), title, BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._bar = Bar(*columns, TextColumn("{task.fields[values]}", markup=False), console=terminal())
        self._task = self._bar.add_task(self.title, total=self.last_step, completed=self.step, values="compiling")
        self._bar.start()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self.step = distribute.step_of(self.model)
        now = time.monotonic()
        done = self.step >= self.last_step
        if self._since is None:
            self._since, self._shown = (now, self.step), now
            values = [f"compiled in {now - self._begun:.0f} s"]
        else:
            values = self._values(now, logs)
        if self._bar is not None:
            self._bar.update(self._task, completed=self.step, values="  ".join(values))
        elif done or self._shown == now or now - self._shown >= self.seconds_between_lines:
            self._shown = now
            self.say(f"{self.title}: step {self.step}/{self.last_step}  {'  '.join(values)}")
        if done:
            self.close()

    def _values(self, now: float, logs: dict[str, Any]) -> list[str]:
        steps_per_second = (self.step - self._since[1]) / max(now - self._since[0], 1e-9)
        values = [f"loss {float(np.mean(logs['loss'])):.3f}"]
        if "probe_accuracy" in logs:
            values.append(f"probe {float(np.mean(logs['probe_accuracy'])):.3f}")
        values.append(f"{steps_per_second * self.batch_size:,.0f} images/s")
        left = (self.last_step - self.step) / steps_per_second
        return [*values, f"{duration(left)} left"] if self.step < self.last_step else values

    def close(self) -> None:
        """Leaves the terminal as it was; called when the run ends, in whatever way."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def duration(seconds: float) -> str:
    """Seconds as people read them: 0:07, 12:30, 3:05:21."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
