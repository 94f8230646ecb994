"""How a kind of source is opened by name: each registers itself in its own file."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from tfcontrastive.data.rendering import Rendering
from tfcontrastive.data.source import Source


@dataclasses.dataclass(frozen=True)
class Opening:
    """The options of `tfcontrastive.data.load`, which says what they mean; a source takes those that concern it.

    Attributes:
        channels: None where none were asked for.
    """

    data_dir: str | None = None
    cache: bool | None = None
    channels: int | None = None
    rendering: Rendering = dataclasses.field(default_factory=Rendering)
    max_bad_files: str = "1%"
    labels: str | None = None
    fetch: bool = True


Open = Callable[[str, Opening], Source]
SOURCES: dict[str, Open] = {}
"""What opens `KIND:WHERE`, by the kind; `sources` fills it with what the modules beside it register."""

DECODES: set[str] = set()
"""The kinds whose images are decoded to as many channels as are asked for."""


def register_source(kind: str, *, decodes: bool = False) -> Callable[[Open], Open]:
    """Makes `--dataset=KIND:WHERE` open what a function of (where, opening) returns.

    Args:
        kind: a word, without a colon.
        decodes: whether `channels` may be asked for.
    """

    def registered(function: Open) -> Open:
        SOURCES[kind] = function
        if decodes:
            DECODES.add(kind)
        return function

    return registered
