"""Signals: how a scheduler tells a process to end (SIGTERM, SIGHUP) or to save what it has (SIGUSR1)."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

STOP = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))
SAVE = tuple(getattr(signal, name) for name in ("SIGUSR1",) if hasattr(signal, name))


class Stopped(SystemExit):
    """This process was told to end, and does, with the code that shells give it: 128 + the signal's number.

    Args:
        number: of the signal.
        message: what was saved, and how to go on.
    """

    code: int

    def __init__(self, number: int, message: str):
        super().__init__(128 + number)
        self.message = message

    def __str__(self) -> str:
        return self.message


def name_of(number: int) -> str:
    """SIGTERM, say."""
    return signal.Signals(number).name


@contextlib.contextmanager
def handled(handler: Callable[[int], None], numbers: Sequence[int]) -> Iterator[None]:
    """Inside, signals call a function; afterwards they do what they did before.

    Python takes signals in its main thread alone: in another this does nothing. A signal that the process ignores, as
    SIGHUP under nohup, stays ignored.

    A `Stopped` that the code inside turned into another error, as a binding to C++ may where a signal comes in a call back,
    leaves as what it was.

    Args:
        handler: takes the number of the signal, between two bytecodes of the main thread; what it raises is raised there.
        numbers: of the signals.
    """
    before: dict[int, Any] = {}
    raised: list[Stopped] = []

    def call(number: int, frame: Any) -> None:
        try:
            handler(number)
        except Stopped as stopped:
            raised.append(stopped)
            raise

    if threading.current_thread() is threading.main_thread():
        for number in numbers:
            if signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, call)
    try:
        yield
    except Exception as error:
        if raised:
            raise raised[-1] from error
        raise
    finally:
        for number, previous in before.items():
            signal.signal(number, signal.SIG_DFL if previous is None else previous)  # None: not set by Python
