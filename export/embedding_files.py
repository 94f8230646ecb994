"""Reads a set of embeddings."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from functools import cached_property

import numpy as np

from tfcontrastive.config import InputError
from tfcontrastive.export.manifest import MANIFEST, file_digests, identity, read_manifest, side_file
from tfcontrastive.export.quantize import dequantize
from tfcontrastive.export.shards import Label, Shard, read_shard


class EmbeddingFiles:
    """A directory that `EmbeddingWriter` wrote.

    `len(files)` is the number of vectors, `files.dim` their length, `files.facts` what made them, `files.complete`
    whether the run reached its end, `files.position` how many items it has read, `files.skipped` [id, reason] of those
    without a vector.

    Args:
        path: the directory.

    Raises:
        InputError: if it holds no set of embeddings.

    Examples:
        >>> files = EmbeddingFiles("vectors")
        >>> files.load().shape == (len(files), files.dim)
        True
        >>> sum(len(ids) for ids, vectors in files.blocks()) == len(files)  # one shard at a time
        True
    """

    def __init__(self, path: str | os.PathLike):
        self.path = os.fspath(path)
        manifest = read_manifest(self.path, "path")
        if manifest is None:
            found = "without one" if os.path.isdir(self.path) else "which is no directory"
            raise InputError(
                f"`path` must be a directory of embeddings with a {MANIFEST}. Received: {self.path}, {found}."
            )
        self.facts: dict = manifest["made"]
        self.dim: int = self.facts["dim"]
        self.complete: bool = manifest["complete"]
        self.position: int = manifest["position"]
        self.skipped: list[list[str]] = manifest["skipped"]
        self._shards = manifest["shards"]

    def __len__(self) -> int:
        return sum(shard["rows"] for shard in self._shards)

    def beside(self, name: str) -> str:
        """The path of a file beside the shards, such as `bad_files.txt`."""
        return os.path.join(self.path, side_file(name, self.facts["format"]))

    @cached_property
    def ids(self) -> list[str]:
        """The name of each vector, in order."""
        return [name for shard in self._read() for name in shard.ids]

    @cached_property
    def labels(self) -> list[Label] | None:
        """The label of each vector: names of classes or numbers, None for one without; None where the set has none."""
        if self.facts.get("labels") is None:
            return None
        return [label for shard in self._read() for label in shard.labels]

    def blocks(self) -> Iterator[tuple[list[str], np.ndarray]]:
        """Shard after shard: ids, and float32 vectors `[n, D]`.

        Raises:
            InputError: if a shard is damaged.
        """
        for shard in self._read():
            scale = np.ones(len(shard.ids), np.float32) if shard.scale is None else shard.scale
            yield shard.ids, dequantize(shard.stored, scale)

    def known(self, names: Iterable[str]) -> set[str]:
        """Which of some ids the set has."""
        names = set(names)
        return names and names.intersection(self.ids)  # the names of a million images take seconds

    def ids_at(self, rows: np.ndarray) -> dict[int, str]:
        """The names of some rows; only the shards that hold them are read."""
        found, start = {}, 0
        for entry in self._shards:
            here = [int(row) for row in np.unique(rows) if start <= row < start + entry["rows"]]
            if here:
                names = self._shard(entry).ids
                found.update({row: names[row - start] for row in here})
            start += entry["rows"]
        return found

    def stored(self) -> Iterator[Shard]:
        """Shard after shard, as it is stored.

        Raises:
            InputError: if a shard is damaged.
        """
        return self._read()

    @cached_property
    def digest(self) -> str:
        """A text that tells two sets apart: of what made them, of every vector, id and label in their order."""
        made = {key: identity(value) for key, value in self.facts.items()}
        contents = [shard.get("sha256") or file_digests(self.path, shard["bytes"]) for shard in self._shards]
        described = json.dumps([made, contents, self.complete], sort_keys=True)
        return hashlib.sha256(described.encode()).hexdigest()[:32]

    def load(self) -> np.ndarray:
        """All vectors, float32 `[N, D]`."""
        blocks = [vectors for _, vectors in self.blocks()]
        return np.concatenate(blocks) if blocks else np.zeros([0, self.dim], np.float32)

    def _read(self) -> Iterator[Shard]:
        return map(self._shard, self._shards)

    def _shard(self, entry: dict) -> Shard:
        path = os.path.join(self.path, entry["file"])
        shard = read_shard(path, self.facts["format"])
        problem = self._problem(shard, entry["rows"])
        if problem:
            raise InputError(f"`path` must hold whole shards. Received: {path} {problem}.")
        return shard

    def _problem(self, shard: Shard, rows: int) -> str | None:
        """What does not fit the manifest."""
        if shard.stored.shape != (rows, self.dim) or len(shard.ids) != rows:
            return f"with {list(shard.stored.shape)} vectors and {len(shard.ids)} ids in place of [{rows}, {self.dim}]"
        if shard.stored.dtype != self.facts["dtype"]:
            return f"of dtype {shard.stored.dtype} in place of {self.facts['dtype']}"
        if shard.scale is None and self.facts["dtype"] == "int8":
            return "without scales"
        if shard.scale is not None and (shard.scale.shape != (rows,) or shard.scale.dtype.kind != "f"):
            return f"with scales {list(shard.scale.shape)} in place of [{rows}]"
        if self.facts.get("labels") is not None and (shard.labels is None or len(shard.labels) != rows):
            return f"with {len(shard.labels or [])} labels in place of {rows}"
        return None
