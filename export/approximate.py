"""An approximate index of a set of embeddings, beside it and read from the disk as it is asked."""

from __future__ import annotations

import glob
import math
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tfcontrastive import storage
from tfcontrastive.config import InputError, unknown
from tfcontrastive.export.embedding_files import EmbeddingFiles
from tfcontrastive.export.extras import from_extra
from tfcontrastive.export.index_memory import require_memory
from tfcontrastive.export.manifest import side_file
from tfcontrastive.export.search import checked_queries, unit_length, without_own
from tfcontrastive.export.shards import write_atomically

KINDS = ("ivf", "hnsw")

_ROWS_A_LIST = 39  # of the training of an inverted file: faiss' own least number
_LINKS = 32  # of a row to others in HNSW's graph


class ApproximateIndex:
    """The nearest vectors of a large set, nearly always, in a fraction of the time: faiss' IVF or HNSW.

    IVF: the set is cut into `2 sqrt(N)` lists by k-means, and those whose centres are nearest to a query are compared.
    HNSW: a graph of near neighbours is walked, which is faster, and far slower to build. Both hold unit vectors in float16
    and are saved in one file beside the set, whose name holds the set's digest: that of another set is never used. The file
    is mapped into memory, so that a search reads what it needs.

    Args:
        index: a set of embeddings, or its directory.
        kind: ivf or hnsw.
        building: called once with a line, before an index that is not there yet is built.

    Raises:
        InputError: faiss is not installed, the kind is none of the two, a file is damaged, or the index that is to be
            built is larger than this machine's memory.

    Examples:
        >>> index = ApproximateIndex("vectors")
        >>> ids, similarities = index.nearest(np.ones([2, index.dim]), k=3)
        >>> similarities.shape
        (2, 3)

    Source: faiss, The Faiss library, https://arxiv.org/abs/2401.08281; HNSW, https://arxiv.org/abs/1603.09320
    """

    def __init__(
        self,
        index: EmbeddingFiles | str | os.PathLike,
        kind: str = "ivf",
        building: Callable[[str], None] | None = None,
    ):
        if kind not in KINDS:
            raise InputError(f"`kind` {unknown(kind, KINDS)}")
        self._faiss: Any = from_extra("faiss", "faiss", "`approximate`")
        self.files = index if isinstance(index, EmbeddingFiles) else EmbeddingFiles(index)
        if not len(self.files):
            raise InputError(f"`index` must hold at least one vector. Received: {self.files.path} without one.")
        self.dim, self.kind = self.files.dim, kind
        self.path = self.files.beside(f"approximate-{kind}-{self.files.digest}.faiss")
        if not os.path.exists(self.path):
            require_memory(self.files, 2, "Leave out --approximate: the exact search reads one shard at a time.")
            if building is not None:
                building(f"building {os.path.basename(self.path)} of {len(self.files):,} vectors, once")
            self._save(self._built())
        self._index = self._mapped()

    def nearest(
        self,
        queries: np.ndarray,
        *,
        k: int = 10,
        effort: int = 64,
        exclude: Sequence[str | None] | None = None,
    ) -> tuple[list[list[str]], np.ndarray]:
        """As `nearest` of this package, of the vectors that are looked at.

        Args:
            queries: `[Q, D]`, finite and not zero.
            k: neighbours, at most the size of the set (less one with `exclude`).
            effort: lists that are compared, or candidates of the walk: more finds more, and takes longer.
            exclude: an id for each query that is not to be its neighbour, or None.

        Returns:
            The ids `[Q][k]` and the similarities `[Q, k]` to 1e-3, from the nearest on.

        Raises:
            InputError: if a shape or value does not fit.
        """
        if effort < 1:
            raise InputError(f"`effort` must be >= 1. Received: effort={effort}.")
        queries, left_out = checked_queries(queries, self.dim, len(self.files), k, exclude)
        wanted = k + any(name is not None for name in left_out)
        similarities, rows = self._search(queries, wanted, effort)
        names = self.files.ids_at(rows)
        return without_own([[names[int(row)] for row in line] for line in rows], similarities, left_out, k)

    def _search(self, queries: np.ndarray, k: int, effort: int) -> tuple[np.ndarray, np.ndarray]:
        """Looked at more and more, where fewer than k are found."""
        while True:
            if self.kind == "ivf":
                most = self._index.nlist
                options = self._faiss.SearchParametersIVF(nprobe=min(effort, most))
            else:
                most = len(self.files)
                options = self._faiss.SearchParametersHNSW(efSearch=min(max(effort, k), most))
            similarities, rows = self._index.search(queries, k, params=options)
            if (rows >= 0).all():
                return similarities, rows
            if effort >= most:  # a graph whose parts are not joined
                raise InputError(
                    f"`k` must be smaller with this approximate index. Received: k={k}; or search exactly."
                )
            effort *= 4

    def _built(self) -> Any:
        faiss, count = self._faiss, len(self.files)
        half = faiss.ScalarQuantizer.QT_fp16
        if self.kind == "hnsw":
            index = faiss.IndexHNSWSQ(self.dim, half, _LINKS, faiss.METRIC_INNER_PRODUCT)
            sample = self._every(count)
        else:
            lists = max(1, min(int(2 * math.sqrt(count)), count // _ROWS_A_LIST))
            centres = faiss.IndexFlatIP(self.dim)
            index = faiss.IndexIVFScalarQuantizer(centres, self.dim, lists, half, faiss.METRIC_INNER_PRODUCT)
            index.by_residual = False
            index.cp.spherical = True
            sample = self._every(max(1, count // (_ROWS_A_LIST * lists)))
        index.train(sample)
        for _, vectors in self.files.blocks():
            index.add(np.ascontiguousarray(unit_length(vectors), np.float32))
        return index

    def _every(self, step: int) -> np.ndarray:
        """Each so many-th row, as a unit vector."""
        taken, start = [], 0
        for _, vectors in self.files.blocks():
            taken.append(unit_length(vectors[-start % step :: step]))
            start += len(vectors)
        return np.ascontiguousarray(np.concatenate(taken), np.float32)

    def _save(self, index: Any) -> None:
        """Whole, and in place of what is left of another state of the set."""
        storage.make_writable("index", self.files.path)
        write_atomically(self.path, lambda aside: self._told(lambda: self._faiss.write_index(index, aside)))
        mine = side_file(f"approximate-{self.kind}-", self.files.facts["format"])
        for path in glob.glob(os.path.join(glob.escape(self.files.path), f"{mine}{'[0-9a-f]' * 32}.faiss")):
            if path != self.path:
                os.remove(path)

    def _mapped(self) -> Any:
        faiss = self._faiss
        flags = faiss.IO_FLAG_MMAP | faiss.IO_FLAG_READ_ONLY if self.kind == "ivf" else faiss.IO_FLAG_MMAP_IFC
        index = self._told(lambda: faiss.read_index(self.path, flags))
        if (index.ntotal, index.d) != (len(self.files), self.dim):
            raise self._damaged(f"with {index.ntotal} x {index.d} numbers")
        return index

    def _told(self, work: Callable[[], Any]) -> Any:
        try:
            return work()
        except (RuntimeError, UnicodeError, TypeError) as error:  # TypeError: a name that is no UTF-8
            raise self._damaged(" ".join(str(error).split())[-200:]) from error

    def _damaged(self, problem: str) -> InputError:
        return InputError(
            f"`index` must have a whole approximate index beside it. Received: {self.path}: {problem}. Delete that file, "
            "and it is built again."
        )
