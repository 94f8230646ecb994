"""A table of results with the best marked."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from tfcontrastive.config import InputError, unknown
from tfcontrastive.report.markup import paragraph, text


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
    """Rows of results; the first column names them.

    Args:
        title: the section's heading.
        columns: what the columns are.
        rows: one value a column each; None for what was not measured.
        caption: a sentence under the heading.
    """

    title: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[object]]
    caption: str = ""

    def __post_init__(self):
        for row in self.rows:
            if len(row) != len(self.columns):
                raise InputError(f"`rows` must hold {len(self.columns)} values each, as `columns`. Received: {row!r}.")

    def html(self) -> str:
        best = [self._best(index) for index in range(len(self.columns))]
        heads = "".join(f'<th scope="col">{text(column.name)}</th>' for column in self.columns)
        lines = []
        for row in self.rows:
            name, *cells = (self._cell(index, value, best[index]) for index, value in enumerate(row))
            lines.append(f'<tr><th scope="row">{name}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>')
        return (
            f'{paragraph(self.caption)}<div class="scroll"><table><thead><tr>{heads}</tr></thead>'
            f"<tbody>{''.join(lines)}</tbody></table></div>"
        )

    def _best(self, index: int) -> object | None:
        values: list[Any] = [row[index] for row in self.rows if row[index] is not None]
        if self.columns[index].best is None or len(values) < 2:
            return None
        return max(values) if self.columns[index].best == "highest" else min(values)

    def _cell(self, index: int, value: object, best: object | None) -> str:
        if value is None:
            return "–"
        shown = text(value if isinstance(value, str) else format(value, self.columns[index].format))
        return f'<strong class="best" title="the best of this column">{shown}</strong>' if value == best else shown
