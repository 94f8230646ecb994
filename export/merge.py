"""Shards of a set of embeddings, made by many machines, become the set that one would have written."""

from __future__ import annotations

import copy
import dataclasses
import glob
import os
import re
import uuid
from collections.abc import Iterator
from typing import Any

import numpy as np

from tfcontrastive import storage
from tfcontrastive.config import InputError
from tfcontrastive.export.embedding_files import EmbeddingFiles
from tfcontrastive.export.manifest import (
    BAD_FILES,
    FORMAT,
    ITEMS,
    bad_files,
    identity,
    shard_entry,
    write_manifest,
    write_side_file,
)
from tfcontrastive.export.shards import Shard

BESIDE = (ITEMS, "saved_model.txt")
"""Files that all shards have alike; a set has its own list of bad files."""


def shard_path(output: str | os.PathLike, index: int, count: int) -> str:
    """The directory of one shard of a set, beside it.

    Examples:
        >>> shard_path("vectors", 0, 4)
        'vectors-00000-of-00004'
    """
    return f"{os.fspath(output).rstrip('/')}-{index:05d}-of-{count:05d}"


def merge_embeddings(output: str | os.PathLike) -> EmbeddingFiles:
    """Merges `output-00000-of-00004`, ... into `output`: the files that one run over all images would have written.

    The shards stay. The set is written aside and renamed, so that a merge that was killed can be started again.

    Args:
        output: the directory of the set; it must not exist yet.

    Returns:
        The set.

    Raises:
        InputError: a shard that is missing, not finished or made otherwise, or an `output` that exists.

    Examples:
        >>> from tfcontrastive.export import embed_images, folder_items
        >>> from tfcontrastive.export.item_shards import ItemsShard
        >>> items = folder_items("photos")
        >>> for i in range(2):
        ...     shard = ItemsShard(items, i, 2, total=len(items), batch_size=1)
        ...     done = embed_images("exported", shard, shard_path("merged", i, 2))
        >>> len(merge_embeddings("merged")) == len(items)
        True
    """
    output = os.fspath(output).rstrip("/")
    if os.path.lexists(output) and not (os.path.isdir(output) and not os.listdir(output)):
        raise InputError(
            f"`output` must be new, or an empty directory, to merge into. Received: {output}, which exists."
        )
    shards = _shards(output)
    if not sum(map(len, shards)):
        raise InputError(
            f"`output` must have shards with at least one vector. Received: {output}, whose shards have none."
        )
    folder, name = os.path.split(output)
    for left in glob.glob(os.path.join(glob.escape(folder), f".{glob.escape(name)}.*.merge.tmp")):
        storage.remove_left(left)
    aside = os.path.join(folder, f".{name}.{uuid.uuid4().hex}.merge.tmp")
    storage.make_writable("output", aside)
    try:
        _write(aside, shards)
        os.rename(aside, output)
    except BaseException:
        storage.remove_tree(aside)
        raise
    return EmbeddingFiles(output)


def _write(directory: str, shards: list[EmbeddingFiles]) -> None:
    made = {key: value for key, value in copy.deepcopy(shards[0].facts).items() if key != "shard"}
    manifest: dict[str, Any] = {
        "format": FORMAT,
        "made": made,
        "position": sum(shard.position for shard in shards),
        "complete": True,
        "shards": [],
        "skipped": [row for shard in shards for row in shard.skipped],
    }
    for rows in _in_rows_of(made["shard_rows"], (rows for shard in shards for rows in shard.stored()), made):
        manifest["shards"].append(shard_entry(directory, len(manifest["shards"]), made["format"], rows))
    for name in BESIDE:
        path = shards[0].beside(name)
        if os.path.exists(path):
            with open(path, encoding="utf-8", newline="\n") as file:
                write_side_file(directory, name, made["format"], file.read())
    if manifest["skipped"]:
        write_side_file(directory, BAD_FILES, made["format"], bad_files(manifest["skipped"]))
    write_manifest(directory, manifest)


