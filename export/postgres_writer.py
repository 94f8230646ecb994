"""Writes a set of embeddings into a table of PostgreSQL, so that a killed run goes on where it was."""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np

from tfcontrastive.config import InputError
from tfcontrastive.export.manifest import identity
from tfcontrastive.export.postgres import FORMAT, TYPES, Table
from tfcontrastive.export.shards import Label
from tfcontrastive.system.names import escaped, unescaped


class PostgresWriter:
    """As `EmbeddingWriter`, into a table with the columns `position`, `id`, `label`, `model`, `vector`.

    Rows are copied in batches, each in one transaction with the items that gave no vector (`<table>_skipped`): whenever the
    process or the database dies, the table holds the first so many items of the source. A constraint of the table admits
    the digest of one model alone. The HNSW index by cosine distance is built at the end.

    Args:
        url: of the database.
        dim: numbers in a vector.
        table: its name; made if it is missing.
        dtype: float32 (`vector`) or float16 (`halfvec`).
        batch_rows: vectors in a transaction.
        labels: whether rows have labels, and of which kind: name, number, or None for none.
        facts: what made the vectors, with `model`; as of `EmbeddingWriter`.
        saved_model: where the model is, for those who search.

    Raises:
        InputError: a table that holds something else or was made otherwise, or a database that refuses.

    Examples:
        >>> writer = PostgresWriter("postgresql://me@host/images", dim=2, facts={"model": model_facts("exported/1")})
        >>> writer.add("cat.jpg", np.array([1.0, 0.0]))
        >>> writer.finish()
    """

    def __init__(
        self,
        url: str,
        dim: int,
        *,
        table: str = "embeddings",
        dtype: str = "float32",
        batch_rows: int = 8192,
        labels: str | None = None,
        facts: dict[str, Any],
        saved_model: str = "",
    ):
        if dtype not in TYPES:
            raise InputError(f"`dtype` must be float32 or float16 in a database. Received: dtype={dtype!r}.")
        if batch_rows < 1:
            raise InputError(f"`shard_rows` must be >= 1. Received: shard_rows={batch_rows}.")
        kind, most = TYPES[dtype]
        if dim > most:
            more = " Embed with --dtype=float16." if dim <= TYPES["float16"][1] else ""
            raise InputError(f"`output` of {dtype} must have at most {most} numbers a vector. Received: {dim}.{more}")
        made = json.loads(json.dumps({"dim": dim, "dtype": dtype, "labels": labels, **facts}))
        self._dtype, self._model, self._batch_rows = dtype, made["model"]["digest"], batch_rows
        self._rows: list[tuple[int, str, Label, np.ndarray]] = []
        self._left_out: list[tuple[int, str, str]] = []
        self._table = Table(url, table, "output")
        self.place = self._table.place
        try:
            self._described = self._open(made, f"{kind}({dim})", saved_model)
            self._known, self._before = self._counts()
        except BaseException:
            self.close()
            raise

    @property
    def position(self) -> int:
        """How many items of the source are done for good."""
        return self._known + len(self._before)

    @property
    def rows(self) -> int:
        """Vectors in the table and in memory."""
        return self._known + len(self._rows)

    @property
    def skipped(self) -> list[list[str]]:
        """[id, reason] of every item that gave no vector."""
        return self._before + [[name, reason] for _, name, reason in self._left_out]

    @property
    def complete(self) -> bool:
        """Whether the source has been read to its end."""
        return self._described["complete"]

    def add(self, name: str, vector: np.ndarray, label: Label = None) -> None:
        """Takes the vector of the next item."""
        self._rows.append((self._next(), name, label, vector))
        if len(self._rows) == self._batch_rows:
            self._flush()

    def skip(self, name: str, reason: str) -> None:
        """Notes that the next item has no vector."""
        self._left_out.append((self._next(), name, reason))

    def finish(self) -> None:
        """Writes what is left, builds the index and marks the table complete."""
        self._flush()
        self._described["complete"] = True
        operators = f"{TYPES[self._dtype][0]}_cosine_ops"
        with self._table.told(), self._table.connection.transaction():
            self._table.run(f"CREATE INDEX IF NOT EXISTS {{index}} ON {{table}} USING hnsw (vector {operators})")
            self._describe()

    def close(self) -> None:
        """Ends the connection."""
        self._table.close()

    def _next(self) -> int:
        return self.position + len(self._rows) + len(self._left_out)

    def _flush(self) -> None:
        table, into = self._table, "COPY {table} (position, id, label, model, vector) FROM STDIN (FORMAT BINARY)"
        with table.told(), table.connection.transaction(), table.connection.cursor() as cursor:
            with cursor.copy(table.sql(into)) as copy:
                copy.set_types(["int8", "text", "text", "text", "bytea"])
                for place, name, label, vector in self._rows:
                    copy.write_row((place, escaped(name), _text(label), self._model, self._binary(vector)))
            for place, name, reason in self._left_out:
                cursor.execute(table.sql("INSERT INTO {skipped} VALUES (%s, %s, %s)"), (place, escaped(name), reason))
        self._known, self._before = self.rows, self.skipped
        self._rows, self._left_out = [], []

    def _binary(self, vector: np.ndarray) -> bytes:
        """As pgvector sends and receives it: the number of numbers, zero, and the numbers, the greatest byte first."""
        with np.errstate(over="ignore"):
            numbers = np.asarray(vector, ">f4" if self._dtype == "float32" else ">f2")
        if not np.isfinite(numbers).all():
            raise InputError(f"`dtype` must hold every number of the vectors. Received: one beyond {self._dtype}.")
        return struct.pack(">hh", len(numbers), 0) + numbers.tobytes()

    def _open(self, made: dict[str, Any], column: str, saved_model: str) -> dict[str, Any]:
        table = self._table
        with table.told(), table.connection.transaction():
            table.run("SELECT pg_advisory_xact_lock({key}, 0)", key=_LOCK)  # two that make the same table
            described = table.described()
            if described is None:
                self._described = {"format": FORMAT, "made": made, "complete": False, "saved_model": saved_model}
                self._create(column)
                described = self._described
        ((free,),) = table.run("SELECT pg_try_advisory_lock({key}, hashtext({name}))", key=_LOCK, name=table.name)
        if not free:
            raise InputError(f"`output` must be written by one process at a time. Received: {self.place}, in use.")
        before = described["made"]
        other = [
            f"{key} {before.get(key)!r}, now {made.get(key)!r}"
            for key in sorted({*made, *before})
            if identity(before.get(key)) != identity(made.get(key))
        ]
        if other:
            raise InputError(
                f"`output` must be new, or made alike. Received: {self.place}, with {'; '.join(other)}. Name "
                "another --table."
            )
        return described

    def _create(self, column: str) -> None:
        table = self._table
        table.run("CREATE EXTENSION IF NOT EXISTS vector")
        table.run(
            "CREATE TABLE {table} (position bigint PRIMARY KEY, id text NOT NULL UNIQUE, label text, "
            f"model text NOT NULL CHECK (model = {{model}}), vector {column} NOT NULL)",
            model=self._model,
        )
        table.run("CREATE TABLE {skipped} (position bigint PRIMARY KEY, id text NOT NULL UNIQUE, reason text NOT NULL)")
        self._describe()

    def _describe(self) -> None:
        self._table.run("COMMENT ON TABLE {table} IS {text}", text=json.dumps(self._described))

    def _counts(self) -> tuple[int, list[list[str]]]:
        """Rows and items without a vector; both together are the first items of the source."""
        found = self._table.run("SELECT id, reason FROM {skipped} ORDER BY position")
        skipped = [[unescaped(name), reason] for name, reason in found]
        rows, last = self._table.run(
            "SELECT (SELECT count(*) FROM {table}), (SELECT max(position) FROM "
            "(SELECT position FROM {table} UNION ALL SELECT position FROM {skipped}) AS both_of_them)"
        )[0]
        if rows + len(skipped) != (0 if last is None else last + 1):
            raise InputError(
                f"`output` must hold all rows that were written. Received: {self.place}, with {rows:,} rows and "
                f"{len(skipped):,} left out of {last + 1:,}. Name another --table."
            )
        return rows, skipped


_LOCK = 0x7FC0  # of all advisory locks of a database, those of this program


def _text(label: Label) -> str | None:
    return escaped(label) if isinstance(label, str) else None if label is None else str(label)
