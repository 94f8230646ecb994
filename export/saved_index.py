"""A set of embeddings inside a SavedModel, and the exact search among its rows, in the graph."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from tfcontrastive.config import InputError
from tfcontrastive.export.checks import require
from tfcontrastive.export.embedding_files import EmbeddingFiles
from tfcontrastive.export.index_memory import require_memory
from tfcontrastive.export.search import unit_length

MOST_BYTES = 2**33
"""Of vectors: a server holds them all in memory, and a client sends 2 kB of an image to search in them."""

_BLOCK_BYTES = 2**27  # of float32 that are compared at a time: a float32 block is read as it lies, others are cast


class SavedIndex(tf.Module):
    """The rows of a set, as variables that are saved with a model, and the nearest of them to a vector.

        similarity(q, i) = <q, x_i> / (|q| |x_i|),     nearest(q) = the k rows of greatest similarity, of equals the first

    Every row is compared, block by block: the vectors stay in the type of the set (float32, float16 or int8) and each block
    is cast as it is multiplied. A row of zeros is similar to nothing.

    Args:
        index: a set of embeddings, or its directory.

    Raises:
        InputError: a set that is not finished, has no row, or is larger than 8 GiB or than this machine's memory.

    Examples:
        >>> index = SavedIndex("vectors")
        >>> found = index.nearest(tf.ones([2, index.dim]), tf.constant(3))
        >>> found["ids"].shape, found["similarities"].shape
        (TensorShape([2, 3]), TensorShape([2, 3]))
    """

    def __init__(self, index: EmbeddingFiles | str | os.PathLike):
        super().__init__(name="index")
        files = index if isinstance(index, EmbeddingFiles) else EmbeddingFiles(index)
        self.rows, self.dim, self.dtype = len(files), files.dim, files.facts["dtype"]
        self.model_digest = files.facts.get("model", {}).get("digest")
        _check_size(files)
        self.blocks: list[tf.Variable] = []
        self.inverse_lengths: list[tf.Variable] = []
        for vectors in _in_rows_of(max(1, _BLOCK_BYTES // (4 * self.dim)), files):
            stored, inverse = _as_stored(vectors, self.dtype)
            self.blocks.append(tf.Variable(stored, trainable=False, name=f"block_{len(self.blocks)}"))
            self.inverse_lengths.append(tf.Variable(inverse, trainable=False, name=f"inverse_{len(self.blocks)}"))
        self.ids = tf.Variable(np.array(files.ids, object), dtype=tf.string, trainable=False, name="ids")
        labels = ["" if label is None else str(label) for label in files.labels or [None] * self.rows]
        self.labels = tf.Variable(np.array(labels, object), dtype=tf.string, trainable=False, name="labels")

    def nearest(self, vectors: tf.Tensor, k: tf.Tensor) -> dict[str, tf.Tensor]:
        """The k nearest rows to each vector, from the nearest on.

        Args:
            vectors: `[B, D]` float32.
            k: a whole number from 1 to the rows of the set; as a scalar, or one for each vector, all alike, as a server that
                joins requests sends it.

        Returns:
            `ids` and `labels` ("" for none), strings `[B, k]`, and `similarities` `[B, k]` in [-1, 1].

        Raises:
            tf.errors.InvalidArgumentError: another k.
        """
        k = tf.reshape(k, [-1])
        good = (tf.size(k) > 0) & tf.reduce_all((k == k[:1]) & (k >= 1) & (k <= self.rows))
        k = require(
            good, k, f"`k` must be one whole number from 1 to the {self.rows} rows of the index. Received: {{}}", k
        )[0]
        queries = tf.math.l2_normalize(vectors, axis=-1, epsilon=1e-24)
        found, rows, start = [], [], 0
        for block, inverse in zip(self.blocks, self.inverse_lengths, strict=True):
            similarity = tf.matmul(queries, tf.cast(block, tf.float32), transpose_b=True) * inverse
            best = tf.math.top_k(similarity, tf.minimum(k, block.shape[0]))  # of equals, the first
            found.append(best.values)
            rows.append(best.indices + start)
            start += block.shape[0]
        best = tf.math.top_k(tf.concat(found, axis=1), k)
        rows = tf.gather(tf.concat(rows, axis=1), best.indices, batch_dims=1)
        return {"ids": tf.gather(self.ids, rows), "similarities": best.values, "labels": tf.gather(self.labels, rows)}

    @property
    def facts(self) -> dict[str, int | str]:
        """What a model's card says of it."""
        return {"rows": self.rows, "dim": self.dim, "dtype": self.dtype}

    def require_width(self, dim: int) -> None:
        """Raises InputError unless the vectors have so many numbers, as those of the model that is to search."""
        if self.dim != dim:
            raise InputError(f"`index` must have vectors of {dim} numbers, as the model gives. Received: {self.dim}.")

    def require_model(self, digest: str) -> None:
        """Raises InputError unless the set was made by the model of this digest."""
        if self.model_digest != digest:
            made = f"of the model {self.model_digest}" if self.model_digest else "that does not say which model made it"
            raise InputError(
                f"`index` must be a set of embeddings of this very model, {digest}. Received: one {made}. Embed the images "
                "with this export."
            )

    @property
    def held(self) -> list[tf.Variable]:
        """The variables, in a plain list: a C++ session restores no others."""
        return [*self.blocks, *self.inverse_lengths, self.ids, self.labels]


