"""The minutes of the whole command, which go on where a command that was killed is started again."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import keras

from tfcontrastive import storage

FILE = "clock.json"
_SECONDS_BETWEEN = 5.0


class Clock:
    """How long a command has run, in this process and in those before it.

    Args:
        minutes: that the whole may take; None: as long as it takes.
        path: of the file that keeps the time; what lies there is added.
        started: when this process began, by `now`; default: now.
        now: a clock that never goes back, in seconds.

    Examples:
        >>> clock = Clock(10)
        >>> clock.left() > 590
        True
    """

    def __init__(
        self,
        minutes: float | None,
        path: str | None = None,
        *,
        started: float | None = None,
        now: Callable[[], float] = time.monotonic,
    ):
        self.minutes, self._path, self._now = minutes, path, now
        self._started = now() if started is None else started
        self._saved = self._started
        self.before = _read(path) if path is not None else 0.0
        self.stages: dict[str, float] = {}
        self._stage: tuple[str, float] | None = None

    def seconds(self) -> float:
        """That were spent so far."""
        return self.before + self._now() - self._started

    def left(self) -> float:
        """Seconds that are left, infinite where there is no limit."""
        return float("inf") if self.minutes is None else 60 * self.minutes - self.seconds()

    def stage(self, name: str) -> None:
        """A stage begins, and the one before it ends."""
        self._end()
        self._stage = (name, self._now())
        self.save()

    def end(self) -> None:
        """The last stage ends."""
        self._end()
        self.save()

    def save(self) -> None:
        """Writes the time down, for a command that is killed now."""
        self._saved = self._now()
        if self._path is not None:
            storage.write(self._path, json.dumps({"seconds": round(self.seconds(), 1)}) + "\n")

    def tick(self) -> None:
        """`save`, where the last time is some seconds ago."""
        if self._now() - self._saved >= _SECONDS_BETWEEN:
            self.save()

    def callback(self) -> keras.callbacks.Callback:
        """Saves the time while a model trains."""
        return _Ticking(self)

    def _end(self) -> None:
        if self._stage is not None:
            name, began = self._stage
            self.stages[name] = self.stages.get(name, 0.0) + self._now() - began
            self._stage = None


class _Ticking(keras.callbacks.Callback):
    def __init__(self, clock: Clock):
        super().__init__()
        self._clock = clock

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self._clock.tick()


def _read(path: str) -> float:
    """Seconds of the processes before; none where there is no such file. Writes are whole, so that it can be read."""
    return float(json.loads(storage.read_text(path))["seconds"]) if storage.exists(path) else 0.0
