"""One rule for paths that a user gives."""

from __future__ import annotations

import os


def local_path(path: str | os.PathLike) -> str:
    """A path as text, with `~` expanded: a shell leaves it alone after a colon or an equals sign.

    Examples:
        >>> import pathlib
        >>> local_path(pathlib.Path("photos"))
        'photos'
    """
    return os.path.expanduser(os.fspath(path))
