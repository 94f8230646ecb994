"""The few numbers that matter, large."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from tfcontrastive.report.markup import text


@dataclasses.dataclass(frozen=True)
class Figure:
    """One number: what it is, its value as it should read, and a remark such as the change."""

    label: str
    value: str
    remark: str = ""


@dataclasses.dataclass(frozen=True)
class Headline:
    """A row of large numbers, without a heading of its own unless `title` gives one."""

    figures: Sequence[Figure]
    title: str = ""

    def html(self) -> str:
        cards = "".join(
            f'<div class="card"><span class="label">{text(figure.label)}</span>'
            f'<span class="value">{text(figure.value)}</span><span class="remark">{text(figure.remark)}</span></div>'
            for figure in self.figures
        )
        return f'<div class="headline">{cards}</div>'
