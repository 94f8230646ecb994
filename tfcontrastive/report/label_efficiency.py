"""The label-efficiency figure: accuracy against the part of the labels."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from tfcontrastive.report.curves import Chart, Curves, Line
from tfcontrastive.report.evaluation import SECTIONS, values_table
from tfcontrastive.report.page import Section

_VALUE = re.compile(r"(?P<what>fine_tuned|supervised)_(?P<percent>[\d.e-]+)pct_top1")
_NAMES = {"fine_tuned": "pre-trained without labels, then fine-tuned", "supervised": "the same network from scratch"}


def label_efficiency(result: Mapping[str, Any]) -> Sequence[Section]:
    """The sections of a result of the `curve` protocol: the figure, then every value."""
    points: dict[str, list[tuple[float, float]]] = {what: [] for what in _NAMES}
    for name, value in result["metrics"].items():
        if match := _VALUE.fullmatch(name):
            points[match["what"]].append((float(match["percent"]), value))
    lines = []
    for what, some in points.items():
        if some:
            percent, top1 = zip(*sorted(some), strict=True)
            lines.append(Line(_NAMES[what], percent, top1, dashed=what == "supervised"))
    chart = Chart(
        "Top-1 accuracy",
        lines,
        x_label="labels used, % of all (logarithmic)",
        y_label="part of the test images",
        format=".0%",
        log_x=True,
    )
    caption = "The distance from one curve across to the other is what pre-training saves in labels."
    return [Curves("Label efficiency", [chart], caption=caption), *values_table(result)]


SECTIONS["curve"] = label_efficiency
