"""What a directory of embeddings says of itself: `manifest.json`, written anew with each shard."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable
from typing import Any

from tfcontrastive.config import InputError
from tfcontrastive.export.quantize import DTYPES
from tfcontrastive.export.shards import FORMATS, Shard, write_atomically, write_shard
from tfcontrastive.system.names import escaped

FORMAT = 1
"""Of the manifest and the files beside it; sets of another are refused."""

MANIFEST = "manifest.json"
BAD_FILES = "bad_files.txt"
ITEMS = "items.tsv"

_SHARD = r"vectors-\d{5,}\.(npy|parquet|tfrecord)"
_OURS = re.compile(rf"{_SHARD}(\.(ids|scale|labels))?|_?(manifest\.json|bad_files\.txt|items\.tsv)")
_KINDS = {"made": dict, "position": int, "complete": bool, "shards": list, "skipped": list}


def side_file(name: str, format: str) -> str:
    """What a file beside the shards is called: readers of a folder of Parquet files pass over `_names` alone."""
    return f"_{name}" if format == "parquet" else name


def read_manifest(directory: str, argument: str) -> dict[str, Any] | None:
    """The manifest of a directory, None where there is none.

    Args:
        directory: of the set.
        argument: how messages call it.

    Raises:
        InputError: if it is damaged, of another format, or lists shards that are missing or not whole.
    """
    found = [
        path for path in (os.path.join(directory, prefix + MANIFEST) for prefix in ("", "_")) if os.path.exists(path)
    ]
    if not found:
        return None
    if len(found) > 1:
        raise InputError(f"`{argument}` must hold one set of embeddings. Received: {' and '.join(found)}.")
    path = found[0]
    try:
        with open(path, encoding="utf-8") as file:
            manifest = json.load(file)
    except (OSError, ValueError, RecursionError) as error:
        raise _damaged(argument, path, f"is no manifest: {' '.join(str(error).split())}") from error
    if isinstance(manifest, dict) and "made" in manifest and manifest.get("format") != FORMAT:
        raise InputError(
            f"`{argument}` must be a set of format {FORMAT}. Received: {path} of format {manifest.get('format', 0)!r}, by "
            "another version of tfcontrastive. Embed the images again, into a new directory."
        )
    problem = _problem(manifest)
    if problem:
        raise _damaged(argument, path, problem)
    for shard in manifest["shards"]:
        for name, size in shard["bytes"].items():
            _check_size(argument, os.path.join(directory, name), size)
    return manifest


def write_manifest(directory: str, manifest: dict[str, Any]) -> None:
    """Writes it in one rename."""
    write_side_file(directory, MANIFEST, manifest["made"]["format"], json.dumps(manifest, indent=1) + "\n")


def write_side_file(directory: str, name: str, format: str, content: str) -> None:
    """Writes a text beside the shards in one rename."""

    def write(aside):
        with open(aside, "w", encoding="utf-8", newline="\n") as file:
            file.write(content)

    write_atomically(os.path.join(directory, side_file(name, format)), write)


def shard_name(number: int, format: str) -> str:
    """The file of a set's shard."""
    return f"vectors-{number:05d}.{format}"


def shard_entry(directory: str, number: int, format: str, shard: Shard) -> dict[str, Any]:
    """Writes a shard whole; what the manifest is to say of it: its size and the digest of what it holds."""
    name = shard_name(number, format)
    sizes = write_shard(os.path.join(directory, name), format, shard)
    return {"file": name, "rows": len(shard.ids), "bytes": sizes, "sha256": file_digests(directory, sizes)}


def file_digests(directory: str, names: Iterable[str]) -> dict[str, str]:
    """The SHA-256 of files."""
    found = {}
    for name in names:
        with open(os.path.join(directory, name), "rb") as file:
            found[name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def bad_files(skipped: list[list[str]]) -> str:
    """The lines of the list of items without a vector."""
    return "".join(f"{escaped(name)}\t{' '.join(reason.split())}\n" for name, reason in skipped)


def identity(fact: Any) -> Any:
    """What is compared of a fact: of a model its digest, since equal weights may have several versions."""
    return fact["digest"] if isinstance(fact, dict) and "digest" in fact else fact


def own_files(directory: str) -> list[str]:
    """Names in a directory that are those of a set of embeddings."""
    return sorted(name for name in os.listdir(directory) if _OURS.fullmatch(name))


def remove_asides(directory: str) -> None:
    """Deletes what a killed run was writing, and nothing else."""
    for name in os.listdir(directory):
        if name.startswith("_") and name.endswith(".tmp") and _OURS.fullmatch(name[1:-4]):
            os.remove(os.path.join(directory, name))


def _problem(manifest: Any) -> str | None:
    """What is wrong with the content of a manifest."""
    if not isinstance(manifest, dict):
        return "is no manifest of embeddings"
    for key, kind in _KINDS.items():
        if not isinstance(manifest.get(key), kind):
            return f"has no {key!r}"
    made = manifest["made"]
    if (
        not _is_count(made.get("dim"))
        or made.get("format") not in FORMATS
        or made.get("dtype") not in DTYPES
        or (made.get("labels") not in (None, "name", "number"))
    ):
        return "does not say how the vectors are written"
    for shard in manifest["shards"]:
        if not isinstance(shard, dict) or not _is_count(shard.get("rows")) or not isinstance(shard.get("bytes"), dict):
            return "has a shard without size"
        names = [shard.get("file"), *shard["bytes"]]
        if not all(isinstance(name, str) and _OURS.fullmatch(name) for name in names):
            return "names a shard that is none"
        if not all(_is_count(size) for size in shard["bytes"].values()):
            return "has a shard without size"
    if not all(
        isinstance(row, list) and len(row) == 2 and all(isinstance(x, str) for x in row) for row in manifest["skipped"]
    ):
        return "has a list of skipped images that is none"
    return None


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _check_size(argument: str, path: str, size: int) -> None:
    found = os.path.getsize(path) if os.path.isfile(path) else None
    if found != size:
        what = "is missing" if found is None else f"has {found:,} bytes in place of {size:,}"
        raise _damaged(argument, path, what)


def _damaged(argument: str, path: str, problem: str) -> InputError:
    return InputError(
        f"`{argument}` must be a whole set of embeddings. Received: {path}, which {problem}. Embed the "
        "images again, into a new directory."
    )
