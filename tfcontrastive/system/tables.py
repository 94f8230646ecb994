"""Tables in the terminal, all of one look."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from rich.table import Table
from rich.text import Text

from tfcontrastive.system.names import escaped, plain_console


def show_table(
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[str | Text | None]],
    *,
    right: Collection[str] = (),
    ends: Collection[int] = (),
) -> None:
    """Prints a table on stdout. Text is shown as it is, over several lines where it is long.

    Args:
        title: above it.
        columns: their names.
        rows: a cell a column; None is shown as a dash.
        right: the columns that are set to the right: numbers.
        ends: numbers of the rows with a line under them.
    """
    table = Table(title=escaped(title), title_justify="left")
    for name in columns:
        table.add_column(name, justify="right" if name in right else "left", overflow="fold")
    for number, row in enumerate(rows):
        cells = ("–" if cell is None else cell if isinstance(cell, Text) else escaped(cell) for cell in row)
        table.add_row(*cells, end_section=number in ends)
    plain_console().print(table)
