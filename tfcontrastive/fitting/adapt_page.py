"""The page of an adaptation: what was chosen and why, how it went, and what the images are like in the end."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tfcontrastive import report
from tfcontrastive.callbacks.summaries import read_history
from tfcontrastive.config import flat_fields
from tfcontrastive.fitting import page
from tfcontrastive.fitting.galleries import Story, gallery_sections, neighbours
from tfcontrastive.fitting.judging import Judgement
from tfcontrastive.fitting.page import results
from tfcontrastive.fitting.request import Request
from tfcontrastive.runs.model_dir import ModelDir

__all__ = ["results", "write_page"]

_PROBES = {"knn_top1": "kNN top-1", "linear_top1": "linear top-1", "retrieval_top1": "own view found"}


def write_page(path: str, story: Story, rows: Sequence[Mapping[str, Any]], judgement: Judgement) -> str:
    """Writes report.html.

    Args:
        path: of the file.
        story: of a page of `fit`; `story.found` is an `AdaptResult`.
        rows: what was measured on the way, as `KeepBest.rows`.
        judgement: what was chosen.
    """
    found, request = story.found, story.request
    config: Any = found.trained.config  # an `AdaptConfig`
    sections: list[report.Section] = [
        headline(story, judgement),
        *page.comparisons(found.measured, story.level, own=judgement.chosen),
        results(story),
        curves(ModelDir(found.output_dir), rows),
        report.ViewPairs(
            "Augmented views",
            [np.asarray(view) for view in found.trained.views],
            caption="Two random views of each image, as the encoder learned from them.",
        ),
        neighbours(story),
        page.embedding_map(story),
        *page.by_class(story),
        *gallery_sections(story),
        report.Notes("What the images are", found.survey.lines()),
        page.decisions(story),
        page.next_steps(story),
    ]
    return report.write_report(
        path,
        title=f"An encoder adapted to {request.title}",
        subtitle=f"The encoder {'as adapted' if judgement.chosen == 'adapted' else 'as it was given'}, measured on "
        f"{found.measured_on}.",
        sections=sections,
        provenance=report.Provenance(
            command=command_of(request),
            seed=config.loop.seed,
            data=config.data.dataset,
            facts={
                "Encoder": config.checkpoint or config.saved_model,
                "Held out": config.data.held_out or story.measure.split or "nothing",
                "Steps": found.trained.plan.steps,
            },
        ),
    )


def headline(story: Story, judgement: Judgement) -> report.Headline:
    """What was chosen, and its numbers beside those of the encoder as it was."""
    metrics = {encoder.name: encoder.metrics for encoder in story.found.measured}
    frozen, own = metrics["frozen"], metrics[judgement.chosen]
    figures = [report.Figure("Chosen", judgement.chosen, "by images that neither taught nor are reported on")]
    for key, label in _PROBES.items():
        if key not in own or (key == "retrieval_top1" and len(figures) > 1):
            continue
        known = {} if judgement.chosen == "frozen" else {"the encoder as it was": frozen[key]}
        known["raw pixels"] = metrics["raw_pixels"].get(key)
        shown = {name: value for name, value in known.items() if value is not None}
        figures.append(report.Figure(label, f"{own[key]:.1%}", report.against(own[key], shown)))
    return report.Headline(figures, verdict=" ".join(story.found.verdict))


def curves(directory: ModelDir, rows: Sequence[Mapping[str, Any]]) -> report.Curves:
    """What was measured on the way, on the images that choose, and the loss."""
    charts = []
    for key, label in _PROBES.items():
        known = [row for row in rows if key in row["metrics"]]
        if known:
            points = {row["step"]: row["metrics"][key] for row in sorted(known, key=lambda row: row["step"])}
            before = known[0]["before"][key]
            line = report.Line(label, [0, *points], [before, *points.values()])
            levels = (("as it was", before),)
            charts.append(report.Chart("On the images that choose", [line], format=".1%", levels=levels))
    history = read_history(directory.history)
    for key, title in {"loss": "Loss", "moved": "Moved from the first features (1 - cosine)"}.items():
        known = [row for row in history if key in row]
        if known:
            line = report.Line(key, [row["step"] for row in known], [row[key] for row in known])
            charts.append(report.Chart(title, [line]))
    return report.Curves("Curves", charts)


def command_of(request: Request) -> str:
    """The command that makes the page again."""
    config = request.config
    minutes = [] if request.minutes is None else [f"--minutes={request.minutes:g}"]
    values = {name: value for name, (_, value) in flat_fields(config).items() if name in request.asked}
    more = [f"--{name}={str(value).lower() if isinstance(value, bool) else value}" for name, value in values.items()]
    where = [f"--dataset={config.data.dataset}", f"--output_dir={config.loop.model_dir}"]
    return shlex.join(["tfcontrastive", "adapt", *more, *where, *minutes])