def searches(index: SavedIndex, functions: Mapping[str, Any]) -> dict[str, Any]:
    """The functions `nearest` and `nearest_bytes`, which search the index for the `embedding` that others give.

    They are to be signatures, and attributes of the model too: `keras.layers.TFSMLayer` hands a signature one input alone.

    Args:
        index: what is searched.
        functions: `serving_default`, and `image_bytes` if there is one: of a model that is being saved, or the signatures of
            one that was loaded.
    """
    count = tf.TensorSpec(None, tf.int32, name="k")  # a scalar, or one for each image where a server joins requests
    found = {}
    if "serving_default" in functions:
        embed = functions["serving_default"]

        def nearest(images, k):
            return index.nearest(embed(images=images)["embedding"], k)

        found["nearest"] = tf.function(nearest, input_signature=[_input_of(embed), count])
    if "image_bytes" in functions:
        decode_and_embed = functions["image_bytes"]

        def nearest_bytes(image_bytes, k):
            return index.nearest(decode_and_embed(image_bytes=image_bytes)["embedding"], k)

        found["nearest_bytes"] = tf.function(nearest_bytes, input_signature=[_input_of(decode_and_embed), count])
    return found


def _input_of(function: Any) -> tf.TensorSpec:
    """The one input of a function or of a loaded signature."""
    if getattr(function, "input_signature", None):
        return function.input_signature[0]
    (spec,) = function.structured_input_signature[1].values()
    return spec


def _check_size(files: EmbeddingFiles) -> None:
    if not files.complete:
        raise InputError(
            f"`index` must be a finished set. Received: {files.path}, which `embed` has not ended. Start that again first."
        )
    if not len(files):
        raise InputError(f"`index` must hold at least one vector. Received: {files.path} without one.")
    size = len(files) * files.dim * np.dtype(files.facts["dtype"]).itemsize
    if size > MOST_BYTES:
        raise InputError(
            f"`index` must be of at most {MOST_BYTES / 2**30:g} GiB, as a server holds it in memory. Received: {files.path} "
            f"with {len(files):,} x {files.dim} numbers of {files.facts['dtype']}, {size / 2**30:.1f} GiB. Embed with "
            "--dtype=int8, or search outside the model."
        )
    require_memory(
        files, np.dtype(files.facts["dtype"]).itemsize, "Embed with --dtype=int8, or search outside the model."
    )


def _in_rows_of(count: int, files: EmbeddingFiles) -> Iterator[np.ndarray]:
    """The vectors of a set in blocks of so many rows, whatever its shards have."""
    held = np.zeros([0, files.dim], np.float32)
    for _, vectors in files.blocks():
        held = np.concatenate([held, vectors])
        while len(held) >= count:
            yield held[:count]
            held = held[count:]
    if len(held):
        yield held


def _as_stored(vectors: np.ndarray, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """Directions of the rows in the set's own type `[n, D]`, and one over their length `[n]`, 0 for a row of zeros."""
    directions = unit_length(vectors)
    if dtype == "int8":
        largest = np.abs(directions).max(axis=1, keepdims=True)
        directions = np.rint(127 * directions / np.where(largest > 0, largest, 1))
    stored = directions.astype(dtype)
    lengths = np.linalg.norm(stored.astype(np.float64), axis=1)
    return stored, np.where(lengths > 0, 1 / np.where(lengths > 0, lengths, 1), 0).astype(np.float32)
