"""Progress: one live line on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from typing import Any

import keras
import numpy as np
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from tfcontrastive import distribute
from tfcontrastive.names import plain_console


class Progress(keras.callbacks.Callback):
    """Shows step, loss, probe accuracy and images per second.

    Args:
        title: what is being trained.
        first_step, last_step: the run's range of steps (a resumed run starts in the middle).
        batch_size: images per step, over all replicas.
        seconds_between_lines: where the output is not a terminal.
    """

    def __init__(
        self, title: str, *, first_step: int, last_step: int, batch_size: int, seconds_between_lines: float = 30.0
    ):
        super().__init__()
        self.title = title
        self.step, self.last_step = first_step, last_step
        self.batch_size = batch_size
        self.seconds_between_lines = seconds_between_lines
        self._bar: Bar | None = None
        self._since: tuple[float, int] | None = None
        self._shown = 0.0

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        if not sys.stderr.isatty() or self._bar is not None:
            return
        columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._bar = Bar(*columns, TextColumn("{task.fields[values]}", markup=False), console=plain_console(stderr=True))
        self._task = self._bar.add_task(self.title, total=self.last_step, completed=self.step, values="")
        self._bar.start()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self.step = distribute.step_of(self.model)
        now = time.monotonic()
        if self._since is None:  # the first step compiles
            self._since, self._shown = (now, self.step), now
            return
        rate = (self.step - self._since[1]) * self.batch_size / max(now - self._since[0], 1e-9)
        values = [f"loss {float(np.mean(logs['loss'])):.3f}"]
        if "probe_accuracy" in logs:
            values.append(f"probe {float(np.mean(logs['probe_accuracy'])):.3f}")
        values.append(f"{rate:,.0f} images/s")
        done = self.step >= self.last_step
        if self._bar is not None:
            self._bar.update(self._task, completed=self.step, values="  ".join(values))
        elif done or now - self._shown >= self.seconds_between_lines:
            self._shown = now
            print(f"{self.title}: step {self.step}/{self.last_step}  {'  '.join(values)}", file=sys.stderr, flush=True)
        if done:
            self.close()

    def close(self) -> None:
        """Leaves the terminal as it was; called when the run ends, in whatever way."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
