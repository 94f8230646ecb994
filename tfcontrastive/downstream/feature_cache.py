"""A teacher's features of fixed views on disk: worked out once, read a batch at a time."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from absl import logging

from tfcontrastive import storage
from tfcontrastive.config import InputError

MANIFEST = "features.json"
FORMAT = 1

_DTYPE = np.dtype("<f2")  # of numbers in [-1, 1]
_NUMBERS = 2**21  # of a shard, 4 MB: what a kill costs at most


class FeatureCache:
    """Features of V views of each of N images, scaled to unit length, in shards of whole images.

    features.json tells what they are of; features-00000.f2, ... hold `[images, V, D]` in half precision, little-endian.

    Args:
        directory: where they are, or will be.
        facts: what they are of, in groups: `{group: {name: JSON value}}`. Features of anything else are refused.
        images, views, width: N, V and D.

    Raises:
        InputError: the directory holds features of something else, or no whole features.json.

    Examples:
        >>> cache = FeatureCache("runs/student/features", {"teacher": {"weights": "a1b2"}}, images=4, views=2, width=3)
        >>> cache.fill(lambda first, count: np.ones([count, 2, 3]), cache.missing())
        >>> cache.rows(np.array([3, 0]), np.array([1, 1])).shape
        (2, 3)
    """

    def __init__(self, directory: str, facts: Mapping[str, Mapping[str, Any]], *, images: int, views: int, width: int):
        self.directory = directory
        self.images, self.views, self.width = images, views, width
        self.shard_images = max(1, _NUMBERS // (views * width))
        sizes = {"images": images, "views": views, "width": width, "images_in_a_shard": self.shard_images}
        self.facts = {"format": FORMAT, **facts, "sizes": sizes}
        self._maps: dict[int, np.ndarray] = {}
        self._check()

    @property
    def bytes(self) -> int:
        """Of all features on disk."""
        return self.images * self.views * self.width * _DTYPE.itemsize

    def missing(self) -> list[int]:
        """The numbers of the shards that are not there; one that is not whole is told of, and counts as not there."""
        there = set(storage.names_in(self.directory))
        found = []
        for shard in range(-(-self.images // self.shard_images)):
            path = self._path(shard)
            if os.path.basename(path) in there:
                size = tf.io.gfile.stat(path).length
                if size == self._bytes_of(shard):
                    continue
                logging.warning(
                    "%s is not whole, %d bytes in place of %d: its features are computed again.",
                    path, size, self._bytes_of(shard),
                )  # fmt: skip
            found.append(shard)
        return found

    def fill(
        self,
        make: Callable[[int, int], np.ndarray],
        shards: Sequence[int],
        *,
        write: bool = True,
        say: Callable[[int], None] = lambda images: None,
    ) -> None:
        """Makes shards, one after the other.

        Args:
            make: (number of the first image, images) -> their features `[images, V, D]`.
            shards: what `missing` said.
            write: False where another process of the run writes, and this one only takes its part in making.
            say: called with the number of images done, after each shard.

        Raises:
            InputError: features that are not finite.
        """
        if shards and write:
            storage.make_dirs(self.directory)
            if not storage.exists(self._manifest):
                storage.write(self._manifest, json.dumps(self.facts, indent=2) + "\n")
        for place, shard in enumerate(shards):
            first, count = self._range(shard)
            found = np.asarray(make(first, count), np.float32)
            if not np.isfinite(found).all():
                raise InputError(
                    f"`teacher` must give finite features. Received: others of images {first} to {first + count - 1}."
                )
            unit = found / np.maximum(np.linalg.norm(found, axis=-1, keepdims=True), 1e-12)
            if write:
                storage.write(self._path(shard), unit.astype(_DTYPE).tobytes())
            say(self.images - sum(self._range(one)[1] for one in shards[place + 1 :]))

    def rows(self, images: np.ndarray, views: np.ndarray) -> np.ndarray:
        """The features of some views, read from disk.

        Args:
            images, views: `[B]`, the number of each image, and of the view of it.

        Returns:
            float32 `[B, D]`.
        """
        shards, places = np.divmod(images, self.shard_images)
        found = np.empty([len(images), self.width], np.float32)
        for shard in np.unique(shards):
            own = np.flatnonzero(shards == shard)
            found[own] = self._read(int(shard), places[own] * self.views + views[own])
        return found

    def _read(self, shard: int, rows: np.ndarray) -> np.ndarray:
        if "://" not in self.directory:
            return self._mapped(shard)[rows]
        length = self.width * _DTYPE.itemsize
        with tf.io.gfile.GFile(self._path(shard), "rb") as file:
            found = []
            for row in rows:
                file.seek(int(row) * length)
                found.append(np.frombuffer(file.read(length), _DTYPE))
        return np.stack(found)

    def _mapped(self, shard: int) -> np.ndarray:
        """A shard `[images * V, D]`, of which only what is read comes into memory."""
        if shard not in self._maps:
            self._maps[shard] = np.memmap(self._path(shard), _DTYPE, "r").reshape(-1, self.width)
        return self._maps[shard]

    @property
    def _manifest(self) -> str:
        return os.path.join(self.directory, MANIFEST)

    def _path(self, shard: int) -> str:
        return os.path.join(self.directory, f"features-{shard:05}.f2")

    def _range(self, shard: int) -> tuple[int, int]:
        first = shard * self.shard_images
        return first, min(self.shard_images, self.images - first)

    def _bytes_of(self, shard: int) -> int:
        return self._range(shard)[1] * self.views * self.width * _DTYPE.itemsize

    def _check(self) -> None:
        if not storage.exists(self._manifest):
            return
        try:
            held = json.loads(storage.read_text(self._manifest))
        except (ValueError, RecursionError) as error:
            raise InputError(
                f"`feature_cache` must hold a whole {MANIFEST}. Received: {self._manifest!r}: {error}. Remove the directory."
            ) from error
        wanted = json.loads(json.dumps(self.facts))  # JSON has no tuples
        if held == wanted:
            return
        differing = [group for group in wanted if not isinstance(held, dict) or held.get(group) != wanted[group]]
        told = "; ".join(_difference(group, held, wanted) for group in differing or ["format"])
        raise InputError(
            f"`feature_cache` must be new, or of this teacher and these views. Received: {self.directory!r}, with {told}. "
            "Take another directory, or remove this one."
        )


def _difference(group: str, held: Any, wanted: Mapping[str, Any]) -> str:
    """What of a group is another: `another teacher (weights: a1 there, b2 now)`."""
    there = held.get(group) if isinstance(held, dict) else None
    now = wanted[group]
    if not isinstance(there, dict) or not isinstance(now, dict):
        return f"another {group} ({there} there, {now} now)"
    names = [name for name in now if there.get(name) != now[name]]
    values = ", ".join(f"{name}: {there.get(name)} there, {now[name]} now" for name in names)
    return f"another {group} ({values})"
