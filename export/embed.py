"""Images in, files of vectors out."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent import futures
from typing import Any

import numpy as np
import tensorflow as tf

from tfcontrastive.config import InputError
from tfcontrastive.data.transcode import as_native
from tfcontrastive.export.digest import model_digest
from tfcontrastive.export.embedding_writer import EmbeddingWriter
from tfcontrastive.export.items import Items
from tfcontrastive.export.model_card import read_card
from tfcontrastive.export.postgres import is_postgres
from tfcontrastive.export.postgres_writer import PostgresWriter
from tfcontrastive.export.reasons import image_reason
from tfcontrastive.export.shards import Label
from tfcontrastive.pretrained.trained import latest_version


@dataclasses.dataclass(frozen=True)
class Embedded:
    """What `embed_images` did: vectors in the set, items without one, and the speed of this run."""

    rows: int
    skipped: list[list[str]]
    seconds: float
    images_per_second: float


def embed_images(
    saved_model: str | os.PathLike,
    items: Items,
    output: str | os.PathLike,
    *,
    format: str = "npy",
    dtype: str = "float32",
    normalize: bool = False,
    batch_size: int = 64,
    shard_rows: int = 8192,
    table: str = "embeddings",
    source: str = "",
    progress: Callable[[int, int], None] | None = None,
) -> Embedded:
    """Embeds every image of a source, and can be killed and started again at any time.

    An image that cannot be decoded is skipped, with its reason, and listed in `output/bad_files.txt` (in a Parquet set
    `_bad_files.txt`). Memory does not grow with the source: two batches and one shard are held.

    Args:
        saved_model: what `save_model` wrote, or the base directory of its versions (the highest is taken).
        items: the source, from `folder_items`, `encoded_items` or `dataset_items`, a function of the same kind, or an
            `ItemsShard` of one.
        output: the directory of the set, or the `postgresql://` URL of a database with pgvector. One begun with the same
            arguments, the same model and the same images is continued; of a source whose images have changed since, it
            is refused.
        format: npy, parquet or tfrecord.
        dtype: float32, float16 or int8, with one scale a vector.
        normalize: True for vectors of unit length.
        batch_size: images a call.
        shard_rows: vectors a file, or a transaction.
        table: of a database, the table.
        source: a name for the source, kept with the vectors and compared when a run is continued.
        progress: called after each batch with the vectors written and the items skipped so far.

    Raises:
        InputError: if an argument is wrong or no image could be embedded.

    Examples:
        >>> from tfcontrastive.export import EmbeddingFiles, folder_items, nearest
        >>> done = embed_images("exported", folder_items("photos"), "new_vectors", dtype="int8")
        >>> ids, similarities = nearest("new_vectors", EmbeddingFiles("new_vectors").load()[:1], k=5)
    """
    if batch_size < 1:
        raise InputError(f"`batch_size` must be >= 1. Received: batch_size={batch_size}.")
    path = latest_version(saved_model)
    encode = _Encoder(path, "embedding_l2" if normalize else "embedding")
    facts = {
        "model": encode.facts,
        "normalize": normalize,
        "source": source,
        "items": getattr(items, "fingerprint", None),
    }
    shard = getattr(items, "shard", None)
    if shard is not None:
        facts["shard"] = shard
    labels = getattr(items, "labels", None)
    with contextlib.ExitStack() as stack:
        writer: EmbeddingWriter | PostgresWriter
        if is_postgres(output):
            if format != "npy" or shard is not None:
                raise InputError("`format` and shards must be left out with a database as output.")
            place = path if "://" in path else os.path.abspath(path)
            writer = PostgresWriter(
                str(output), encode.dim, labels=labels, facts=facts, table=table, dtype=dtype, batch_rows=shard_rows,
                saved_model=place,
            )  # fmt: skip
            stack.callback(writer.close)
        else:
            writer = EmbeddingWriter(
                output, encode.dim, labels=labels, facts=facts, stamps=getattr(items, "stamps", None), format=format,
                dtype=dtype, shard_rows=shard_rows,
            )  # fmt: skip
        return _fill(writer, encode, items, batch_size, progress)


def _fill(
    writer: EmbeddingWriter | PostgresWriter,
    encode: _Encoder,
    items: Items,
    batch_size: int,
    progress: Callable[[int, int], None] | None,
) -> Embedded:
    """Writes what is not there yet."""
    before, start = writer.rows, time.monotonic()
    if not writer.complete:
        for batch in _read_ahead(_batches(items(writer.position), batch_size)):
            for (name, _, label), vector in zip(batch, _vectors(encode, batch), strict=True):
                if isinstance(vector, str):
                    writer.skip(name, vector)
                else:
                    writer.add(name, vector, label)
            if progress is not None:
                progress(writer.rows, len(writer.skipped))
        writer.finish()
    if not writer.rows and getattr(items, "shard", None) is None:  # of many shards, one may hold nothing
        reason = f"; the first: {': '.join(writer.skipped[0])}" if writer.skipped else ""
        raise InputError(f"`items` must hold a readable image. Received: {len(writer.skipped)} unreadable{reason}.")
    seconds = time.monotonic() - start
    return Embedded(writer.rows, writer.skipped, seconds, (writer.rows - before) / max(seconds, 1e-9))


def embed_files(saved_model: str | os.PathLike, files: Sequence[str | os.PathLike]) -> np.ndarray:
    """The embeddings of a few image files: float32 `[N, D]`.

    Raises:
        InputError: if one cannot be read or decoded.

    Examples:
        >>> from tfcontrastive.export import nearest
        >>> ids, similarities = nearest("vectors", embed_files("exported", ["cat.jpg"]), k=5)
    """
    encode = _Encoder(latest_version(saved_model), "embedding")
    vectors = []
    for name in files:
        try:
            with open(name, "rb") as file:
                vector = next(iter(encode([as_native(file.read())])))
        except OSError as error:
            raise InputError(f"`files` must be readable images. Received: {name!r} ({error.strerror}).") from error
        except ValueError as error:
            raise InputError(f"`files` must be readable images. Received: {name!r}: {error}.") from error
        if isinstance(vector, str):
            raise InputError(f"`files` must be readable images. Received: {name!r}: {vector}.")
        vectors.append(vector)
    return np.stack(vectors)


class _Encoder:
    """Images of one kind to vectors; an image that fails gives its reason instead."""

    def __init__(self, path: str, output: str):
        self._model = tf.saved_model.load(path)  # its variables live as long as this reference
        self._output = output
        outputs = self._model.signatures["serving_default"].structured_outputs
        if output not in outputs:
            raise InputError(
                f"`saved_model` must be written by tfcontrastive. Received: {path} with outputs "
                f"{', '.join(sorted(outputs))}."
            )
        self.dim = outputs[output].shape[-1]
        self.facts = model_facts(path)

    def __call__(self, images: list[bytes | np.ndarray]) -> Iterable[np.ndarray | str]:
        if not images:
            return []
        try:
            return self._run(images)
        except tf.errors.InvalidArgumentError as error:
            if len(images) == 1:
                return [image_reason(error.message)]
        middle = len(images) // 2  # one bad image of B costs 2 log2(B) calls
        return itertools.chain(self(images[:middle]), self(images[middle:]))

    def _run(self, images):
        encoded = isinstance(images[0], bytes)
        name = "image_bytes" if encoded else "serving_default"
        if name not in self._model.signatures:
            raise InputError("`saved_model` must have the signature image_bytes to embed files. Received: one without.")
        tensor = tf.constant(images, tf.string) if encoded else tf.constant(np.stack(images), tf.float32)
        return self._model.signatures[name](tensor)[self._output].numpy()


def model_facts(path: str) -> dict[str, Any]:
    """What is kept of the model that made a set: the digest tells two models apart, the rest is for people.

    Args:
        path: the directory of a version, on a disk or in a bucket.
    """
    card = read_card(path)
    return {
        "name": card.get("name"),
        "version": os.path.basename(path.rstrip("/")),
        "digest": model_digest(path),
        "preprocessing_hash": card.get("preprocessing", {}).get("hash"),
    }


def _vectors(encode: _Encoder, batch: list[tuple]) -> Iterator[np.ndarray | str]:
    """For each item its vector, or why it has none."""
    vectors = iter(encode([image for _, image, _ in batch if not isinstance(image, OSError)]))
    for _, image, _ in batch:
        if isinstance(image, OSError):
            yield f"cannot be read: {image.strerror or image}"
            continue
        vector = next(vectors)
        yield vector if isinstance(vector, str) or np.isfinite(vector).all() else "has a vector that is not finite"


def _read_ahead(batches: Iterator[list]) -> Iterator[list]:
    """The same batches, each read while the one before it is embedded."""
    with futures.ThreadPoolExecutor(1) as reader:
        coming = reader.submit(next, batches, None)
        while (batch := coming.result()) is not None:
            coming = reader.submit(next, batches, None)
            yield batch


def _batches(items: Iterable, size: int) -> Iterator[list[tuple[str, bytes | np.ndarray | OSError, Label]]]:
    """Items in lists, each with a label or None."""
    iterator = iter(items)
    while batch := [(*item, None)[:3] for item in itertools.islice(iterator, size)]:
        yield batch
