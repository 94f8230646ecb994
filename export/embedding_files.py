"""Reads a set of embeddings."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from functools import cached_property

import numpy as np

from tfcontrastive.config import InputError
from tfcontrastive.export.embedding_writer import MANIFEST
from tfcontrastive.export.quantize import dequantize
from tfcontrastive.export.shards import read_shard


class EmbeddingFiles:
    """A directory that `EmbeddingWriter` wrote.

    `len(files)` is the number of vectors, `files.dim` their length, `files.facts` what made them, `files.complete`
    whether the run reached its end.

    Args:
        path: the directory.

    Raises:
        InputError: if it holds no set of embeddings.

    Example:

    ```python
    files = EmbeddingFiles("vectors")
    vectors = files.load()                      # float32 [N, D]
    for ids, block in files.blocks(): ...       # one shard at a time
    ```
    """

    def __init__(self, path: str | os.PathLike):
        self.path = os.fspath(path)
        try:
            with open(os.path.join(self.path, MANIFEST), encoding="utf-8") as file:
                manifest = json.load(file)
        except OSError as error:
            raise InputError(f"`path` must be a directory of embeddings with a {MANIFEST}. "
                             f"Received: {self.path} ({error.strerror}).") from error
        self.facts: dict = manifest["made"]
        self.dim: int = self.facts["dim"]
        self.complete: bool = manifest["complete"]
        self._shards = manifest["shards"]

    def __len__(self) -> int:
        return sum(shard["rows"] for shard in self._shards)

    @cached_property
    def ids(self) -> list[str]:
        """The name of each vector, in order."""
        return [name for ids, _ in self._read() for name in ids]

    def blocks(self) -> Iterator[tuple[list[str], np.ndarray]]:
        """Shard after shard: ids, and float32 vectors `[n, D]`."""
        for ids, (stored, scale) in self._read():
            yield ids, dequantize(stored, scale)

    def load(self) -> np.ndarray:
        """All vectors, float32 `[N, D]`."""
        blocks = [vectors for _, vectors in self.blocks()]
        return np.concatenate(blocks) if blocks else np.zeros([0, self.dim], np.float32)

    def _read(self) -> Iterator[tuple[list[str], tuple[np.ndarray, np.ndarray]]]:
        for shard in self._shards:
            ids, stored, scale = read_shard(os.path.join(self.path, shard["file"]), self.facts["format"])
            if len(ids) != shard["rows"] or len(stored) != shard["rows"]:
                raise InputError(f"`path` must hold whole shards. Received: {shard['file']} with {len(stored)} vectors "
                                 f"and {len(ids)} ids in place of {shard['rows']}.")
            yield ids, (stored, scale)
