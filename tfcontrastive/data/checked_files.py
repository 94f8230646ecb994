"""Which image files can be decoded, remembered between runs."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence

import tensorflow as tf
from absl import logging

from tfcontrastive import storage
from tfcontrastive.data.images import decode, reason
from tfcontrastive.names import escaped

_MEMORY_NAME = "checked_files.json"


class CheckedFiles:
    """Decodes files in parallel and remembers the outcome for each path, size and time of change.

    Args:
        bad_files_path: file to list the bad ones in, one a line: path, tab, reason; it is removed where there are none.
            Paths are the bytes of the file system, or a JSON string: see `tfcontrastive.names.escaped`. The memory is
            `checked_files.json` in the same directory. None keeps neither.
    """

    def __init__(self, bad_files_path: str | None):
        self._list_path = bad_files_path
        self._memory_path = None
        if bad_files_path is not None:
            directory = os.path.dirname(bad_files_path)
            storage.make_dirs(directory or ".")
            self._memory_path = os.path.join(directory, _MEMORY_NAME)

    def bad_among(self, paths: Sequence[str], channels: int) -> dict[str, str]:
        """The files that cannot be decoded, and why.

        Args:
            paths: image files.
            channels: what they are to be decoded to.

        Returns:
            {path: reason}, in the order of `paths`.
        """
        known = self._recall()
        stamps = {path: f"{storage.stamp(path)} {channels}" for path in paths}
        unknown = [path for path in paths if known.get(path, [None])[0] != stamps[path]]
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
        reasons = _reasons(unknown, channels)
        checked = {path: [stamps[path], reasons.get(path)] for path in unknown}
        known = {path: entry for path, entry in (known | checked).items() if path not in gone}
        bad = {path: known[path][1] for path in paths if known[path][1]}
        self._remember(known if unknown or gone else None, bad)
        return bad

    def _recall(self) -> dict[str, list]:
        if self._memory_path is None or not storage.exists(self._memory_path):
            return {}
        return json.loads(storage.read_text(self._memory_path))

    def _remember(self, known: dict[str, list] | None, bad: dict[str, str]) -> None:
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


def _reasons(paths: list[str], channels: int) -> dict[str, str]:
    """{path: message} of those that cannot be decoded."""

    def index_if_good(index, path):
        # The size is returned too: an image that nothing depends on would not be decoded.
        return index, tf.size(decode(tf.io.read_file(path), channels))

    if not paths:
        return {}
    files = tf.data.Dataset.from_tensor_slices((tf.range(len(paths)), as_tensor(paths)))
    files = files.map(index_if_good, num_parallel_calls=tf.data.AUTOTUNE).ignore_errors()
    good = {int(index) for index, _ in files.as_numpy_iterator()}
    return {path: _reason(path, channels) for index, path in enumerate(paths) if index not in good}


def _reason(path: str, channels: int) -> str:
    try:
        decode(tf.io.read_file(os.fsencode(path)), channels)
    except tf.errors.OpError as error:
        return reason(error)
    return "unreadable"
