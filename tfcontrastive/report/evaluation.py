"""Sections for what an encoder was measured to be worth, made from metrics.json and the predictions beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tfcontrastive.report import probe_sections
from tfcontrastive.report.comparison import Bar, Comparison
from tfcontrastive.report.details import Details
from tfcontrastive.report.headline import Figure, Headline, against
from tfcontrastive.report.page import Section
from tfcontrastive.report.result_text import heading, interval, settings_sentence, shown, spoken, title, value_rows
from tfcontrastive.report.table import Column, Table
from tfcontrastive.system.names import escaped

SECTIONS: dict[str, Callable[[Mapping[str, Any]], Sequence[Section]]] = {
    "robustness": probe_sections.robustness,
    "invariances": probe_sections.invariances,
    "content_style": probe_sections.content_style,
    "geometry": probe_sections.geometry,
}
"""What a protocol shows of its result (`protocol`, `dataset`, `settings`, `metrics`, `deviations`); others, a table."""

_FIGURES_AT_MOST = 6
_THE = {"untrained network": "the untrained network"}


def evaluation_sections(
    results: Sequence[Mapping[str, Any]], details: Sequence[Details | None] | None = None
) -> list[Section]:
    """The page's sections: what the results say, the first value of each in large letters, then each in full.

    Args:
        results: of `tfcontrastive.protocols.results.Result`, as dicts.
        details: the predictions of each result, None where there are none.
    """
    figures = [_figure(result) for result in results[-_FIGURES_AT_MOST:]]
    sections: list[Section] = [Headline(figures, verdict=_verdict(results)), *_comparisons(results)]
    for index, result in enumerate(results):
        sections += SECTIONS.get(result["protocol"], values_table)(result)
        if result.get("by_class"):
            sections.append(class_table(result))
        if details is not None and details[index] is not None:
            sections += details[index].sections(title(result))
    return sections


def values_table(result: Mapping[str, Any]) -> list[Section]:
    """Every value of a result, with its interval or its deviation where there is one."""
    columns, rows = value_rows(result)
    caption = f"{_images(result)} {settings_sentence(result)}".strip()
    return [Table(heading(result), [Column(name) for name in columns], rows, caption)]


def class_table(result: Mapping[str, Any]) -> Table:
    """Each class over several seeds, those that are found least first."""
    rows = []
    for row in sorted(result["by_class"], key=lambda row: (row["recall"], row["class"])):
        cells = [_share(row[name], row.get(f"{name}_deviation")) for name in ("recall", "precision")]
        rows.append((escaped(row["class"]), row["test"], *cells))
    columns = [Column("class"), Column("test images", ",d"), Column("recall"), Column("precision")]
    caption = (
        f"Means and standard deviations over {len(result['runs'])} seeds; the classes that are found least first. Recall: "
        "the part of a class that is named so; precision: the part of what is named so that is right."
    )
    return Table(f"By class: {title(result)}", columns, rows, caption=caption)


def _share(value: float | None, deviation: float | None) -> str | None:
    if value is None:
        return None
    return f"{value:.1%}" if deviation is None else f"{value:.1%} ± {deviation:.1%}"


def _images(result: Mapping[str, Any]) -> str:
    """How many images there are, and what guessing gives."""
    images = result.get("images") or {}
    if not images:
        return ""
    chance = f"chance is {1 / images['classes']:.1%}, always the largest class {images['largest_class']:.1%}"
    counts = f"{images['train']:,.0f} training and {images['test']:,.0f} test images"
    return f"{counts} of {images['classes']:,.0f} classes; {chance}."


def _verdict(results: Sequence[Mapping[str, Any]]) -> str:
    """The newest top-1 against chance and what else was measured, in a sentence."""
    for result in reversed(results):
        name = f"{result['protocol']}_top1"
        if name not in result["metrics"] or not result.get("images"):
            continue
        value, images = result["metrics"][name], result["images"]
        others = {_THE.get(what, what): values[name] for what, values in result["baselines"].items() if name in values}
        ends = interval(result["metrics"], name)
        sure = f" (95% interval {ends[0]:.1%} to {ends[1]:.1%})" if ends else ""
        worse = [what for what, other in others.items() if other >= value]
        doubt = f" It does not beat {' or '.join(worse)}." if worse else ""
        distances = against(value, {**others, "chance": 1 / images["classes"]})
        return (
            f"{title(result)} names the class of {value:.1%} of {images['test']:,.0f} test images right{sure}: "
            f"{distances}.{doubt}"
        )
    return ""


def _comparisons(results: Sequence[Mapping[str, Any]]) -> list[Section]:
    """One axis for each set of test images: the results on it, and what they have to beat."""
    groups: dict[tuple[str, float, float], list[Mapping[str, Any]]] = {}
    for result in results:
        if f"{result['protocol']}_top1" in result["metrics"] and result.get("images"):
            images = result["images"]
            groups.setdefault((result["dataset"], images["test"], images["classes"]), []).append(result)
    sections: list[Section] = []
    for (dataset, *_), some in groups.items():
        images = some[-1]["images"]
        bars: dict[str, Bar] = {}
        for result in some:
            for what, metrics in result["baselines"].items():
                bars[f"{what}, {title(result)}"] = _bar(
                    f"{what}, {title(result)}", metrics, result["protocol"], "baseline"
                )
        for result in some:
            bars[heading(result) + str(result["settings"])] = _bar(
                title(result), result["metrics"], result["protocol"], "own"
            )
        axis = f"Top-1 accuracy on {images['test']:,.0f} test images"
        chance = 1 / images["classes"]
        where = f" on {dataset}" if len(groups) > 1 else ""
        sections.append(
            Comparison(f"Against chance and baselines{where}", list(bars.values()), axis=axis, chance=chance)
        )
    return sections


def _bar(name: str, metrics: Mapping[str, float], protocol: str, kind: str) -> Bar:
    key = f"{protocol}_top1"
    return Bar(name, metrics[key], metrics.get(f"{key}_low"), metrics.get(f"{key}_high"), kind)


def _figure(result: Mapping[str, Any]) -> Figure:
    name, value = next(iter(result["metrics"].items()))
    deviation = result["deviations"].get(name)
    remark = result["dataset"] or ""
    if deviation is not None:
        remark = f"± {shown(name, deviation)} over {len(result['runs'])} seeds; {remark}".strip("; ")
    words = spoken(name, result["protocol"])
    return Figure(f"{title(result)}: {words}", shown(name, value), remark)
