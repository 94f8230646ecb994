"""Stages: which part of a long command runs, and a sign of life every second."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Sequence
from types import TracebackType

from rich.progress import Progress as Bar
from rich.progress import SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from tfcontrastive.system.terminal import is_terminal, say, terminal


class Stages:
    """Names the stages of a command as they begin, and shows that it lives.

    On a terminal a line with a spinner and the seconds of the stage, above what the stage itself draws. Elsewhere a line as
    a stage begins, and a dot for each second in which nothing was said.

    Args:
        names: of the stages, in order; each is shown with its number, "1/5 pre-training".
        seconds_between_dots: where the output is not a terminal.

    Examples:
        >>> with Stages(["pre-training", "report"]) as stages:
        ...     stages.next()
        ...     stages.say("a line that the dots leave alone")
        ...     stages.next()
    """

    def __init__(self, names: Sequence[str], *, seconds_between_dots: float = 1.0):
        self._names = list(names)
        self._begun = 0
        self._seconds_between_dots = seconds_between_dots
        self._bar: Bar | None = None
        self._task: TaskID | None = None
        self._done = threading.Event()
        self._lock = threading.Lock()
        self._said = time.monotonic()
        self._dots = False
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Stages:
        if is_terminal():
            columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
            self._bar = Bar(*columns, console=terminal(), transient=True)
            self._task = self._bar.add_task("starting")
            self._bar.start()
        else:
            self.say("starting")
            self._thread = threading.Thread(target=self._tick, daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._done.set()
        if self._bar is not None:
            self._bar.stop()
        if self._thread is not None:
            self._thread.join()
            self._end_dots()

    def next(self) -> None:
        """The next stage begins."""
        title = f"{self._begun + 1}/{len(self._names)} {self._names[self._begun]}"
        self._begun += 1
        if self._bar is None:
            self.say(title)
            return
        self._bar.remove_task(self._task)
        self._task = self._bar.add_task(title)

    def say(self, line: str) -> None:
        """A line of what happens in a stage."""
        with self._lock:
            if self._bar is not None:
                terminal().print(line, markup=False, highlight=False, soft_wrap=True)
                return
            self._end_dots()
            say(line)
            self._said = time.monotonic()

    def _tick(self) -> None:
        while not self._done.wait(self._seconds_between_dots / 4):
            with self._lock:
                if time.monotonic() - self._said >= self._seconds_between_dots:
                    sys.stderr.write(".")
                    sys.stderr.flush()
                    self._dots, self._said = True, time.monotonic()

    def _end_dots(self) -> None:
        if self._dots:
            sys.stderr.write("\n")
            self._dots = False
