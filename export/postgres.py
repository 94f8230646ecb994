"""A PostgreSQL database with pgvector: where a table of embeddings lies, and what it says of itself."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from typing import Any

from tfcontrastive.config import InputError
from tfcontrastive.export.extras import from_extra

FORMAT = 1
"""Of a table and of what its comment says; others are refused."""

TYPES = {"float32": ("vector", 2000), "float16": ("halfvec", 4000)}
"""The type of a column for each dtype, and the most numbers that pgvector's HNSW index takes."""

SCHEMES = ("postgresql://", "postgres://")


def is_postgres(place: Any) -> bool:
    """Whether an output or index is a database."""
    return isinstance(place, str) and place.startswith(SCHEMES)


class Table:
    """A connection, and one table in it.

    Args:
        url: `postgresql://user@host/database`, as libpq takes it; a password may be in it, in PGPASSWORD or in ~/.pgpass.
        table: its name.
        argument: how messages call the URL.

    Raises:
        InputError: psycopg is not installed, the name is none, or the database does not answer.
    """

    def __init__(self, url: str, table: str, argument: str):
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,39}", table):
            raise InputError(f"`table` must be a name of letters, digits and _, 40 at most. Received: table={table!r}.")
        self._psycopg: Any = from_extra("pgvector", "psycopg", f"`{argument}=postgresql://...`")
        self.name, self._argument = table, argument
        self.place = f"the table {table}"
        with self.told():
            known = self._psycopg.conninfo.conninfo_to_dict(url)
            self.place = (
                f"the table {table} of {known.get('dbname', 'the database')} at {known.get('host', 'localhost')}"
            )
            self.connection = self._psycopg.connect(url, autocommit=True, connect_timeout=30)

    def sql(self, statement: str, /, **literals: Any) -> Any:
        """A statement in which `{table}`, `{skipped}` and `{index}` are names, and other words are literals."""
        sql = self._psycopg.sql
        names = {"table": self.name, "skipped": f"{self.name}_skipped", "index": f"{self.name}_vector_idx"}
        parts = {key: sql.Identifier(name) for key, name in names.items()}
        return sql.SQL(statement).format(**parts, **{key: sql.Literal(value) for key, value in literals.items()})

    def run(self, statement: str, values: Any = None, /, **literals: Any) -> list[tuple]:
        """The rows that a statement gives."""
        with self.told():
            cursor = self.connection.execute(self.sql(statement, **literals), values)
            return cursor.fetchall() if cursor.description else []

    def described(self) -> dict[str, Any] | None:
        """What the table says of itself, None where there is no table.

        Raises:
            InputError: a table that is none of ours, or of another format.
        """
        found = self.run(
            "SELECT to_regclass(%s), obj_description(to_regclass(%s), 'pg_class')", [f'"{self.name}"'] * 2
        )[0]
        if found[0] is None:
            return None
        try:
            described = json.loads(found[1] or "")
        except ValueError:
            described = None
        if not isinstance(described, dict) or not isinstance(described.get("made"), dict):
            raise InputError(
                f"`{self._argument}` must be a table of embeddings. Received: {self.place}, which holds something else."
            )
        if described.get("format") != FORMAT:
            raise InputError(
                f"`{self._argument}` must be a table of format {FORMAT}. Received: {self.place}, of format "
                f"{described.get('format')!r}."
            )
        return described

    @contextlib.contextmanager
    def told(self) -> Iterator[None]:
        """What a database refuses, or that it has gone, in one line."""
        try:
            yield
        except self._psycopg.Error as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            gone = isinstance(error, (self._psycopg.OperationalError, self._psycopg.InterfaceError))
            writes = self._argument == "output"
            right = "with pgvector that may be written to" if writes else "with a table of embeddings that may be read"
            rule = "be a database that answers" if gone else f"be a database {right}"
            again = " What is committed is kept: start the same command again." if gone and writes else ""
            raise InputError(
                f"`{self._argument}` must {rule}. Received: {self.place}: {reason[:300]}.{again}"
            ) from error

    def close(self) -> None:
        """Ends the connection."""
        self.connection.close()
