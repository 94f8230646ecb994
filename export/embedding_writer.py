"""Writes a set of embeddings shard by shard, so that a killed run goes on where it was."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from absl import logging

from tfcontrastive.config import InputError, unknown
from tfcontrastive.export.manifest import (
    BAD_FILES,
    FORMAT,
    ITEMS,
    bad_files,
    identity,
    own_files,
    read_manifest,
    remove_asides,
    shard_entry,
    shard_name,
    side_file,
    write_manifest,
    write_side_file,
)
from tfcontrastive.export.quantize import DTYPES, quantize
from tfcontrastive.export.shards import FORMATS, Label, Shard
from tfcontrastive.system.names import escaped, unescaped

LABELS = (None, "name", "number")


class EmbeddingWriter:
    """Collects vectors and writes them to `output/vectors-00000.<format>`, ...; `manifest.json` names what is complete.

    A shard counts from the moment that the manifest lists it, in one rename; until then it is written anew. So no
    vector is lost or doubled, wherever the process dies. At most one shard is held in memory. In a Parquet set the
    files beside the shards begin with `_` (`_manifest.json`), so that `pandas.read_parquet(output)` reads the folder.

    Names may hold anything that a file system knows: see `tfcontrastive.system.names.escaped` for how they are written.

    Args:
        output: the directory of the set, made if it is missing. One with a manifest of the same `facts` is continued.
        dim: numbers in a vector.
        format: npy, parquet or tfrecord.
        dtype: float32, float16 or int8.
        shard_rows: vectors in a shard.
        labels: whether rows have labels, and of which kind: name, number, or None for none.
        facts: what made the vectors (model, preprocessing, source), as JSON values; kept in the manifest. Of a dict with
            a `digest` only that is compared when a set is continued.
        stamps: {name: what changes when the item does} of all items, kept beside the shards: where the fact `items` of
            a set is another, the message says which have changed.

    Raises:
        InputError: for a bad value, or an `output` that holds something else or a set that was made otherwise.

    Examples:
        >>> vectors = {"cat.jpg": np.array([1.0, 0.0]), "dog.jpg": np.array([0.0, 1.0])}
        >>> writer = EmbeddingWriter("pets", dim=2)
        >>> for name in list(vectors)[writer.position :]:  # 0, or where it stopped
        ...     writer.add(name, vectors[name])
        >>> writer.finish()
    """

    def __init__(
        self,
        output: str | os.PathLike,
        dim: int,
        *,
        format: str = "npy",
        dtype: str = "float32",
        shard_rows: int = 8192,
        labels: str | None = None,
        facts: dict[str, Any] | None = None,
        stamps: Mapping[str, str] | None = None,
    ):
        if format not in FORMATS:
            raise InputError(f"`format` {unknown(format, FORMATS)}")
        if dtype not in DTYPES:
            raise InputError(f"`dtype` {unknown(dtype, DTYPES)}")
        if labels not in LABELS:
            raise InputError(f"`labels` must be name, number or None. Received: labels={labels!r}.")
        if shard_rows < 1:
            raise InputError(f"`shard_rows` must be >= 1. Received: shard_rows={shard_rows}.")
        self._output = os.fspath(output)
        made = {
            "dim": dim,
            "format": format,
            "dtype": dtype,
            "shard_rows": shard_rows,
            "labels": labels,
            **(facts or {}),
        }
        made = json.loads(json.dumps(made))
        self._manifest = self._open(made, stamps)
        self._ids: list[str] = []
        self._vectors: list[np.ndarray] = []
        self._labels: list[Label] = []
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

    def add(self, name: str, vector: np.ndarray, label: Label = None) -> None:
        """Takes the vector of the next item, and its label where the set has labels.

        Raises:
            InputError: if the name is none that a file system could give, or the label is of another kind.
        """
        kinds: dict[str | None, type] = {None: type(None), "name": str, "number": int}
        wanted = kinds[self._manifest["made"].get("labels")]
        if label is not None and not isinstance(label, wanted):
            raise InputError(f"`label` must be as `labels` of the set says. Received: {label!r} of {name!r}.")
        for text in (name, label):
            _check_name(text)
        self._ids.append(name)
        self._vectors.append(vector)
        self._labels.append(label)
        if len(self._ids) == self._manifest["made"]["shard_rows"]:
            self._flush()

    def skip(self, name: str, reason: str) -> None:
        """Notes that the next item has no vector."""
        _check_name(name)
        self._skipped.append([name, reason])

    def finish(self) -> None:
        """Writes what is left and marks the set complete."""
        self._manifest["complete"] = True
        self._flush()

    def _flush(self) -> None:
        made, manifest = self._manifest["made"], self._manifest
        if self._ids:
            entry = shard_entry(self._output, len(manifest["shards"]), made["format"], self._shard())
            manifest["shards"].append(entry)
        manifest["position"] += len(self._ids) + len(self._skipped)
        manifest["skipped"] += self._skipped
        self._ids, self._vectors, self._labels, self._skipped = [], [], [], []
        if manifest["skipped"]:
            write_side_file(self._output, BAD_FILES, made["format"], bad_files(manifest["skipped"]))
        write_manifest(self._output, manifest)

    def _shard(self) -> Shard:
        made = self._manifest["made"]
        stored, scale = quantize(np.asarray(self._vectors, np.float32), made["dtype"])
        scaled = made["dtype"] == "int8" or bool((scale != 1).any())
        if scaled and made["dtype"] == "float16":
            message = "%s: values above 65,504 are stored with a `scale`, by which readers must multiply."
            logging.warning(message, shard_name(len(self._manifest["shards"]), made["format"]))
        labels = self._labels if made.get("labels") else None
        return Shard(self._ids, stored, scale if scaled else None, labels, made.get("labels") == "name")

    def _open(self, made: dict[str, Any], stamps: Mapping[str, str] | None) -> dict[str, Any]:
        os.makedirs(self._output, exist_ok=True)
        manifest = read_manifest(self._output, "output")
        if manifest is None:
            taken = own_files(self._output)
            if taken:
                raise InputError(
                    f"`output` must be new, or a set of embeddings. Received: {self._output}, which holds "
                    f"{taken[0]} and no manifest."
                )
            manifest = {"format": FORMAT, "made": made, "position": 0, "complete": False, "shards": [], "skipped": []}
            if stamps is not None:
                lines = "".join(f"{stamp}\t{escaped(name)}\n" for name, stamp in stamps.items())
                write_side_file(self._output, ITEMS, made["format"], lines)
            write_manifest(self._output, manifest)
            return manifest
        remove_asides(self._output)
        before = manifest["made"]
        other = [
            f"{key} {before.get(key)!r}, now {made.get(key)!r}"
            for key in sorted({*made, *before})
            if identity(before.get(key)) != identity(made.get(key)) and (key, made.get(key)) != ("labels", None)
        ]
        if other:
            changed = self._changed(before, made, stamps)
            raise InputError(
                f"`output` must be new, or made alike. Received: {self._output}, with {'; '.join(other)}"
                f"{changed}. Name another directory, or move this one away."
            )
        return manifest

    def _changed(self, before: dict[str, Any], made: dict[str, Any], stamps: Mapping[str, str] | None) -> str:
        """Which items are not those that the set was begun with."""
        path = os.path.join(self._output, side_file(ITEMS, before["format"]))
        if before.get("items") == made.get("items") or stamps is None or not os.path.exists(path):
            return ""
        with open(path, encoding="utf-8", newline="\n") as file:
            rows = [line.partition("\t") for line in file.read().split("\n")[:-1]]
        known = {unescaped(name): stamp for stamp, _, name in rows}
        groups = {
            "changed": [name for name in stamps if name in known and known[name] != stamps[name]],
            "new": [name for name in stamps if name not in known],
            "gone": [name for name in known if name not in stamps],
        }
        told = [f"{len(names):,} {what}, such as {escaped(names[0])}" for what, names in groups.items() if names]
        return f" ({'; '.join(told)})" if told else ""


def _check_name(name: Label) -> None:
    if isinstance(name, str):
        try:
            name.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError as error:
            raise InputError(
                f"`name` must be text, or bytes as `os.fsdecode` gives them. Received: {name!r} ({error.reason})."
            ) from error
