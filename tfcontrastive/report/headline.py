"""The few numbers that matter, large, and what they say."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from tfcontrastive.report.template import render


@dataclasses.dataclass(frozen=True)
class Figure:
    """One number: what it is, its value as it should read, and a remark such as the change."""

    label: str
    value: str
    remark: str = ""


@dataclasses.dataclass(frozen=True)
class Headline:
    """A sentence that says the result, and a row of large numbers.

    Args:
        figures: the numbers.
        title: a heading; none where it is empty.
        verdict: the sentence: the result against chance and what else is at hand.
    """

    figures: Sequence[Figure]
    title: str = ""
    verdict: str = ""

    def html(self) -> str:
        return render("headline.html", one=self)


def against(value: float, others: Mapping[str, float]) -> str:
    """How far a part of one lies from others, in points of percent.

    Args:
        value: in [0, 1].
        others: name -> value in [0, 1].

    Examples:
        >>> against(0.812, {"raw pixels": 0.77, "chance": 0.1})
        '4.2 points above raw pixels, 71.2 points above chance'
    """

    def distance(other: float) -> str:
        points = round(100 * (value - other), 1)
        return "as good as" if points == 0 else f"{abs(points):.1f} points {'above' if points > 0 else 'below'}"

    return ", ".join(f"{distance(other)} {name}" for name, other in others.items())
