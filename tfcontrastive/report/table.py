"""A table of results with the best marked."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Sequence
from typing import Any

from tfcontrastive.config import InputError, unknown
from tfcontrastive.report.template import render

_ROWS_AT_ONCE = 30
_NUMBER = re.compile(r"[-+±]? ?[\d.,]+")


@dataclasses.dataclass(frozen=True)
class Column:
    """A column of a table.

    Args:
        name: its heading.
        format: a Python format specification for its numbers, such as ".1%".
        best: "highest" or "lowest", to mark the best number.
    """

    name: str
    format: str = ""
    best: str | None = None

    def __post_init__(self):
        if self.best not in (None, "highest", "lowest"):
            raise InputError(f"`best` {unknown(self.best, ('highest', 'lowest'))}")


@dataclasses.dataclass(frozen=True)
class Table:
    """Rows of results; the first column names them. Of many rows the first 30 are shown, the others on a click.

    Args:
        title: the section's heading.
        columns: what the columns are.
        rows: one value a column each; None for what was not measured.
        caption: a sentence under the heading.
        apart: numbers of rows that are no rivals of the others, such as a supervised one: never the best.
    """

    title: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[object]]
    caption: str = ""
    apart: Collection[int] = ()

    def __post_init__(self):
        for row in self.rows:
            if len(row) != len(self.columns):
                raise InputError(f"`rows` must hold {len(self.columns)} values each, as `columns`. Received: {row!r}.")

    def html(self) -> str:
        best = [self._best(index) for index in range(len(self.columns))]
        rows = [
            {
                "apart": number in self.apart,
                "cells": [self._cell(number, index, best[index]) for index in range(len(row))],
            }
            for number, row in enumerate(self.rows)
        ]
        words = [self._is_words(index) for index in range(len(self.columns))]
        return render("table.html", one=self, words=words, rows=rows[:_ROWS_AT_ONCE], others=rows[_ROWS_AT_ONCE:])

    def _is_words(self, index: int) -> bool:
        """Whether a column holds words, which begin at one place, and not numbers, which end at one."""
        values = [row[index] for row in self.rows if row[index] is not None]
        return any(isinstance(value, str) and not _NUMBER.match(value) for value in values)

    def _best(self, index: int) -> object | None:
        rivals = [row[index] for number, row in enumerate(self.rows) if number not in self.apart]
        values: list[Any] = [value for value in rivals if value is not None]
        if self.columns[index].best is None or len(values) < 2:
            return None
        return max(values) if self.columns[index].best == "highest" else min(values)

    def _cell(self, number: int, index: int, best: object | None) -> tuple[str, bool]:
        """The value as it should read, and whether it is the best."""
        value = self.rows[number][index]
        if value is None:
            return "–", False
        shown = value if isinstance(value, str) else format(value, self.columns[index].format)
        return shown, best is not None and value == best and number not in self.apart
