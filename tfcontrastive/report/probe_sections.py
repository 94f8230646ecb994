"""What the probes with many values show of them, instead of one long table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tfcontrastive.evaluate import shapes
from tfcontrastive.evaluate.corruptions import KINDS, SEVERITIES
from tfcontrastive.evaluate.invariances import TASKS
from tfcontrastive.report.curves import Chart, Curves, Line
from tfcontrastive.report.page import Section
from tfcontrastive.report.result_text import heading, settings_sentence, spoken
from tfcontrastive.report.table import Column, Table
from tfcontrastive.report.view_pairs import ViewPairs

# SimCLR's Table 3, ResNet-50 on ImageNet: https://arxiv.org/abs/2002.05709.
_PUBLISHED = {"color": (0.993, 0.974), "rotation": (0.676, 0.256), "noise": (0.995, 0.596), "sobel": (0.966, 0.563)}
_TASK_NAMES = {
    "color": "color or gray",
    "rotation": "rotation",
    "noise": "original or noise",
    "sobel": "original or Sobel",
}
_EXAMPLES = 6


def robustness(result: Mapping[str, Any]) -> list[Section]:
    """Errors by corruption and severity, and by kind of corruption."""
    metrics = result["metrics"]
    names = [name for group in KINDS.values() for name in group]

    def error(name, severity):
        return metrics[f"robustness_error/{name}/{severity}"]

    has_ce = "robustness_mce" in metrics
    columns = [
        Column("error"),
        *(Column(f"severity {severity}", ".1%") for severity in SEVERITIES),
        Column("mean", ".1%"),
    ]
    rows = []
    for name in names:
        row = [name.replace("_", " "), *(error(name, severity) for severity in SEVERITIES)]
        rows.append([*row, float(np.mean(row[1:])), *([metrics[f"robustness_ce/{name}"]] if has_ce else [])])
    over_all = [float(np.mean([row[1 + index] for row in rows])) for index in range(len(SEVERITIES))]
    rows.append(["all", *over_all, metrics["robustness_mean_error"], *([metrics["robustness_mce"]] if has_ce else [])])
    clean = metrics["robustness_clean_error"]
    caption = f"Error on clean images: {clean:.1%}. "
    if has_ce:
        columns.append(Column("CE", ".1%"))
        caption += "CE: error as a part of the baseline's; mCE is their mean. "
    steps = (0, *SEVERITIES)
    lines = [
        Line(kind, steps, [clean, *(np.mean([error(name, s) for name in group]) for s in SEVERITIES)])
        for kind, group in KINDS.items()
    ]
    chart = Chart(
        "Error by severity, 0: clean",
        lines,
        x_label="severity",
        y_label="part of the images",
        format=".0%",
        include=(0,),
    )
    return [Table(heading(result), columns, rows, caption + settings_sentence(result)), Curves("", [chart])]


def invariances(result: Mapping[str, Any]) -> list[Section]:
    """SimCLR's Table 3, ours beside the published one."""
    metrics = result["metrics"]
    rows = []
    for task, ways in TASKS.items():
        own = (metrics.get(f"invariances_{of}_{task}_accuracy") for of in ("h", "g"))
        rows.append((_TASK_NAMES[task], *own, 1 / len(ways), *_PUBLISHED[task]))
    columns = [Column("what is told apart"), Column("h", ".1%"), Column("g(h)", ".1%"), Column("chance", ".1%"),
               Column("SimCLR, ResNet-50: h", ".1%"), Column("g(h)", ".1%")]  # fmt: skip
    caption = "Accuracy of an MLP. Near chance, the representation no longer knows how the image was altered. "
    return [Table(heading(result), columns, rows, caption + settings_sentence(result))]


def content_style(result: Mapping[str, Any]) -> list[Section]:
    """Probes of each factor, divergences, and what the images look like."""
    metrics = result["metrics"]
    rows = []
    for kind, factors in (("content", shapes.CONTENT), ("style", shapes.STYLE)):
        for name, values in factors.items():
            across = [metrics.get(f"content_style_divergence_{of}{name}") for of in ("", "of_contents_")]
            rows.append((name, kind, metrics[f"content_style_{name}_accuracy"], 1 / values, *across))
    columns = [Column("factor"), Column("kind"), Column("linear probe", ".1%"), Column("chance", ".1%"),
               Column("divergence across styles", ".3f"), Column("across contents", ".3f")]  # fmt: skip
    caption = (
        "Divergence: Jensen-Shannon, in nats, of the probe's p(factor | features) when only the style of an image "
        "changes, and when its content does. "
    )
    return [Table(heading(result), columns, rows, caption + settings_sentence(result)), _examples()]


def _examples() -> ViewPairs:
    content = shapes.draw_factors(_EXAMPLES, shapes.CONTENT, seed=0)
    views = [
        shapes.draw_shapes(content | shapes.draw_factors(_EXAMPLES, shapes.STYLE, seed=[0, style]), 64, seed=0).images
        for style in range(3)
    ]
    return ViewPairs("", views, caption="Generated images: each box holds one content in three styles.")


def geometry(result: Mapping[str, Any]) -> list[Section]:
    """Features beside projections."""
    metrics = result["metrics"]
    own = [name for name in metrics if not name.startswith("geometry_projection_")]
    rows: list[tuple[Any, ...]] = [
        (spoken(name, "geometry"), metrics[name], metrics.get(name.replace("geometry_", "geometry_projection_", 1)))
        for name in own
    ]
    columns = [Column("measure"), Column("features h", ".4g"), Column("projections g(h)", ".4g")]
    if all(row[2] is None for row in rows):
        columns, rows = columns[:2], [row[:2] for row in rows]
    return [Table(heading(result), columns, rows, settings_sentence(result))]
