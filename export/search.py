"""Nearest neighbours and near duplicates among embeddings, by cosine similarity."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator

import numpy as np

from tfcontrastive.config import InputError, unknown
from tfcontrastive.export.embedding_files import EmbeddingFiles
from tfcontrastive.export.extras import from_extra

BACKENDS = ("auto", "numpy", "faiss")

_BLOCK_ROWS = 4096


def nearest(
    index: EmbeddingFiles | str | os.PathLike,
    queries: np.ndarray,
    *,
    k: int = 10,
    backend: str = "auto",
) -> tuple[list[list[str]], np.ndarray]:
    """The k vectors of the set that are nearest to each query: `argmax_i <q, x_i> / (|q| |x_i|)`.

    The search is exact and goes shard by shard, so the set may be larger than memory.

    Args:
        index: a set of embeddings, or its directory.
        queries: `[Q, D]`, not zero.
        k: neighbours, at most the size of the set.
        backend: numpy, faiss (its flat index, shard by shard), or auto: faiss where it is installed.

    Returns:
        The ids `[Q][k]` and the similarities `[Q, k]`, from the nearest on.

    Raises:
        InputError: if a shape or value does not fit, or faiss is asked for and not installed.

    Example:

    ```python
    ids, similarities = nearest("vectors", queries, k=5)
    ```
    """
    files = index if isinstance(index, EmbeddingFiles) else EmbeddingFiles(index)
    queries = np.asarray(queries, np.float32)
    if queries.ndim != 2 or queries.shape[1] != files.dim:
        raise InputError(f"`queries` must be [Q, {files.dim}]. Received: shape {list(queries.shape)}.")
    if not 1 <= k <= len(files):
        raise InputError(f"`k` must be between 1 and the {len(files)} vectors of the set. Received: k={k}.")
    if backend not in BACKENDS:
        raise InputError(f"`backend` {unknown(backend, BACKENDS)}")
    top = _faiss_top if _use_faiss(backend) else _numpy_top
    queries = unit_length(queries)
    best = np.full([len(queries), 0], 0, np.float32)
    found = np.full([len(queries), 0], 0, np.int64)
    names: list[str] = []
    for ids, vectors in files.blocks():
        similarity, position = top(queries, unit_length(vectors), min(k, len(ids)))
        best = np.concatenate([best, similarity], axis=1)
        found = np.concatenate([found, position + len(names)], axis=1)
        order = np.lexsort((found, -best), axis=1)[:, :k]  # of equals, the first in the set
        best, found = np.take_along_axis(best, order, 1), np.take_along_axis(found, order, 1)
        names += ids
    return [[names[position] for position in row] for row in found], best


def near_duplicates(
    index: EmbeddingFiles | str | os.PathLike,
    threshold: float = 0.98,
) -> Iterator[tuple[str, str, float]]:
    """Every pair of vectors at least this similar, as (id, id, similarity): the first id comes earlier in the set.

    Every pair is compared, block by block: the cost is `N^2 D / 2` multiplications and two blocks of memory.

    Args:
        index: a set of embeddings, or its directory.
        threshold: the least cosine similarity, in (-1, 1].

    Raises:
        InputError: if the threshold is out of range.
    """
    if not -1 < threshold <= 1:
        raise InputError(f"`threshold` must be > -1 and <= 1. Received: threshold={threshold}.")
    files = index if isinstance(index, EmbeddingFiles) else EmbeddingFiles(index)
    for i, (ids, rows) in enumerate(_blocks(files)):
        for j, (other_ids, columns) in enumerate(_blocks(files)):
            if j < i:
                continue
            similarity = rows @ columns.T
            if i == j:
                similarity[np.tril_indices(len(rows))] = -np.inf
            # Rounding puts equal vectors a little below 1.
            for a, b in np.argwhere(similarity >= threshold - 1e-6):
                yield ids[a], other_ids[b], float(similarity[a, b])


def unit_length(vectors: np.ndarray) -> np.ndarray:
    """The rows divided by their length; a zero row stays zero, and is similar to nothing."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(length > 0, length, 1)


def _blocks(files: EmbeddingFiles) -> Iterator[tuple[list[str], np.ndarray]]:
    for ids, vectors in files.blocks():
        for start in range(0, len(ids), _BLOCK_ROWS):
            yield ids[start:start + _BLOCK_ROWS], unit_length(vectors[start:start + _BLOCK_ROWS])


def _numpy_top(queries: np.ndarray, vectors: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    similarity = queries @ vectors.T
    order = np.argsort(-similarity, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(similarity, order, 1), order


def _faiss_top(queries: np.ndarray, vectors: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    flat = from_extra("faiss", "faiss", "`backend=faiss`").IndexFlatIP(vectors.shape[1])
    flat.add(np.ascontiguousarray(vectors))
    return flat.search(queries, k)


def _use_faiss(backend: str) -> bool:
    return backend == "faiss" or (backend == "auto" and importlib.util.find_spec("faiss") is not None)
