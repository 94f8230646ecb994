"""Sections for what an encoder was measured to be worth, made from the numbers of metrics.json alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tfcontrastive.report import probe_sections
from tfcontrastive.report.headline import Figure, Headline
from tfcontrastive.report.page import Section
from tfcontrastive.report.result_text import heading, settings_sentence, shown, spoken, title
from tfcontrastive.report.table import Column, Table

SECTIONS: dict[str, Callable[[Mapping[str, Any]], Sequence[Section]]] = {
    "robustness": probe_sections.robustness,
    "invariances": probe_sections.invariances,
    "content_style": probe_sections.content_style,
    "geometry": probe_sections.geometry,
}
"""What a protocol shows of its result (`protocol`, `dataset`, `settings`, `metrics`, `deviations`); others, a table."""

_FIGURES_AT_MOST = 6


def evaluation_sections(results: Sequence[Mapping[str, Any]]) -> list[Section]:
    """The page's sections: the first value of each result in large letters, then each result in full.

    Args:
        results: of `tfcontrastive.protocols.results.Result`, as dicts.
    """
    figures = [_figure(result) for result in results[-_FIGURES_AT_MOST:]]
    sections: list[Section] = [Headline(figures)]
    for result in results:
        sections += SECTIONS.get(result["protocol"], values_table)(result)
    return sections


def values_table(result: Mapping[str, Any]) -> list[Section]:
    """Every value of a result, with its interval or its deviation where there is one."""
    metrics, deviations = result["metrics"], result["deviations"]
    rows = []
    for name, value in metrics.items():
        if name.removesuffix("_low") in metrics and name.endswith("_low"):
            continue
        if name.removesuffix("_high") in metrics and name.endswith("_high"):
            continue
        low, high = metrics.get(f"{name}_low"), metrics.get(f"{name}_high")
        interval = f"{shown(name, low)} – {shown(name, high)}" if low is not None and high is not None else None
        deviation = shown(name, deviations[name]) if name in deviations else None
        rows.append((spoken(name, result["protocol"]), shown(name, value), interval, deviation))
    columns = [Column(""), Column("value"), Column("95% interval"), Column("standard deviation over seeds")]
    used = [index for index in range(4) if index < 2 or any(row[index] is not None for row in rows)]
    return [
        Table(
            heading(result),
            [columns[index] for index in used],
            [tuple(row[index] for index in used) for row in rows],
            caption=settings_sentence(result),
        )
    ]


def _figure(result: Mapping[str, Any]) -> Figure:
    name, value = next(iter(result["metrics"].items()))
    deviation = result["deviations"].get(name)
    remark = result["dataset"] or ""
    if deviation is not None:
        remark = f"± {shown(name, deviation)} over {len(result['runs'])} seeds; {remark}".strip("; ")
    words = spoken(name, result["protocol"])
    return Figure(f"{title(result)}: {words}", shown(name, value), remark)
