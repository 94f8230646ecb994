"""Which image files can be decoded, remembered between runs."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf
from absl import logging

from tfcontrastive import storage
from tfcontrastive.data.images import decode_with_facts, reason
from tfcontrastive.data.pipeline import PARALLEL_EXAMPLES
from tfcontrastive.data.transcode import native
from tfcontrastive.data.untuned import untuned
from tfcontrastive.system.names import escaped

_MEMORY_NAME = "checked_files.json"


class CheckedFile(NamedTuple):
    """What is known of one file.

    Attributes:
        stamp: changes when the file does.
        reason: why it cannot be decoded, None where it can.
        transparent: whether any of it is.
        low, high: the lowest and the highest value of a 16-bit image; 0 and -1 of others.
    """

    stamp: str
    reason: str | None = None
    transparent: bool = False
    low: int = 0
    high: int = -1


class CheckedFiles:
    """Decodes files in parallel and remembers the outcome for each path, size and time of change.

    Args:
        bad_files_path: file to list the bad ones in, one a line: path, tab, reason; it is removed where there are none.
            Paths are the bytes of the file system, or a JSON string: see `tfcontrastive.system.names.escaped`. The memory is
            `checked_files.json` in the same directory. None keeps neither.
    """

    def __init__(self, bad_files_path: str | None):
        self._list_path = bad_files_path
        self._memory_path = None
        if bad_files_path is not None:
            directory = os.path.dirname(bad_files_path)
            storage.make_dirs(directory or ".")
            self._memory_path = os.path.join(directory, _MEMORY_NAME)

    def look_at(self, paths: Sequence[str], channels: int) -> dict[str, CheckedFile]:
        """What is known of the files; those that cannot be decoded have a reason.

        Args:
            paths: image files.
            channels: what they are to be decoded to.

        Returns:
            {path: what is known}, in the order of `paths`.
        """
        known = self._recall()
        stamps = {path: f"{storage.stamp(path)} {channels}" for path in paths}
        unknown = [path for path in paths if path not in known or known[path].stamp != stamps[path]]
        gone = known.keys() - stamps.keys()
        if known and (unknown or gone):
            logging.warning(
                "The images are not those of this run's last start: %d are new or changed, %d are gone. It goes on with "
                "those there are.",
                len(unknown),
                len(gone),
            )
        if unknown:
            logging.info("Checking %d image files.", len(unknown))
        checked = {path: CheckedFile(stamps[path], *found) for path, found in _look(unknown, channels).items()}
        known = {path: entry for path, entry in (known | checked).items() if path not in gone}
        found = {path: known[path] for path in paths}
        self._remember(known if unknown or gone else None, {path: e.reason for path, e in found.items() if e.reason})
        return found

    def _recall(self) -> dict[str, CheckedFile]:
        if self._memory_path is None or not storage.exists(self._memory_path):
            return {}
        entries = json.loads(storage.read_text(self._memory_path))
        return {path: CheckedFile(*entry) for path, entry in entries.items() if len(entry) == len(CheckedFile._fields)}

    def _remember(self, known: dict[str, CheckedFile] | None, bad: dict[str, str]) -> None:
        if self._list_path is None:
            return
        if known is not None:
            storage.write(self._memory_path, json.dumps(known))
        if bad:
            lines = "".join(f"{escaped(path, keep_bytes=True)}\t{reason}\n" for path, reason in bad.items())
            storage.write(self._list_path, lines.encode("utf-8", "surrogateescape"))
        elif storage.exists(self._list_path):
            tf.io.gfile.remove(self._list_path)


def as_tensor(paths: Sequence[str]) -> tf.Tensor:
    """Paths, string `[N]`, as the bytes that the file system knows, which need not be UTF-8."""
    return tf.constant([os.fsencode(path) for path in paths], tf.string)


def _look(paths: list[str], channels: int) -> dict[str, tuple]:
    """{path: (reason, transparent, low, high)}."""

    def facts(index, path):
        # The size is returned too: an image that nothing depends on would not be decoded.
        image, found = decode_with_facts(native(tf.io.read_file(path)), channels)
        return index, tf.size(image), *found

    if not paths:
        return {}
    files = untuned(tf.data.Dataset.from_tensor_slices((tf.range(len(paths)), as_tensor(paths))))
    files = files.map(facts, **PARALLEL_EXAMPLES).ignore_errors()
    good = {
        paths[index]: (None, bool(transparent), int(low), int(high))
        for index, _, transparent, low, high in files.as_numpy_iterator()
    }
    return {path: good.get(path) or (_reason(path, channels),) for path in paths}


def _reason(path: str, channels: int) -> str:
    try:
        decode_with_facts(native(tf.io.read_file(os.fsencode(path))), channels)
    except tf.errors.OpError as error:
        return reason(error)
    return "unreadable"