def _in_rows_of(count: int, blocks: Iterator[Shard], made: dict[str, Any]) -> Iterator[Shard]:
    """The same rows in blocks of so many, with a scale where one of them needs it."""
    scaled, named = made["dtype"] == "int8", made.get("labels") == "name"
    held: list[Shard] = []
    for block in blocks:
        held.append(block)
        while sum(len(part.ids) for part in held) >= count:
            joined = _joined(held, named)
            yield _as_written(_part(joined, slice(count)), scaled)
            held = [_part(joined, slice(count, None))]
    if sum(len(part.ids) for part in held):
        yield _as_written(_joined(held, named), scaled)


def _joined(parts: list[Shard], named: bool) -> Shard:
    labels = None if parts[0].labels is None else [label for part in parts for label in part.labels or []]
    scales = [np.ones(len(part.ids), np.float32) if part.scale is None else part.scale for part in parts]
    ids = [name for part in parts for name in part.ids]
    return Shard(ids, np.concatenate([part.stored for part in parts]), np.concatenate(scales), labels, named)


def _part(shard: Shard, rows: slice) -> Shard:
    labels = None if shard.labels is None else shard.labels[rows]
    return Shard(shard.ids[rows], shard.stored[rows], shard.scale[rows], labels, shard.named)


def _as_written(shard: Shard, scaled: bool) -> Shard:
    """Without scales that are all 1, unless the type of the set has them always."""
    return shard if scaled or (shard.scale != 1).any() else dataclasses.replace(shard, scale=None)


def _shards(output: str) -> list[EmbeddingFiles]:
    """All shards of a set in their order, whole and made alike."""
    pattern = re.compile(re.escape(os.path.basename(output)) + r"-(\d{5,})-of-(\d{5,})")
    folder = os.path.dirname(output) or "."
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    found = [match for name in names if (match := pattern.fullmatch(name))]
    counts = sorted({int(match[2]) for match in found})
    if len(counts) != 1:
        what = f"shards of {' and of '.join(map(str, counts))}" if counts else "no shard"
        raise InputError(
            f"`output` must have the shards of one run beside it, such as {shard_path(output, 0, 4)}. Received: {what}. "
            "Embed them with --shard=i/n."
        )
    count = counts[0]
    missing = sorted(set(range(count)) - {int(match[1]) for match in found})
    if missing:
        some = ", ".join(f"{index}/{count}" for index in missing[:5]) + (", ..." if len(missing) > 5 else "")
        raise InputError(f"`output` must have all of its {count} shards. Received: {len(missing)} missing: {some}.")
    shards = [EmbeddingFiles(shard_path(output, index, count)) for index in range(count)]
    for index, shard in enumerate(shards):
        if not shard.complete:
            raise InputError(
                f"`output` must have finished shards. Received: {shard.path}, which is not. Start "
                f"--shard={index}/{count} again."
            )
        _require_alike(shard, shards[0])
        facts = shard.facts.get("shard") or {}
        end = shards[index + 1].facts.get("shard", {}).get("start") if index + 1 < count else facts.get("total")
        if (facts.get("index"), facts.get("count"), facts.get("end")) != (index, count, end) or (
            shard.position != facts["end"] - facts["start"]
        ):
            raise InputError(
                f"`output` must have shards that follow each other. Received: {shard.path} with {shard.position:,} items of "
                f"{facts or 'no shard'}. Embed all shards with the same flags."
            )
    return shards


def _require_alike(shard: EmbeddingFiles, first: EmbeddingFiles) -> None:
    for key in sorted({*shard.facts, *first.facts} - {"shard"}):
        mine, its = identity(shard.facts.get(key)), identity(first.facts.get(key))
        if mine != its:
            raise InputError(
                f"`output` must have shards that were made alike. Received: {shard.path} with {key} {mine!r}, and "
                f"{first.path} with {its!r}."
            )
