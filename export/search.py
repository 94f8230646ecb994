"""Nearest neighbours and near duplicates among embeddings, by cosine similarity."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator, Sequence

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
    exclude: Sequence[str | None] | None = None,
) -> tuple[list[list[str]], np.ndarray]:
    """The k vectors of the set that are nearest to each query: `argmax_i <q, x_i> / (|q| |x_i|)`.

    The search is exact and goes shard by shard, so the set may be larger than memory.

    Args:
        index: a set of embeddings, or its directory.
        queries: `[Q, D]`, finite and not zero.
        k: neighbours, at most the size of the set (less one with `exclude`).
        backend: numpy, faiss (its flat index, shard by shard), or auto: faiss where it is installed.
        exclude: an id for each query that is not to be its neighbour, such as its own, or None.

    Returns:
        The ids `[Q][k]` and the similarities `[Q, k]`, from the nearest on.

    Raises:
        InputError: if a shape or value does not fit, or faiss is asked for and not installed.

    Examples:
        >>> from tfcontrastive.export import embed_files
        >>> ids, similarities = nearest("vectors", embed_files("exported", ["cat.jpg"]), k=5)
    """
    files = index if isinstance(index, EmbeddingFiles) else EmbeddingFiles(index)
    if backend not in BACKENDS:
        raise InputError(f"`backend` {unknown(backend, BACKENDS)}")
    queries, left_out = checked_queries(queries, files.dim, len(files), k, exclude)
    more = any(name is not None for name in left_out)
    top = _faiss_top if _use_faiss(backend) else _numpy_top
    best = np.full([len(queries), 0], 0, np.float32)
    found = np.full([len(queries), 0], 0, np.int64)
    names: list[str] = []
    for some, vectors in files.blocks():
        similarity, position = top(queries, unit_length(vectors), min(k + more, len(some)))
        best = np.concatenate([best, similarity], axis=1)
        found = np.concatenate([found, position + len(names)], axis=1)
        order = np.lexsort((found, -best), axis=1)[:, : k + more]  # of equals, the first in the set
        best, found = np.take_along_axis(best, order, 1), np.take_along_axis(found, order, 1)
        names += some
    return without_own([[names[position] for position in row] for row in found], best, left_out, k)


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
    """The rows divided by their length, however large or small; a zero row stays zero, and is similar to nothing."""
    largest = np.abs(vectors).max(axis=1, keepdims=True, initial=0)
    scaled = vectors / np.where(largest > 0, largest, 1)  # squares of 1e30 or 1e-30 are no float32
    return scaled / np.maximum(np.linalg.norm(scaled, axis=1, keepdims=True), 1)


def checked_queries(
    queries: np.ndarray, dim: int, rows: int, k: int, exclude: Sequence[str | None] | None
) -> tuple[np.ndarray, list[str | None]]:
    """The queries as unit vectors float32 `[Q, D]`, and for each the id that is left out, or None.

    Raises:
        InputError: if a shape or value does not fit a set of so many rows.
    """
    queries = _of_shape(queries, dim)
    left_out: list[str | None] = list(exclude) if exclude is not None else [None] * len(queries)
    if len(left_out) != len(queries):
        raise InputError(f"`exclude` must have one id or None for each query. Received: {len(left_out)}.")
    more = any(name is not None for name in left_out)
    if not 1 <= k <= rows - more:
        others = "other " if more else ""
        raise InputError(f"`k` must be between 1 and the {rows - more} {others}vectors of the set. Received: k={k}.")
    return _directions(queries), left_out


def without_own(
    ids: list[list[str]], similarities: np.ndarray, left_out: list[str | None], k: int
) -> tuple[list[list[str]], np.ndarray]:
    """The first k of each row that are not the query's own."""
    kept = [_without(row, own)[:k] for row, own in zip(ids, left_out, strict=True)]
    ids = [[row[i] for i in places] for row, places in zip(ids, kept, strict=True)]
    return ids, np.take_along_axis(similarities, np.array(kept, np.int64).reshape(len(ids), k), 1)


def _of_shape(queries: np.ndarray, dim: int) -> np.ndarray:
    """The queries as float64 `[Q, D]`."""
    try:
        queries = np.asarray(queries, np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"`queries` must be numbers. Received: {error}.") from error
    if queries.ndim != 2 or queries.shape[1] != dim:
        raise InputError(f"`queries` must be [Q, {dim}]. Received: shape {list(queries.shape)}.")
    return queries


def _directions(queries: np.ndarray) -> np.ndarray:
    """Unit vectors float32 `[Q, D]`, if there is a direction in each query."""
    good = np.isfinite(queries).all(axis=1) & queries.any(axis=1)
    if not good.all():
        row = int(np.argmin(good))
        what = "NaN or infinity" if queries[row].any() else "zeros"
        raise InputError(f"`queries` must be finite and not zero. Received: {what} in row {row}.")
    return unit_length(queries).astype(np.float32)


def _without(names: list[str], own: str | None) -> list[int]:
    """The positions in a row of neighbours, without that of the query itself."""
    own_position = names.index(own) if own in names else len(names)
    return [position for position in range(len(names)) if position != own_position]


def _blocks(files: EmbeddingFiles) -> Iterator[tuple[list[str], np.ndarray]]:
    for ids, vectors in files.blocks():
        for start in range(0, len(ids), _BLOCK_ROWS):
            yield ids[start : start + _BLOCK_ROWS], unit_length(vectors[start : start + _BLOCK_ROWS])


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
