"""Writes a set of embeddings shard by shard, so that a killed run goes on where it was."""

from __future__ import annotations

import glob
import json
import os
from typing import Any

import numpy as np

from tfcontrastive.config import InputError, unknown
from tfcontrastive.export.quantize import DTYPES, quantize
from tfcontrastive.export.shards import FORMATS, write_atomically, write_shard

MANIFEST = "manifest.json"


class EmbeddingWriter:
    """Collects vectors and writes them to `output/vectors-00000.<format>`, ...; `manifest.json` names what is complete.

    A shard counts from the moment that the manifest lists it, in one rename; until then it is written anew. So no
    vector is lost or doubled, wherever the process dies. At most one shard is held in memory.

    Args:
        output: the directory of the set, made if it is missing. One with a manifest of the same `facts` is continued.
        dim: numbers in a vector.
        format: npy, parquet or tfrecord.
        dtype: float32, float16 or int8.
        shard_rows: vectors in a shard.
        facts: what made the vectors (model, preprocessing, source), as JSON values; kept in the manifest.

    Raises:
        InputError: for a bad value, or a set in `output` that was made otherwise.

    Example:

    ```python
    writer = EmbeddingWriter("vectors", dim=2048)
    for position in range(writer.position, len(images)):
        writer.add(names[position], vectors[position])
    writer.finish()
    ```
    """

    def __init__(
        self,
        output: str | os.PathLike,
        dim: int,
        *,
        format: str = "npy",
        dtype: str = "float32",
        shard_rows: int = 8192,
        facts: dict[str, Any] | None = None,
    ):
        if format not in FORMATS:
            raise InputError(f"`format` {unknown(format, FORMATS)}")
        if dtype not in DTYPES:
            raise InputError(f"`dtype` {unknown(dtype, DTYPES)}")
        if shard_rows < 1:
            raise InputError(f"`shard_rows` must be >= 1. Received: shard_rows={shard_rows}.")
        self._output = os.fspath(output)
        made = {"dim": dim, "format": format, "dtype": dtype, "shard_rows": shard_rows, **(facts or {})}
        made = json.loads(json.dumps(made))
        self._manifest = self._open(made)
        self._ids: list[str] = []
        self._vectors: list[np.ndarray] = []
        self._skipped: list[list[str]] = []

    @property
    def position(self) -> int:
        """How many items of the source are done for good: where to go on."""
        return self._manifest["position"]

    @property
    def rows(self) -> int:
        """Vectors in complete shards and in memory."""
        return sum(shard["rows"] for shard in self._manifest["shards"]) + len(self._ids)

    @property
    def skipped(self) -> list[list[str]]:
        """[id, reason] of every item that gave no vector."""
        return self._manifest["skipped"] + self._skipped

    @property
    def complete(self) -> bool:
        """Whether the source has been read to its end."""
        return self._manifest["complete"]

    def add(self, name: str, vector: np.ndarray) -> None:
        """Takes the vector of the next item."""
        self._ids.append(name)
        self._vectors.append(vector)
        if len(self._ids) == self._manifest["made"]["shard_rows"]:
            self._flush()

    def skip(self, name: str, reason: str) -> None:
        """Notes that the next item has no vector."""
        self._skipped.append([name, reason])

    def finish(self) -> None:
        """Writes what is left and marks the set complete."""
        self._manifest["complete"] = True
        self._flush()

    def _flush(self) -> None:
        made, manifest = self._manifest["made"], self._manifest
        if self._ids:
            name = f"vectors-{len(manifest['shards']):05d}.{made['format']}"
            write_shard(os.path.join(self._output, name), made["format"], self._ids,
                        *quantize(np.asarray(self._vectors, np.float32), made["dtype"]))
            manifest["shards"].append({"file": name, "rows": len(self._ids)})
        manifest["position"] += len(self._ids) + len(self._skipped)
        manifest["skipped"] += self._skipped
        self._ids, self._vectors, self._skipped = [], [], []
        if manifest["skipped"]:
            self._write("bad_files.txt", "".join(f"{name}\t{reason}\n" for name, reason in manifest["skipped"]))
        self._write(MANIFEST, json.dumps(manifest, indent=1) + "\n")

    def _write(self, name: str, text: str) -> None:
        def write(aside):
            with open(aside, "w", encoding="utf-8") as file:
                file.write(text)

        write_atomically(os.path.join(self._output, name), write)

    def _open(self, made: dict[str, Any]) -> dict[str, Any]:
        os.makedirs(self._output, exist_ok=True)
        path = os.path.join(self._output, MANIFEST)
        for aside in glob.glob(os.path.join(glob.escape(self._output), "*.tmp")):
            os.remove(aside)
        if not os.path.exists(path):
            return {"made": made, "position": 0, "complete": False, "shards": [], "skipped": []}
        with open(path, encoding="utf-8") as file:
            manifest = json.load(file)
        other = [f"{key} {manifest['made'].get(key)!r}, now {made.get(key)!r}"
                 for key in sorted({*made, *manifest["made"]}) if manifest["made"].get(key) != made.get(key)]
        if other:
            raise InputError(f"`output` must be new, or made alike. Received: {self._output}, with {'; '.join(other)}.")
        return manifest
