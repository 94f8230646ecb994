"""What a run came to, on stdout."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from tfcontrastive.system.tables import show_table


def show_metrics(metrics: Mapping[str, float]) -> None:
    """The values as a table, in words, with their intervals."""
    from tfcontrastive.report.result_text import value_rows

    if not metrics:
        return
    columns, rows = value_rows({"protocol": "", "metrics": metrics})
    show_table("", columns, rows, right=columns[1:])
    sys.stdout.flush()
