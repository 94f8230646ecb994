"""Searches a table of embeddings in PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from tfcontrastive.config import InputError
from tfcontrastive.export.postgres import TYPES, Table
from tfcontrastive.export.search import checked_queries, without_own
from tfcontrastive.system.names import escaped, unescaped

_MOST_EFFORT = 1000  # pgvector's
_DISTANCE = "coalesce(nullif(vector <=> q, 'NaN'), 1)"  # a row of zeros has no direction: it is similar to nothing


class PostgresSet:
    """A table that `PostgresWriter` wrote: `len`, `dim`, `facts` and `complete` as of `EmbeddingFiles`.

    Args:
        url: of the database.
        table: its name.

    Raises:
        InputError: there is no such table, or the database does not answer.

    Examples:
        >>> ids, similarities = PostgresSet("postgresql://me@host/images").nearest(np.ones([1, 512]), k=5)
    """

    def __init__(self, url: str, table: str = "embeddings"):
        self._table = Table(url, table, "index")
        self.path = self._table.place
        try:
            described = self._table.described()
            if described is None:
                raise InputError(f"`index` must be a table of embeddings. Received: {self.path}, which does not exist.")
            self._rows = self._table.run("SELECT count(*) FROM {table}")[0][0]
        except BaseException:
            self.close()
            raise
        self.facts: dict[str, Any] = described["made"]
        self.dim: int = self.facts["dim"]
        self.complete: bool = described["complete"]
        self.saved_model: str = described["saved_model"]
        self._kind = TYPES[self.facts["dtype"]][0]

    def __len__(self) -> int:
        return self._rows

    def close(self) -> None:
        """Ends the connection."""
        self._table.close()

    def known(self, names: Iterable[str]) -> set[str]:
        """Which of some ids the table has."""
        rows = self._table.run("SELECT id FROM {table} WHERE id = ANY(%s)", [[escaped(name) for name in names]])
        return {unescaped(name) for (name,) in rows}

    def nearest(
        self,
        queries: np.ndarray,
        *,
        k: int = 10,
        approximate: bool = False,
        effort: int = 64,
        exclude: Sequence[str | None] | None = None,
    ) -> tuple[list[list[str]], np.ndarray]:
        """As `nearest` of this package; of every row, or by the table's HNSW index.

        Args:
            queries: `[Q, D]`, finite and not zero.
            k: neighbours, at most the rows of the table (less one with `exclude`).
            approximate: whether the index is asked; where it finds fewer than k, all rows are compared.
            effort: candidates of the index, 1 to 1000.
            exclude: an id for each query that is not to be its neighbour, or None.

        Returns:
            The ids `[Q][k]` and the similarities `[Q, k]`, from the nearest on.

        Raises:
            InputError: if a shape or value does not fit, or the database has gone.
        """
        if not 1 <= effort <= _MOST_EFFORT:
            raise InputError(f"`effort` must be from 1 to {_MOST_EFFORT} in a database. Received: effort={effort}.")
        queries, left_out = checked_queries(queries, self.dim, len(self), k, exclude)
        wanted = k + any(name is not None for name in left_out)
        ids, similarities = [], []
        for query in queries:
            rows = self._indexed(query, wanted, effort) if approximate else []
            rows = rows if len(rows) == wanted else self._compared(query, wanted)
            ids.append([unescaped(name) for name, _ in rows])
            similarities.append([similarity for _, similarity in rows])
        return without_own(ids, np.array(similarities, np.float32).reshape(len(ids), wanted), left_out, k)

    def _indexed(self, query: np.ndarray, k: int, effort: int) -> list[tuple]:
        table = self._table
        with table.told(), table.connection.transaction():
            table.run("SET LOCAL enable_seqscan = off")  # a planner takes the index of a large table alone
            table.run("SELECT set_config('hnsw.ef_search', %s, true)", [str(min(max(effort, k), _MOST_EFFORT))])
            return self._ask("vector <=> q", query, k)

    def _compared(self, query: np.ndarray, k: int) -> list[tuple]:
        return self._ask(f"{_DISTANCE}, position", query, k)

    def _ask(self, order: str, query: np.ndarray, k: int) -> list[tuple]:
        text = f"'[{','.join(map(repr, query.tolist()))}]'::{self._kind}"
        wanted = f"SELECT id, 1 - {_DISTANCE} FROM {{table}} ORDER BY {order} LIMIT {k}"
        return self._table.run(wanted.replace("<=> q", f"<=> {text}"))
