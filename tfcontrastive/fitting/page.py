"""The page: what came out and against what, how it was trained, what is alike, and what was decided."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tfcontrastive import evaluate, report
from tfcontrastive.callbacks.summaries import read_history
from tfcontrastive.config import flat_fields
from tfcontrastive.fitting.galleries import Story, gallery_sections, neighbours
from tfcontrastive.fitting.leaving import METRICS
from tfcontrastive.fitting.measure import Measured
from tfcontrastive.fitting.request import Request
from tfcontrastive.runs.model_dir import ModelDir

_POINTS = 2_000
_PROBES = {"knn_top1": "kNN top-1", "linear_top1": "linear top-1", "retrieval_top1": "own view found"}


def write_page(path: str, story: Story) -> str:
    """Writes report.html."""
    found, request = story.found, story.request
    directory = ModelDir(found.output_dir)
    config = found.trained.config
    sections: list[report.Section] = [
        headline(story),
        *comparisons(found.measured, story.level, own=found.chosen),
        results(story),
        curves(directory, story.level),
        report.ViewPairs(
            "Augmented views",
            [np.asarray(view) for view in found.trained.views],
            caption="Two random views of each image: what is pulled together.",
        ),
        neighbours(story),
        embedding_map(story),
        *by_class(story),
        *gallery_sections(story),
        report.Notes("What the images are", found.survey.lines()),
        decisions(story),
        next_steps(story),
    ]
    count = len(found.own.features.train)
    title = f"{type(found.trained.model).__name__} on {count:,} images of {request.title}, without labels"
    labelled = "labels are used here only to measure it" if found.survey.class_names else "there are no labels"
    return report.write_report(
        path,
        title=title,
        subtitle=f"{found.measured_on[:1].upper()}{found.measured_on[1:]}. The encoder never saw a label; {labelled}.",
        sections=sections,
        provenance=report.Provenance(
            command=command_of(request),
            seed=config.loop.seed,
            data=config.data.dataset,
            facts={
                **(
                    {"Handed over": "the trained encoder" if found.chosen == "trained" else "the starting weights"}
                    if found.reason
                    else {}
                ),
                "Held out": config.data.held_out or story.measure.split or "nothing",
                "Steps": found.trained.plan.steps,
            },
        ),
    )


def command_of(request: Request) -> str:
    """The command that makes the page again."""
    config = request.config
    if request.comparison == "supervised":
        return shlex.join(["tfcontrastive", "demo", f"--output_dir={config.loop.model_dir}"])
    minutes = [] if request.minutes is None else [f"--minutes={request.minutes:g}"]
    values = {name: value for name, (_, value) in flat_fields(config).items() if name in request.asked}
    more = [f"--{name}={str(value).lower() if isinstance(value, bool) else value}" for name, value in values.items()]
    return shlex.join(
        ["tfcontrastive", "fit", config.data.dataset, *minutes, f"--output_dir={config.loop.model_dir}", *more]
    )


def headline(story: Story) -> report.Headline:
    """The numbers that matter, against chance and what is at hand."""
    own, others = story.found.own, {encoder.name: encoder for encoder in story.found.measured}
    figures: list[report.Figure] = []
    for key, label in _PROBES.items():
        if key not in own.metrics or (key == "retrieval_top1" and figures):
            continue
        baselines = {
            "untrained": others["random"].metrics.get(key),
            "raw pixels": others["raw_pixels"].metrics.get(key),
        }
        known = {name: value for name, value in baselines.items() if value is not None}
        if key in story.level:
            known["chance"] = story.level[key]
        figures.append(report.Figure(label, f"{own.metrics[key]:.1%}", report.against(own.metrics[key], known)))
    figures.append(report.Figure("Training", f"{others['trained'].seconds:.0f} s", "on this machine"))
    return report.Headline(figures, verdict=" ".join(story.found.verdict))


def comparisons(
    measured: Sequence[Measured], level: Mapping[str, float], own: str = "trained"
) -> list[report.Comparison]:
    """Every encoder on one axis, for each probe; `own` names the one that the page is about."""
    sections: list[report.Comparison] = []
    kinds = {own: "own", "supervised": "reference", "fine_tuned": "reference"}
    for key, label in _PROBES.items():
        if key == "retrieval_top1" and sections:
            continue
        bars = [
            report.Bar(
                encoder.title, encoder.metrics[key], encoder.metrics.get(f"{key}_low"), encoder.metrics.get(f"{key}_high"),
                kinds.get(encoder.name, "baseline"),
            )
            for encoder in measured if key in encoder.metrics
        ]  # fmt: skip
        if bars:
            caption = "With 95% intervals over the held-out images." if key != "retrieval_top1" else ""
            title = "Against what it has to beat" if not sections else ""
            sections.append(report.Comparison(title, bars, caption=caption, axis=label, chance=level.get(key)))
    return sections


def results(story: Story) -> report.Table:
    """One row an encoder."""
    keys = [key for key in _PROBES if any(key in encoder.metrics for encoder in story.found.measured)]
    ranked = any("lidar" in encoder.metrics for encoder in story.found.measured)
    columns = [
        report.Column("encoder"),
        *(report.Column(_PROBES[key], ".1%", best="highest") for key in keys),
        report.Column("effective rank", ".1f"),
        *([report.Column("LiDAR", ".1f")] if ranked else []),
        report.Column("seconds of training", ".0f"),
    ]
    rows = [
        (
            each.title,
            *(each.metrics.get(key) for key in (*keys, "effective_rank", *(["lidar"] if ranked else []))),
            each.seconds or None,
        )
        for each in story.found.measured
    ]
    apart = [row for row, each in enumerate(story.found.measured) if each.name in ("supervised", "fine_tuned")]
    loop = story.found.trained.config.loop
    own = story.found.own.metrics
    caption = "An image is found where it is the nearest of all to its own augmented view. "
    if "knn_k" in own:
        knn = f"kNN: k={own['knn_k']:.0f}, T={loop.knn_temperature:g}"
        caption = f"{knn}. Linear: logistic regression on frozen features. {caption}"
    network = story.found.trained.config.encoder  # None where one goes on that was trained before
    if network is not None and network.whiten_features:
        caption += "Features are whitened by the training images, the untrained network's too. "
    caption += {
        "supervised": "Supervised: the same network trained with all labels on half as many views.",
        "fine_tuned": "Fine-tuned: the trained encoder after it went on with the labels.",
    }[story.request.comparison] if apart else ""  # fmt: skip
    return report.Table("Results", columns, rows, caption=caption, apart=apart)


def curves(directory: ModelDir, level: Mapping[str, float]) -> report.Curves:
    """Loss, and accuracies while training."""
    history = read_history(directory.history)
    steps = np.diff([0, *(line["step"] for line in history)])
    # Means over an epoch; a last one of few steps says little.
    whole = [line for line, count in zip(history, steps, strict=True) if count >= np.median(steps) / 2]

    def line(name: str, key: str) -> report.Line | None:
        known = [line for line in (history if key in ("knn_top1", "effective_rank") else whole) if key in line]
        return report.Line(name, [line["step"] for line in known], [line[key] for line in known]) if known else None

    charts: dict[str, tuple[list[report.Line | None], dict[str, Any]]] = {
        "Contrastive loss": ([line("loss", "loss")], {"y_label": "loss"}),
        "Accuracy": (
            [line("online probe, training views", "probe_accuracy"), line("kNN, held-out images", "knn_top1")],
            {"format": ".0%", "levels": (("chance", level["uniform"]),) if "uniform" in level else ()},
        ),
        "Contrastive accuracy": ([line("own view found", "contrast_acc")], {"format": ".0%"}),
        "Effective rank of the features": ([line("rank", "effective_rank")], {"include": (0,)}),
    }
    made = []
    for title, (lines, how) in charts.items():
        known = [line for line in lines if line is not None]
        if known:
            made.append(report.Chart(title, known, **how))
    # One point is no curve, where there is another chart.
    return report.Curves("Curves", [chart for chart in made if any(len(one.x) > 1 for one in chart.lines)] or made)


def embedding_map(story: Story) -> report.EmbeddingMap:
    """Held-out images in the plane, or all where none is held out."""
    features, first = story.held_out()
    rows = np.unique(np.linspace(0, len(features) - 1, min(_POINTS, len(features))).astype(int))
    some = features[rows]
    count = min(9, len(some))
    similarity, near = evaluate.nearest_neighbours(some, some, k=count)
    labels = story.found.own.features.all_labels()[first + rows] if story.found.survey.class_names else None
    how = "t-SNE" if len(rows) <= 3_000 else "PCA"
    about = ", coloured by the class that training never saw" if labels is not None else ""
    return report.EmbeddingMap(
        "Map of the embedding",
        evaluate.map_2d(some),
        labels,
        class_names=story.found.survey.class_names,
        images=story.pictures.of((first + rows).tolist()),
        caption=f"{how} of the features of {len(rows):,} images{about}. Point at one, click it, or draw a rectangle.",
        names=[story.found.ids[first + row] for row in rows],
        neighbours=near[:, 1:],
        similarities=similarity[:, 1:],
    )


def by_class(story: Story) -> list[report.Section]:
    """A row a class, confusions, and the surest mistakes, by kNN."""
    labelled = story.found.own.features.labelled()
    if labelled is None:
        return []
    own = story.found.own
    votes = evaluate.knn_scores(
        labelled.train_features, labelled.train_labels, labelled.features,
        num_classes=labelled.num_classes, k=int(own.metrics["knn_k"]),
    )  # fmt: skip
    votes = np.where(np.isfinite(votes), votes, 0)
    votes /= np.maximum(votes.sum(axis=1, keepdims=True), 1e-12)
    known = np.unique(labelled.train_labels)
    rows = len(own.features.train) + np.flatnonzero(np.isin(own.features.test_labels, known))
    return report.classification_sections(
        labelled.labels,
        votes.argmax(axis=1),
        votes.max(axis=1),
        lambda row: story.pictures.of([int(rows[row])])[0],
        class_names=story.found.survey.class_names,
        names=[story.found.ids[row] for row in rows],
        train_counts=np.bincount(labelled.train_labels, minlength=labelled.num_classes),
        what="kNN",
    )


def decisions(story: Story) -> report.Table:
    """Every choice and its reason."""
    rows = [
        (
            f"--{choice.name}",
            str(choice.value).lower() if isinstance(choice.value, bool) else str(choice.value),
            choice.reason,
        )
        for choice in story.found.choices
    ]
    columns = [report.Column("flag"), report.Column("value"), report.Column("why")]
    return report.Table("What was decided", columns, rows, caption="Each can be given instead.")


def next_steps(story: Story) -> report.Notes:
    """Commands, and where things are."""
    found = story.found
    files = {name: os.path.relpath(path, found.output_dir) for name, path in found.files().items() if name != "report"}
    return report.Notes("What next", found.next_commands, {**files, "numbers": METRICS})
