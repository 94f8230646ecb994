"""A result beside what it is compared with."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from tfcontrastive.config import InputError
from tfcontrastive.report.template import render
from tfcontrastive.report.ticks import tick_label, ticks

KINDS = ("own", "baseline", "reference")


@dataclasses.dataclass(frozen=True)
class Bar:
    """One of what is compared.

    Args:
        name: what it is.
        value: the number.
        low, high: its 95% interval, where that is known.
        kind: "own" is what the page is about, "baseline" what it has to beat, "reference" what had more to learn from.
    """

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    kind: str = "baseline"

    def __post_init__(self):
        if self.kind not in KINDS:
            raise InputError(f"`kind` must be one of {', '.join(KINDS)}. Received: {self.kind!r}.")


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Values on one axis, each with its interval.

    Args:
        title: the section's heading.
        bars: what is compared, in this order.
        format: a Python format specification for the values.
        caption: a sentence under the heading.
        axis: what the axis shows.
        chance: what guessing gives, drawn through all of them.
    """

    title: str
    bars: Sequence[Bar]
    format: str = ".1%"
    caption: str = ""
    axis: str = ""
    chance: float | None = None

    def html(self) -> str:
        values = [value for bar in self.bars for value in (bar.value, bar.low, bar.high) if value is not None]
        values += [self.chance] if self.chance is not None else []
        if not values:
            return render("notes.html", paragraphs=[self.caption, "No values."], facts=[])
        marks = ticks(np.array(values), 5)
        low, high = marks[0], marks[-1]

        def place(value: float) -> str:
            return f"{100 * (value - low) / (high - low):.2f}%"

        rows = [
            {
                "bar": bar,
                "at": place(bar.value),
                "interval": None if bar.low is None or bar.high is None else (place(bar.low), place(bar.high)),
                "shown": format(bar.value, self.format),
                "range": ""
                if bar.low is None or bar.high is None
                else f"{format(bar.low, self.format)} – {format(bar.high, self.format)}",
            }
            for bar in self.bars
        ]
        labels = [(place(mark), tick_label(mark, marks, self.format)) for mark in marks]
        chance = None if self.chance is None else (place(self.chance), format(self.chance, self.format))
        return render("comparison.html", one=self, rows=rows, marks=labels, chance=chance)
