"""The terminal that progress is shown on, shared by everything that draws there at the same time."""

from __future__ import annotations

import functools
import sys

from rich.console import Console

from tfcontrastive.system.names import plain_console


@functools.cache
def terminal() -> Console:
    """stderr as a Rich console: two live displays can only be drawn together on one."""
    return plain_console(stderr=True)


def is_terminal() -> bool:
    """Whether somebody watches: stderr is no file and no pipe."""
    return sys.stderr.isatty()


def say(line: str) -> None:
    """A line on stderr, at once."""
    print(line, file=sys.stderr, flush=True)
