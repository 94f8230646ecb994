"""The versions of an export: each is written aside, and takes its place whole or not at all."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Iterator

from tfcontrastive import storage
from tfcontrastive.config import InputError
from tfcontrastive.pretrained.trained import MAX_VERSION, versions_in


@contextlib.contextmanager
def aside_in(base: str | os.PathLike, version: int | None) -> Iterator[str]:
    """A directory in `base` for what is to become a version; it is gone afterwards, unless `publish` gave it its place.

    Raises:
        InputError: the version exists or is none, or `base` cannot be written to.
    """
    base = os.fspath(base)
    storage.make_writable("base", base)
    version_path(base, version)
    aside = os.path.join(base, f".{uuid.uuid4().int}.{os.getpid()}.tmp")
    storage.make_dirs(aside)
    try:
        yield aside
    except BaseException:
        storage.remove_tree(aside)
        raise


def publish(aside: str, base: str | os.PathLike, version: int | None) -> str:
    """Gives what was written its place. Where another export took it in the meantime, the next one, if none was named."""
    while True:
        path = version_path(os.fspath(base), version)
        try:
            storage.move(aside, path)
            return path
        except OSError:
            if not storage.exists(path):
                raise


def version_path(base: str, version: int | None) -> str:
    """Where the version is to be, or the next one; refused where it is already."""
    allowed = version is None or (
        isinstance(version, int) and not isinstance(version, bool) and 0 <= version <= MAX_VERSION
    )
    if not allowed:
        raise InputError(f"`version` must be a whole number from 0 to {MAX_VERSION}. Received: version={version!r}.")
    if version is not None:
        path = os.path.join(base, str(version))
        if storage.exists(path):
            raise InputError(
                f"`version` must be new. Received: version={version}, but {path} exists. "
                "Leave it out to take the next one."
            )
        return path
    number = 1 + max(map(int, versions_in(base)), default=0)
    while storage.exists(os.path.join(base, str(number))):  # a file, say
        number += 1
    if number > MAX_VERSION:
        raise InputError(f"`version` must be given: no number is left after the highest in {base}, {number - 1}.")
    return os.path.join(base, str(number))
